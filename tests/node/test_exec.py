# SPDX-License-Identifier: GPL-2.0-only
"""docker exec: what a container grants and withholds, terminals, pipes and Ctrl-C."""

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import droptrace_runner
from bed import IN_NODE
from case_run import Skip
from droptrace_runner import Result, Unexpected, check_fields
from kind_node import IMAGE
from node_lab import CLOSED, Lab, case
from pods import ICEBERG
from traffic import shell_dial

SYS_RESOURCE, PERFMON, BPF = 24, 38, 39  # include/uapi/linux/capability.h
CTRL_C = b"\x03"


def has_capability(lab: Lab, number: int) -> bool:
    """Whether a privileged docker exec grants it."""
    status = lab.node.run("cat", "/proc/self/status")
    bounding = int(re.search(r"CapBnd:\s*(\w+)", status)[1], 16)
    return bool(bounding >> number & 1)


def check_one_drop(lab: Lab, *without: str) -> None:
    """droptrace sees and names a drop with all privileges but these."""
    removed = ",".join(f"-{name}" for name in without)
    wrapper = ("setpriv", f"--bounding-set={removed}", f"--inh-caps={removed}") if without else ()
    with lab.trace(wrapper=wrapper) as trace:
        iceberg = lab.pod(ICEBERG)
        names = {"where": iceberg.where, "dst_name": iceberg.workload, "service": ICEBERG.service}
        lab.check_dial(trace, ICEBERG.cluster_ip, ICEBERG.port, names)
        trace.stop()


@case
def a_node_has_sys_read_only_and_no_file_systems_of_tracing(lab: Lab) -> None:
    mounts = [line.split() for line in lab.node.run("cat", "/proc/mounts").splitlines()]
    assert any(m[1] == "/sys" and "ro" in m[3].split(",") for m in mounts), mounts
    assert not [m for m in mounts if m[2] in ("tracefs", "debugfs", "bpf")], mounts
    for kind in ("pid", "cgroup"):
        own = Path(f"/proc/self/ns/{kind}").readlink()
        assert lab.node.run("readlink", f"/proc/self/ns/{kind}").strip() != str(own), kind
    check_one_drop(lab)
    after = lab.node.run("cat", "/proc/mounts").splitlines()
    assert [line.split() for line in after] == mounts, after


@case
def all_capabilities_that_docker_grants(lab: Lab) -> None:
    if not (has_capability(lab, BPF) and has_capability(lab, PERFMON)):
        raise Skip("this machine has no CAP_BPF or CAP_PERFMON to grant")
    check_one_drop(lab)


@case
def cap_sys_admin_without_cap_bpf_and_cap_perfmon(lab: Lab) -> None:
    check_one_drop(lab, "bpf", "perfmon", "checkpoint_restore")


@case
def without_cap_sys_resource(lab: Lab) -> None:
    check_one_drop(lab, "sys_resource")


@contextlib.contextmanager
def plain_container(lab: Lab) -> Iterator[str]:
    """A container that is not privileged, as a Kind node is; droptrace is in it."""
    docker, name = lab.bed.host.docker, "plain"
    docker("run", "--detach", "--pull=never", "--name", name, "--entrypoint", "sleep", IMAGE, "600")
    try:
        docker("cp", lab.binary, f"{name}:{IN_NODE}")
        yield name
    finally:
        docker("rm", "--force", name)


def check_refused(result: Result, *texts: str) -> None:
    assert result.status == 4 and result.stdout == "", result
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for text in texts:
        assert text in result.stderr, (text, result.stderr)


@case
def without_privileged_one_line_names_the_flag(lab: Lab) -> None:
    with plain_container(lab) as name:
        command = lab.bed.host.command("exec", name, IN_NODE, "--duration", "300ms")
        check_refused(lab.execute(command), "docker exec --privileged")
        # The filter of system calls that Docker has put on the container stays all the same.
        command = lab.bed.host.command("exec", "--privileged", name, IN_NODE, "--duration", "300ms")
        check_refused(lab.execute(command), "seccomp", "docker run --privileged")


def processes(lab: Lab) -> list[str]:
    return [line for line in lab.node.run("ps", "ax").splitlines() if IN_NODE in line]


class Terminal:
    """What a user has before him: docker exec -it in a terminal."""

    def __init__(self, lab: Lab, *options: str) -> None:
        self._screen = b""
        self._ours, theirs = pty.openpty()
        command = lab.node.exec(IN_NODE, *options, flags=("--interactive", "--tty"))
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(droptrace_runner.END_S)
        os.close(self._ours)

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def wait_for(self, text: str, timeout: float = droptrace_runner.READY_S) -> str:
        """What the terminal has shown, once this is part of it."""
        deadline = time.monotonic() + timeout
        while text not in self._screen.decode(errors="replace"):
            readable, _, _ = select.select([self._ours], [], [], deadline - time.monotonic())
            data = b""
            with contextlib.suppress(OSError):  # EIO: nobody has the other side any more
                data = os.read(self._ours, 65536) if readable else b""
            if not data:
                raise Unexpected(f"no {text!r} in {self._screen.decode(errors='replace')!r}")
            self._screen += data
        return self._screen.decode(errors="replace")


@case
def ctrl_c_in_a_terminal_ends_it_with_the_closing_figures(lab: Lab) -> None:
    options = ("--color", "always", "--ready-file", "/run/terminal-ready")
    with Terminal(lab, *options) as terminal:
        terminal.wait_for("watching")
        deadline = time.monotonic() + droptrace_runner.READY_S
        while not lab.node.path("/run/terminal-ready").exists():
            assert time.monotonic() < deadline, "not ready"
            time.sleep(droptrace_runner.STEP_S)
        lab.refused(lab.pod(ICEBERG).ip)
        screen = terminal.wait_for("NO_SOCKET")
        assert ICEBERG.name in screen and "\x1b[" in screen, screen
        terminal.type(CTRL_C)
        screen = terminal.wait_for("0 lost")
        assert terminal.process.wait(droptrace_runner.END_S) == 0, screen
    assert not processes(lab)
    lab.node.path("/run/terminal-ready").unlink()


@case
def a_terminal_without_input(lab: Lab) -> None:
    dial = shell_dial(lab.pod(ICEBERG).ip, CLOSED)
    result = lab.execute(lab.node.exec(IN_NODE, "--", *dial, flags=("--tty",)))
    assert result.status == 0 and "NO_SOCKET" in result.stdout, result
    assert ICEBERG.name in result.stdout and "0 lost" in result.stdout, result


@case
def output_into_a_pipe(lab: Lab) -> None:
    dial = shell_dial(lab.pod(ICEBERG).ip, CLOSED)
    result = lab.droptrace("-o", "json", "--", *dial)
    assert result.status == 0, result
    check_fields(result.drops()[0], {"reason": "NO_SOCKET", "dst_name": f"p/{ICEBERG.name}"})
    result.summary()
    assert "\x1b[" not in result.stdout + result.stderr, result


@case
def a_pipe_that_its_reader_closes_ends_it_quietly(lab: Lab) -> None:
    dial = " ".join(shell_dial(lab.pod(ICEBERG).ip, CLOSED)[2:])
    dials = f"for i in 1 2 3 4 5; do {dial}; sleep 0.2; done"
    pipe = f"{IN_NODE} -q -o json -- bash -c '{dials}' | head -n 1"
    result = lab.execute(lab.node.exec("bash", "-c", pipe))
    assert result.status == 0 and result.stderr == "", result
    assert len(result.records()) == 1, result
    assert not processes(lab)


@case
def check_tells_of_the_node(lab: Lab) -> None:
    result = lab.droptrace("check")
    assert result.status in (0, 3), result
    for text in ("10.96.0.0/12 (/kind/kubeadm.conf)", "kube-proxy's rules are in nft"):
        assert text in result.stdout, result.stdout
