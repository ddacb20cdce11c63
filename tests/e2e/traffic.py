# SPDX-License-Identifier: GPL-2.0-only
"""What pods do on the network, done by this process with sockets made in their namespaces."""

import contextlib
import errno
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import namespaces

CONNECTED = "connected"
PENDING = "pending"  # still trying: nothing has answered

RST, ACK = 0x04, 0x10  # RFC 9293, 3.1


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Dial:
    """A connection attempt under way. sport is known before the first SYN leaves."""

    def __init__(self, namespace: Path, address: str, port: int) -> None:
        with namespaces.network(namespace):
            self.socket = socket.socket(_family(address), socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.bind(("", 0))
        self.sport: int = self.socket.getsockname()[1]
        self._error = self.socket.connect_ex((address, port))

    def outcome(self, timeout: float = 0) -> str:
        """CONNECTED, PENDING or the name of the error, e.g. ECONNREFUSED."""
        if self._error == errno.EINPROGRESS:
            if not select.select([], [self.socket], [], timeout)[1]:
                return PENDING
            self._error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return errno.errorcode[self._error] if self._error else CONNECTED

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def dial(namespace: Path, address: str, port: int) -> Iterator[Dial]:
    attempt = Dial(namespace, address, port)
    try:
        yield attempt
    finally:
        attempt.close()


@contextlib.contextmanager
def listening(namespace: Path, port: int) -> Iterator[socket.socket]:
    """A server for both IP versions. The kernel completes handshakes; nothing needs to accept."""
    with namespaces.network(namespace):
        server = socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=16
        )
    with server:
        yield server


def shell_dial(address: str, port: int) -> tuple[str, ...]:
    """A command that tries to connect once and succeeds whatever comes of it."""
    return ("bash", "-c", f"{{ : </dev/tcp/{address}/{port}; }} 2>/dev/null || true")


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send_segment(namespace: Path, src: tuple[str, int], dst: tuple[str, int], flags: int) -> None:
    """Sends one IPv4 TCP segment that belongs to no socket."""
    header = struct.pack("!HHIIBBHHH", src[1], dst[1], 1, 1, 5 << 4, flags, 1024, 0, 0)
    addresses = socket.inet_aton(src[0]) + socket.inet_aton(dst[0])
    pseudo = addresses + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(header))
    segment = header[:16] + struct.pack("!H", _checksum(pseudo + header)) + header[18:]
    # The kernel fills in the length, the identification and the checksum (raw(7)).
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_TCP, 0) + addresses
    with namespaces.network(namespace):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with raw:
        raw.sendto(ip + segment, (dst[0], 0))
