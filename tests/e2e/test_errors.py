# SPDX-License-Identifier: GPL-2.0-only
"""Wrong usage, and machines that cannot do it: one clear line and the right exit status."""

import re

import droptrace_runner
from cases import Lab, Skip, case
from droptrace_runner import Result
from mini_node import POD_B
from traffic import shell_dial

DURATION = ("--duration", "300ms")  # so that what should fail and does not, ends


def check_one_line(result: Result, status: int, *texts: str) -> None:
    assert result.status == status, result
    assert result.stdout == "", result.stdout
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("droptrace: "), result.stderr
    for text in texts:
        assert text in result.stderr, (text, result.stderr)


def droptrace_behind(lab: Lab, *wrapper: str) -> Result:
    """droptrace started by another program that takes something away from it."""
    return droptrace_runner.run(lab.node, [*wrapper, str(lab.binary), *DURATION])


@case()
def wrong_usage_is_one_line_that_names_it(lab: Lab) -> None:
    for options, named in (
        (("--no-such-option",), "--no-such-option"),
        (("-o", "yaml"), "yaml"),
        (("-c", "0"), "0"),
        (("-c", "many"), "many"),
        (("--duration", "soon"), "soon"),
        (("--pod-cidr", "10.244.0.0/99"), "10.244.0.0/99"),
        (("--service-cidr", "services"), "services"),
        (("--expect-drop", "NETFILTER_DROP"), "NETFILTER_DROP"),
        (("-q", "-v"), "-q"),
        (("--",), "--"),
        (("dst", "hots", "10.244.0.6"), "dst hots 10.244.0.6"),
        (("port", "http", "and"), "port http and"),
    ):
        check_one_line(lab.droptrace(*options), 2, named)


@case()
def namespace_that_does_not_exist_is_an_error(lab: Lab) -> None:
    check_one_line(lab.droptrace(*DURATION, "--netns", "cni-gone"), 1, "cni-gone")


@case()
def ready_file_that_cannot_be_made_is_an_error(lab: Lab) -> None:
    result = lab.droptrace("-q", *DURATION, "--ready-file", "/proc/ready")
    check_one_line(result, 1, "--ready-file /proc/ready")


@case()
def missing_privileges_are_named(lab: Lab) -> None:
    result = droptrace_behind(lab, "setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
    check_one_line(result, 4, "CAP_BPF", "root")


@case()
def missing_kernel_types_are_named(lab: Lab) -> None:
    hide = 'mount -t tmpfs none /sys/kernel/btf && exec "$@"'
    result = droptrace_behind(lab, "unshare", "--mount", "sh", "-c", hide, "sh")
    check_one_line(result, 4, "/sys/kernel/btf/vmlinux")


@case()
def hidden_kernel_symbols_are_said_and_shown_as_numbers(lab: Lab) -> None:
    without_syslog = ("setpriv", "--bounding-set", "-syslog", "--inh-caps", "-syslog")
    first_symbol = lab.node.run(*without_syslog, "head", "-n", "1", "/proc/kallsyms")
    if set(first_symbol.split()[0]) != {"0"}:
        raise Skip("this kernel shows its symbols without CAP_SYSLOG (kernel.kptr_restrict)")
    command = [str(lab.binary), "-o", "json", "--", *shell_dial(POD_B.ip, 8080)]
    result = droptrace_runner.run(lab.node, [*without_syslog, *command])
    assert result.status == 0, result
    assert re.search(r"^droptrace: no symbol names: ", result.stderr, re.MULTILINE), result.stderr
    drop = result.drops()[0]
    assert drop["reason"] == "NO_SOCKET", drop
    assert re.fullmatch(r"0x[0-9a-f]{16}", drop["location"]), drop
