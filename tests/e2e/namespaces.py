# SPDX-License-Identifier: GPL-2.0-only
"""Entering Linux namespaces from Python 3.11, whose os module has no setns() yet."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h
CLONE_NEWPID = 0x20000000

_libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd: int, kind: int) -> None:
    if _libc.setns(fd, kind) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


@contextlib.contextmanager
def _entered(namespace: Path, own: str, kind: int) -> Iterator[None]:
    back = os.open(f"/proc/thread-self/ns/{own}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there, kind)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(back, kind)
    finally:
        os.close(back)


def network(namespace: Path) -> contextlib.AbstractContextManager[None]:
    """This thread works in another network namespace: sockets made here stay there for good, and
    /proc/sys/net is that namespace's."""
    return _entered(namespace, "net", CLONE_NEWNET)


def popen_in(pid: int, argv: Sequence[str], **popen: object) -> subprocess.Popen:
    """Starts a command in the mount, network and PID namespaces of a process.

    nsenter would have to fork for the PID namespace, and then a signal would reach nsenter instead
    of the command. Here this thread's children are born in that PID namespace, so that the Popen is
    the command itself.
    """
    namespaces = Path(f"/proc/{pid}/ns")
    enter = ["nsenter", f"--mount={namespaces}/mnt", f"--net={namespaces}/net", "--"]
    with _entered(namespaces / "pid", "pid_for_children", CLONE_NEWPID):
        return subprocess.Popen([*enter, *argv], **popen)
