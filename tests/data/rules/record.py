#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Records the dumps that the unit tests of the rules read, each in a network namespace of its own.

Needs root, nft and both kinds of iptables; the dumps at hand are of Debian 12 (nft 1.0.6, iptables
1.8.9). kindnet.* is not recorded but written as nft prints it: its queue statement needs a kernel
with CONFIG_NFT_QUEUE.
"""

import ctypes
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "e2e"))

from kube_rules import IPV4, IPV6, Family, Service, rules  # noqa: E402

# include/uapi/linux/netfilter_ipv4/ip_tables.h; those of IPv6 have the same values.
IPT_SO_GET_INFO = 64
IPT_SO_GET_ENTRIES = 65
SIZE_OF_IPT_GETINFO = 84
OFFSET_OF_ENTRIES = 40

SERVICES4 = (
    Service("default/kubernetes:https", "10.96.0.1", 443, (("172.18.0.2", 6443),), node_port=30443),
    Service(
        "kube-system/kube-dns:dns-tcp", "10.96.0.10", 53, (("10.244.0.2", 53), ("10.244.0.3", 53))
    ),
    Service("data-platform/iceberg:http", "10.96.12.7", 8181),
)
SERVICES6 = (
    Service("default/kubernetes:https", "fd00:10:96::1", 443, (("fc00:f853:ccd:e793::2", 6443),)),
    Service("data-platform/iceberg:http", "fd00:10:96::c07", 8181),
)


def run(*command: str, text: str | None = None) -> str:
    return subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.PIPE).stdout


def record_nft(name: str) -> None:
    (HERE / f"{name}.json").write_text(run("nft", "-j", "-a", "list", "ruleset"))
    (HERE / f"{name}.txt").write_text(run("nft", "-a", "list", "ruleset"))


def kube(services: tuple[Service, ...], family: Family, version: str) -> None:
    run(f"ip{version}tables-nft-restore", text=rules(services, family))
    (HERE / f"kube{version}.save").write_text(run(f"ip{version}tables-nft-save"))


def record_kube() -> None:
    kube(SERVICES4, IPV4, "")
    kube(SERVICES6, IPV6, "6")
    record_nft("kube")


def record_odd() -> None:
    run("iptables-nft-restore", text=(HERE / "sources/odd.rules").read_text())
    (HERE / "odd.save").write_text(run("iptables-nft-save"))
    record_nft("odd")


def getsockopt(sock: socket.socket, level: int, option: int, request: bytes) -> bytes:
    """Unlike the method of socket, this one can say which table it wants."""
    buffer = ctypes.create_string_buffer(request, len(request))
    length = ctypes.c_uint32(len(request))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.getsockopt(sock.fileno(), level, option, buffer, ctypes.byref(length)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"getsockopt: {os.strerror(error)}")
    return buffer.raw[: length.value]


def entries(family: socket.AddressFamily, level: int, table: bytes) -> bytes:
    """struct ipt_getinfo, and behind it the entries of struct ipt_get_entries."""
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        request = table.ljust(SIZE_OF_IPT_GETINFO, b"\0")
        info = getsockopt(sock, level, IPT_SO_GET_INFO, request)
        (size,) = struct.unpack_from("=I", info, SIZE_OF_IPT_GETINFO - 4)
        request = struct.pack("=32sI", table, size).ljust(OFFSET_OF_ENTRIES + size, b"\0")
        return info + getsockopt(sock, level, IPT_SO_GET_ENTRIES, request)[OFFSET_OF_ENTRIES:]


def record_legacy() -> None:
    odd = (HERE / "sources/odd.rules").read_text()
    for version, family, level in (
        ("", socket.AF_INET, socket.IPPROTO_IP),
        ("6", socket.AF_INET6, socket.IPPROTO_IPV6),
    ):
        run(f"ip{version}tables-legacy-restore", text=odd)
        (HERE / f"legacy{version}.save").write_text(run(f"ip{version}tables-legacy-save", "-c"))
        (HERE / f"legacy{version}.bin").write_bytes(entries(family, level, b"filter"))


def record_source(name: str) -> None:
    run("nft", "-f", str(HERE / f"sources/{name}.nft"))
    record_nft(name)


RECORDINGS = {
    "kube": record_kube,
    "odd": record_odd,
    "legacy": record_legacy,
    "kube-proxy": lambda: record_source("kube-proxy"),
    "native": lambda: record_source("native"),
    "forms": lambda: record_source("forms"),
}

if len(sys.argv) == 2:
    RECORDINGS[sys.argv[1]]()
else:
    for recording in RECORDINGS:
        run("unshare", "--net", sys.executable, str(Path(__file__).resolve()), recording)
