#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Ends a bed as it should not end, and looks for what it has left behind. Needs root.

Exits 77 if there can be no bed here.
"""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import bed  # first: it makes the modules of tests/e2e known

from docker_host import CGROUP_PREFIX, CGROUPS
from patience import PATIENCE

UP_S = 600 * PATIENCE  # the image may have to be made
GONE_S = 20 * PATIENCE
STARTING = 4  # processes: unshare, the shell that is init, dockerd, its containerd
TRACES = ("docker", "containerd", "droptrace-bed", "br-", "cni-")  # in names of what Docker makes


def descendants(pid: int) -> dict[int, str]:
    """The processes below one, each with the time of its start."""
    found = {}
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                # What follows the name, which may hold anything.
                fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                found[child] = fields[19]
                found |= descendants(child)
    return found


def alive(processes: dict[int, str]) -> set[str]:
    found = set()
    for pid, start in processes.items():
        with contextlib.suppress(OSError):
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
            if rest.split()[19] == start:
                found.add(f"process {name})")
    return found


def cgroups(pid: int) -> set[str]:
    """Those of the bed that was this process."""
    name = f"{CGROUP_PREFIX}{pid}"
    return {f"cgroup {top}" for top in (*CGROUPS.glob(name), *CGROUPS.glob(f"*/{name}"))}


def state() -> set[str]:
    """What a bed could leave behind on the machine, but for processes and cgroups."""
    found = {f"mount {line}" for line in Path("/proc/self/mounts").read_text().splitlines()}
    found |= {f"link {path.name}" for path in Path("/sys/class/net").iterdir()}
    for top in ("/run", "/run/netns", "/tmp", "/var/tmp", "/var/lib", "/var/lib/docker"):
        found |= {f"file {path}" for path in Path(top).glob("*")}
    # Others may be at work here, too.
    return {name for name in found if any(trace in name for trace in TRACES)}


def left_since(before: set[str], processes: dict[int, str]) -> set[str]:
    deadline = time.monotonic() + GONE_S
    while (left := alive(processes) | state() - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def started() -> subprocess.Popen:
    program = Path(__file__).with_name("bed.py")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(["/usr/bin/python3", str(program)], text=True, **pipes)


def end(process: subprocess.Popen, number: int) -> int:
    process.send_signal(number)
    process.communicate(timeout=GONE_S)
    return process.returncode


def main() -> int:
    if reason := bed.missing_prerequisite():
        print(f"skipped: {reason}")
        return 77
    before = state()
    failures = []

    killed = process = started()
    line = process.stdout.readline()
    if not line.startswith("up after"):
        sys.exit(f"teardown.py: the bed did not come up: {line}")
    made = descendants(process.pid)
    end(process, signal.SIGKILL)
    left = left_since(before, made)
    print(f"killed when it was up, with {len(made)} processes: {len(left)} things left")
    if left:
        failures.append(f"killed: {sorted(left)}")

    process = started()
    deadline = time.monotonic() + UP_S
    while len(made := descendants(process.pid)) < STARTING:
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit("teardown.py: no dockerd was started")
        time.sleep(0.05)
    status = end(process, signal.SIGTERM)
    # The first one could not remove its cgroups; this one has.
    left = left_since(before, made) | cgroups(killed.pid) | cgroups(process.pid)
    print(f"terminated with {len(made)} processes: {len(left)} things left, status {status}")
    if left or status != 128 + signal.SIGTERM:
        failures.append(f"terminated while it started, status {status}: {sorted(left)}")

    for failure in failures:
        print(f"failed: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
