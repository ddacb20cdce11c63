#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Checks that a kernel has every struct and union member and every enumerator of vmlinux.h.

The rules are those by which libbpf relocates an access (CO-RE): members are found by name, through
unnamed structs and unions; integers may differ in size, but kinds (pointer, integer, array, ...)
may not. A flavour (struct NAME___suffix) stands for NAME of some kernels only: what it does not
find is said and is no failure. Unnamed enums are constants of our own and are not looked up.

Exits 0 if all is there, 1 with a line for each mismatch, 77 if the kernel has no BTF.
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
KERNEL_BTF = pathlib.Path("/sys/kernel/btf/vmlinux")
SKIP = 77

# Definitions as clang-format leaves them: they open at column 0, bodies are indented with tabs.
DEFINITION = re.compile(
    r"^(?P<typedef>typedef )?(?P<tag>(?:struct|union|enum)(?: \w+)?) "
    r"\{(?:[^\n]*|\n(?:(?:\t[^\n]*)?\n)*)\}(?: (?P<name>\w+))?;",
    re.MULTILINE,
)
OPENING = re.compile(r"^(?:typedef |struct |union |enum )[^;{]*\{", re.MULTILINE)


class CheckError(Exception):
    """The check itself cannot be done."""


def run(*command):
    # bpftool is in a directory that only root has in PATH.
    tool = shutil.which(command[0]) or shutil.which(command[0], path="/usr/sbin:/usr/local/sbin")
    if not tool:
        raise CheckError(f"{command[0]}: not found: run scripts/setup.sh build")
    done = subprocess.run([tool, *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        # With -j, bpftool reports its errors on standard output.
        raise CheckError(f"{' '.join(map(str, command))}: {done.stderr or done.stdout}".rstrip())
    return done.stdout


class Btf:
    """The types of one BTF blob; those of a kernel module go on where the kernel's end."""

    def __init__(self, path, base=None):
        base_option = ["-B", base.path] if base else []
        dump = run("bpftool", "-j", *base_option, "btf", "dump", "file", path, "format", "raw")
        self.path = path
        self.own = json.loads(dump)["types"]
        self.types = {**(base.types if base else {}), **{entry["id"]: entry for entry in self.own}}
        self.named = {}
        for entry in self.own:
            self.named.setdefault((kind_of(entry), entry.get("name")), []).append(entry)

    def resolve(self, type_id):
        """The type behind typedefs and qualifiers."""
        entry = self.types.get(type_id, {"kind": "VOID"})
        while entry["kind"] in ("TYPEDEF", "CONST", "VOLATILE", "RESTRICT", "TYPE_TAG"):
            entry = self.types.get(entry["type_id"], {"kind": "VOID"})
        return entry


class Kernel:
    """The types of a kernel, and those of its modules where the kernel has none of that name."""

    def __init__(self, path, modules):
        self.base = Btf(path)
        self.module_paths = modules
        self.modules = None

    def candidates(self, kind, name):
        found = [(self.base, entry) for entry in self.base.named.get((kind, name), [])]
        if found:
            return found
        if self.modules is None:
            self.modules = [Btf(path, self.base) for path in self.module_paths]
        return [(btf, entry) for btf in self.modules for entry in btf.named.get((kind, name), [])]


def kind_of(entry):
    return "ENUM" if entry["kind"] == "ENUM64" else entry["kind"]


def is_composite(entry):
    return entry["kind"] in ("STRUCT", "UNION")


def is_named(entry):
    return entry["name"] != "(anon)"


def essential_name(name):
    """Without the suffix of a flavour."""
    return re.sub(r"^(.*[^_])___[^_].*$", r"\1", name)


def find_member(btf, composite, name):
    for member in composite["members"]:
        if member["name"] == name:
            return member
        if not is_named(member):
            inner = btf.resolve(member["type_id"])
            found = find_member(btf, inner, name) if is_composite(inner) else None
            if found:
                return found
    return None


class Comparison:
    """Collects where a type of vmlinux.h (ours) and one of the kernel (theirs) disagree."""

    def __init__(self, ours, theirs):
        self.ours = ours
        self.theirs = theirs
        self.problems = []
        self.compared = 0

    def members(self, path, our_composite, their_composite):
        for member in our_composite["members"]:
            if not is_named(member):
                inner = self.ours.resolve(member["type_id"])
                self.members(path, inner, their_composite)
                continue
            self.compared += 1
            member_path = f"{path}.{member['name']}"
            counterpart = find_member(self.theirs, their_composite, member["name"])
            if counterpart is None:
                self.problems.append(f"{member_path}: the kernel has no such member")
            elif bool(member.get("bitfield_size")) != bool(counterpart.get("bitfield_size")):
                self.problems.append(f"{member_path}: a bit-field on one side only")
            else:
                self.types(member_path, member["type_id"], counterpart["type_id"])

    def types(self, path, our_id, their_id):
        our_type = self.ours.resolve(our_id)
        their_type = self.theirs.resolve(their_id)
        if is_composite(our_type) and is_composite(their_type):
            self.members(path, our_type, their_type)
        elif kind_of(our_type) != kind_of(their_type):
            self.problems.append(
                f"{path}: {kind_of(our_type)} in vmlinux.h, {kind_of(their_type)} in the kernel"
            )
        elif our_type["kind"] == "ARRAY":
            # 0 elements: a flexible array, whose length BTF does not know.
            if 0 < their_type["nr_elems"] < our_type["nr_elems"]:
                self.problems.append(
                    f"{path}: {our_type['nr_elems']} elements in vmlinux.h, "
                    f"{their_type['nr_elems']} in the kernel"
                )
            self.types(f"{path}[]", our_type["type_id"], their_type["type_id"])
        elif kind_of(our_type) == "ENUM":
            self.enumerators(path, our_type, their_type)

    def enumerators(self, path, our_enum, their_enum):
        known = {essential_name(value["name"]) for value in their_enum["values"]}
        for value in our_enum["values"]:
            self.compared += 1
            if essential_name(value["name"]) not in known:
                self.problems.append(f"{path}: the kernel has no enumerator {value['name']}")


def defined_types(header):
    """What HEADER defines, as C names it: "struct net", "possible_net_t"."""
    text = header.read_text(encoding="utf-8")
    found = list(DEFINITION.finditer(text))
    if len(found) != len(OPENING.findall(text)):
        raise CheckError(f"{header}: holds a definition this script cannot read: clang-format it")
    for match in found:
        if match["typedef"]:
            yield match["name"]
        elif match["tag"] != "enum":
            yield match["tag"]


def compile_types(headers, names, directory):
    """A type gets into the BTF of a BPF object only if something is of that type: a variable."""
    source = directory / "types.c"
    target = directory / "types.o"
    lines = [f'#include "{header}"' for header in headers]
    lines += [f"{name} dt_type_{index};" for index, name in enumerate(names)]
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    multiarch = run("gcc", "-print-multiarch").strip()
    flags = ["-g", "-O2", "-target", "bpf", f"-I{ROOT}/vmlinux", f"-I{ROOT}/include"]
    flags += ["-idirafter", f"/usr/include/{multiarch}"]
    run("clang", *flags, "-c", source, "-o", target)
    return Btf(target)


def compare(ours, name, type_id, kernel):
    """The comparison with the kernel's type of that name that fits best; None if it has none."""
    entry = ours.types[type_id]
    comparisons = []
    for btf, candidate in kernel.candidates(kind_of(entry), essential_name(entry["name"])):
        comparison = Comparison(ours, btf)
        comparison.types(name, type_id, candidate["id"])
        comparisons.append(comparison)
    return min(comparisons, key=lambda comparison: len(comparison.problems), default=None)


def check(headers, kernel):
    names = [name for header in headers for name in defined_types(header)]
    with tempfile.TemporaryDirectory() as directory:
        ours = compile_types(headers, names, pathlib.Path(directory))
    compared = 0
    mismatches = 0
    for index, name in enumerate(names):
        variable = ours.named["VAR", f"dt_type_{index}"][0]
        result = compare(ours, name, variable["type_id"], kernel)
        problems = result.problems if result else [f"{name}: the kernel has no such type"]
        compared += result.compared if result else 0
        is_flavour = essential_name(name) != name
        mismatches += 0 if is_flavour else len(problems)
        for problem in problems:
            print(f"absent here: {problem}" if is_flavour else problem)
    print(f"{len(names)} types, {compared} members and enumerators, {mismatches} mismatches")
    return mismatches == 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("headers", nargs="*", metavar="HEADER", type=pathlib.Path,
                        default=[ROOT / "vmlinux/vmlinux.h"],
                        help="what to check (default: vmlinux/vmlinux.h)")
    parser.add_argument("--btf", metavar="FILE", type=pathlib.Path,
                        help="the kernel's BTF, raw or in an ELF file (default: this kernel's)")
    parser.add_argument("--module", metavar="FILE", type=pathlib.Path, action="append", default=[],
                        help="with --btf: a module of that kernel; repeatable")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    modules = arguments.module
    if not arguments.btf:
        if not KERNEL_BTF.exists():
            print(f"skipped: {KERNEL_BTF}: this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)")
            return SKIP
        modules = sorted(path for path in KERNEL_BTF.parent.iterdir() if path != KERNEL_BTF)
    try:
        kernel = Kernel(arguments.btf or KERNEL_BTF, modules)
        return 0 if check([header.resolve() for header in arguments.headers], kernel) else 1
    except (CheckError, OSError) as error:
        print(f"check-vmlinux.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
