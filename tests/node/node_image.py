#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""The image of a Kind-like node, made of the packages of this machine's own Debian release.

Kept in ${XDG_CACHE_HOME:-/var/cache}/droptrace under a hash of all that it is made from, so that
the next run finds it. No registry is asked: mmdebstrap makes the node's file system, and the images
of the pods hold one static C program each.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from contained import Contained

RECIPE = Path(__file__).with_name("image")
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "nftables",
    "conntrack",
    "iproute2",
    "procps",
    "curl",
    "kmod",
)
END_S = 30
PROXY_OPTIONS = ("Acquire::http::Proxy ", "Acquire::https::Proxy ", "Acquire::https::Ca")
UNUSED_S = 30 * 24 * 3600  # after that an image of another recipe is thrown away
TOOLS = ("mmdebstrap", "apt-get", "gcc", "unshare", "setpriv")
PLUGINS = ("host-local", "loopback", "portmap", "ptp")

PAUSE = "droptrace.test/pause:1"
KINDNETD = "droptrace.test/kindnetd:1"
POD_PROGRAMS = {PAUSE: "pause", KINDNETD: "kindnetd"}
POD_IMAGES = "/kind/images/pods.tar"  # in the node

# Done in the new root, which is $1. Units that a container has no use for are masked.
CUSTOMIZE = r"""
set -e
mkdir -p "$1/opt/cni/bin" "$1/etc/cni/net.d" "$1/kind"
for plugin in PLUGINS; do ln -s "/usr/lib/cni/$plugin" "$1/opt/cni/bin/"; done
: >"$1/etc/machine-id"
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
  fstrim.timer systemd-logind.service systemd-udevd.service systemd-remount-fs.service \
  systemd-modules-load.service dev-hugepages.mount sys-kernel-debug.mount \
  sys-kernel-tracing.mount sys-fs-fuse-connections.mount getty.target console-getty.service; do
  ln -sf /dev/null "$1/etc/systemd/system/$unit"
done
ln -sf /lib/systemd/system/multi-user.target "$1/etc/systemd/system/default.target"
rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/usr/share/doc/* "$1"/usr/share/locale/*
""".replace("PLUGINS", " ".join(PLUGINS))


class NoImage(Exception):
    """The image cannot be made here; says why."""


def missing_tool() -> str | None:
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    return f"not installed: {', '.join(missing)}" if missing else None


def _release() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2]
    raise NoImage("/etc/os-release names no release")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "/var/cache")) / "droptrace"


def _recipe_hash() -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes() + _release().encode())
    for file in sorted(path for path in RECIPE.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(RECIPE)} {file.stat().st_mode}".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _run(*argv: object, **options: object) -> str:
    words = [str(word) for word in argv]
    done = subprocess.run(words, capture_output=True, text=True, **options)
    if done.returncode:
        raise NoImage(f"{words[0]}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _contained(*argv: object, stdin: str, **options: object) -> None:
    """Runs what mounts things and starts processes: all of that ends with this process."""
    words = [str(word) for word in argv]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    contained = Contained(words, **pipes, **options)
    try:
        contained.process.communicate(stdin)
        if contained.process.returncode:
            raise NoImage(f"{words[0]}: {contained.errors()[-2000:]}")
    finally:
        contained.close(END_S)


def _sources() -> str:
    """This machine's sources of its own release's main suites, as lines of a sources.list."""
    release = _release()
    wanted = (release, f"{release}-security", f"{release}-updates")
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    known = _run(
        "apt-get", "indextargets", "--no-release-info", "--format", form, "Identifier: Packages"
    )
    lines = sorted({line for line in known.splitlines() if line})
    found = [
        f"deb {uri} {suite} main"
        for uri, suite, component in (line.split() for line in lines)
        if component == "main" and suite in wanted
    ]
    if not found:
        raise NoImage(f"no source of Debian {release} in this machine's apt sources")
    return "\n".join(found) + "\n"


def _apt_options() -> Iterator[str]:
    """How this machine reaches its sources: mmdebstrap's apt reads no other configuration."""
    for line in _run("apt-config", "dump").splitlines():
        if line.startswith(PROXY_OPTIONS):
            yield f"--aptopt={line}"


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _layer(program: str, binary: bytes) -> bytes:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        _add_bytes(archive, program, binary, 0o755)
    return layer.getvalue()


def pod_images(binaries: Mapping[str, Path]) -> bytes:
    """Images of one static program each, in the form that "docker save" writes."""
    images, manifest = io.BytesIO(), []
    with tarfile.open(fileobj=images, mode="w") as archive:
        for name, program in POD_PROGRAMS.items():
            layer = _layer(program, binaries[program].read_bytes())
            config = {
                "architecture": os.uname().machine.replace("x86_64", "amd64"),
                "os": "linux",
                "config": {"Entrypoint": [f"/{program}"]},
                "rootfs": {
                    "type": "layers",
                    "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
                },
            }
            _add_bytes(archive, f"{program}.json", json.dumps(config).encode())
            _add_bytes(archive, f"{program}.tar", layer)
            manifest.append(
                {"Config": f"{program}.json", "RepoTags": [name], "Layers": [f"{program}.tar"]}
            )
        _add_bytes(archive, "manifest.json", json.dumps(manifest).encode())
    return images.getvalue()


def _build(work: Path) -> Path:
    stage = work / "rootfs"
    shutil.copytree(RECIPE / "rootfs", stage)
    binaries = {}
    for program in POD_PROGRAMS.values():
        binaries[program] = work / program
        source = RECIPE / f"{program}.c"
        _run("gcc", "-static", "-O2", "-s", "-Wall", "-o", binaries[program], source)
    images = stage / POD_IMAGES.lstrip("/")
    images.parent.mkdir(parents=True)
    images.write_bytes(pod_images(binaries))
    tar = work / "node.tar"
    _contained(
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        *_apt_options(),
        f"--customize-hook={CUSTOMIZE}",
        f"--customize-hook=sync-in '{stage}' /",
        _release(),
        tar,
        "-",
        stdin=_sources(),
        env=os.environ | {"TMPDIR": str(work)},
    )
    return tar


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Two runs that want the image at the same time make it once."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def image() -> Path:
    """The image as a tar file, made if the cache does not have it."""
    if reason := missing_tool():
        raise NoImage(reason)
    cache = _cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tar = cache / f"node-{_recipe_hash()}.tar"
        with _locked(cache / "node.lock"):
            if not tar.exists():
                print("node_image.py: making the node's image, once", file=sys.stderr, flush=True)
                for left in cache.glob("node.*/"):  # of a run that was killed
                    shutil.rmtree(left)
                with tempfile.TemporaryDirectory(dir=cache, prefix="node.") as work:
                    _build(Path(work)).rename(tar)
            tar.touch()
            for old in cache.glob("node-*.tar"):
                if old.stat().st_mtime < time.time() - UNUSED_S:
                    old.unlink()
    except OSError as error:
        raise NoImage(f"cannot keep the image in {cache}: {error}") from error
    return tar


if __name__ == "__main__":
    try:
        print(image())
    except NoImage as problem:
        sys.exit(f"node_image.py: {problem}")
