#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Gives verdicts on the packets of an NFQUEUE, as kindnetd does for network policies.

Prints a line once it is bound to the queue. With the verdict "stall" it never answers, so that
packets wait in the queue until that is full or the agent is killed.
"""

import argparse
import ctypes
import os
import socket
import struct
from collections.abc import Iterator

# include/uapi/linux/netlink.h, netfilter/nfnetlink.h, netfilter/nfnetlink_queue.h
NETLINK_NETFILTER = 12
NLM_F_REQUEST, NLM_F_ACK = 1, 4
NLMSG_ERROR = 2
NFNL_SUBSYS_QUEUE = 3
NFQNL_MSG_PACKET, NFQNL_MSG_VERDICT, NFQNL_MSG_CONFIG = range(3)
NFQNL_CFG_CMD_BIND = 1
NFQNL_COPY_PACKET = 2
NFQA_CFG_CMD, NFQA_CFG_PARAMS, NFQA_CFG_QUEUE_MAXLEN = 1, 2, 3
NFQA_PACKET_HDR, NFQA_VERDICT_HDR = 1, 2
VERDICTS = {"drop": 0, "accept": 1}

PR_SET_NAME = 15  # include/uapi/linux/prctl.h
COPIED_BYTES = 128  # what kindnetd asks for
HEADERS = struct.Struct("=IHHIIBBH")  # struct nlmsghdr, struct nfgenmsg
ATTRIBUTE = struct.Struct("=HH")


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute; those of this subsystem have numbers in network order."""
    length = ATTRIBUTE.size + len(payload)
    return ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        yield kind & 0x3FFF, data[ATTRIBUTE.size : length]
        data = data[length + -length % 4 :]


class Queue:
    def __init__(self, number: int, length: int) -> None:
        self._number = number
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        command = struct.pack("!BxH", NFQNL_CFG_CMD_BIND, 0)
        self._configure(attribute(NFQA_CFG_CMD, command))
        params = struct.pack("!IB", COPIED_BYTES, NFQNL_COPY_PACKET)
        self._configure(attribute(NFQA_CFG_PARAMS, params))
        self._configure(attribute(NFQA_CFG_QUEUE_MAXLEN, struct.pack("!I", length)))

    def _send(self, message: int, flags: int, payload: bytes) -> None:
        kind = NFNL_SUBSYS_QUEUE << 8 | message
        length = HEADERS.size + len(payload)
        queue = socket.htons(self._number)
        headers = HEADERS.pack(length, kind, NLM_F_REQUEST | flags, 0, 0, 0, 0, queue)
        self._socket.send(headers + payload)

    def _configure(self, payload: bytes) -> None:
        self._send(NFQNL_MSG_CONFIG, NLM_F_ACK, payload)
        while True:
            answer = self._socket.recv(65536)
            if HEADERS.unpack_from(answer)[1] != NLMSG_ERROR:
                continue  # a packet that was faster than the acknowledgement: it stays queued
            (error,) = struct.unpack_from("=i", answer, 16)
            if error:
                raise OSError(-error, f"queue {self._number}: {os.strerror(-error)}")
            return

    def packets(self) -> Iterator[int]:
        """The numbers of the packets, as they come."""
        while True:
            message = self._socket.recv(65536)
            if HEADERS.unpack_from(message)[1] != NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET:
                continue
            for kind, payload in attributes(message[HEADERS.size :]):
                if kind == NFQA_PACKET_HDR:
                    yield struct.unpack_from("!I", payload)[0]

    def answer(self, packet: int, verdict: int) -> None:
        payload = struct.pack("!II", verdict, packet)
        self._send(NFQNL_MSG_VERDICT, 0, attribute(NFQA_VERDICT_HDR, payload))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("queue", type=int)
    parser.add_argument("verdict", choices=[*VERDICTS, "stall"])
    parser.add_argument("--length", type=int, default=1024, help="packets that may wait")
    parser.add_argument("--name", default="kindnetd", help="the name that the kernel shows")
    arguments = parser.parse_args()

    ctypes.CDLL(None).prctl(PR_SET_NAME, arguments.name.encode(), 0, 0, 0)
    queue = Queue(arguments.queue, arguments.length)
    print("bound", flush=True)
    for packet in queue.packets():
        if arguments.verdict != "stall":
            queue.answer(packet, VERDICTS[arguments.verdict])


if __name__ == "__main__":
    main()
