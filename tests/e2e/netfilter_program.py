# SPDX-License-Identifier: GPL-2.0-only
"""A BPF program at a netfilter hook, for what tools of Debian 12 cannot attach yet (Linux 6.4)."""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import namespaces
from cases import Skip

SYS_BPF = 321  # x86-64
BPF_PROG_LOAD, BPF_LINK_CREATE = 5, 28  # include/uapi/linux/bpf.h
BPF_PROG_TYPE_NETFILTER, BPF_NETFILTER = 32, 45
RETURN_DROP = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)  # r0 = NF_DROP; exit

NFPROTO_IPV4 = 2
NF_INET_FORWARD = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> int:
    descriptor = _libc.syscall(SYS_BPF, command, attributes, len(attributes))
    if descriptor < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf: {os.strerror(error)}")
    return descriptor


def _load() -> int:
    instructions = ctypes.create_string_buffer(RETURN_DROP, len(RETURN_DROP))
    license_name = ctypes.create_string_buffer(b"GPL")
    begin = struct.pack(
        "=IIQQ",
        BPF_PROG_TYPE_NETFILTER,
        len(RETURN_DROP) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(license_name),
    )
    # No log; kern_version, flags, name and interface are not used.
    rest = struct.pack("=IIQII16sII", 0, 0, 0, 0, 0, b"", 0, BPF_NETFILTER)
    return _bpf(BPF_PROG_LOAD, begin + rest)


@contextlib.contextmanager
def dropping_all_forwarded(namespace: Path, priority: int) -> Iterator[None]:
    """Whatever IPv4 packet the namespace forwards is dropped by a program."""
    try:
        program = _load()
    except OSError as error:
        raise Skip(f"no BPF programs at netfilter hooks: {error}") from error
    try:
        where = (NFPROTO_IPV4, NF_INET_FORWARD, priority, 0)
        with namespaces.network(namespace):
            link = _bpf(
                BPF_LINK_CREATE, struct.pack("=IIIIIIiI", program, 0, BPF_NETFILTER, 0, *where)
            )
    finally:
        os.close(program)
    try:
        yield
    finally:
        os.close(link)
