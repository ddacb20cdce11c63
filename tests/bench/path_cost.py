#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Measures what droptrace costs packets that live.

A TCP stream from pod to pod through a mini Kind node: nanoseconds of each program for each packet,
by the kernel's own account (kernel.bpf_stats_enabled, switched back afterwards), and its throughput
with droptrace as a ratio to that without, from runs in turn. Figures for people to read; no test
depends on them.
"""

import argparse
import os
import socket
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import mini_node
import namespaces
from cases import Lab
from drop_cost import account_of, accounting
from mini_node import POD_B, MiniNode

PORT = 8080
PAIRS = 5
STREAM_S = 2.0
SETTLED_S = 1.0  # then the rules and names that it reads at the start have been read
CHUNK = bytes(1 << 20)
# Those that see every packet.
PROGRAMS = ("dt_path_transmit", "dt_path_receive", "dt_path_hook", "dt_note_nat")


def receive_all(server: socket.socket) -> None:
    connection, _ = server.accept()
    buffer = bytearray(1 << 20)
    while connection.recv_into(buffer):
        pass


def stream(lab: Lab) -> float:
    """Sends from podA to podB for a while; returns Gbit/s."""
    with namespaces.network(lab.node.namespace("podB")):
        server = socket.create_server(("", PORT))
    with namespaces.network(lab.node.namespace("podA")):
        client = socket.socket()
    receiver = os.fork()  # a thread would wait for the sender's lock
    if receiver == 0:
        client.close()
        receive_all(server)
        os._exit(0)
    with server, client:
        client.connect((POD_B.ip, PORT))
        sent, start = 0, time.monotonic()
        while time.monotonic() - start < STREAM_S:
            client.sendall(CHUNK)
            sent += len(CHUNK)
        seconds = time.monotonic() - start
    os.waitpid(receiver, 0)
    return sent * 8 / seconds / 1e9


def per_packet(lab: Lab) -> None:
    with accounting(), lab.trace():
        before = {name: account_of(name) for name in PROGRAMS}
        stream(lab)
        for name in PROGRAMS:
            time_ns, runs = (now - then for now, then in zip(account_of(name), before[name]))
            said = f"{time_ns / runs:8.0f} ns  of {runs} packets" if runs else "       -"
            print(f"{name:<18}{said}", flush=True)


def ratio(lab: Lab) -> float:
    """Both ways, in an order that changes: the machine may get slower meanwhile."""

    def traced() -> float:
        with lab.trace():
            time.sleep(SETTLED_S)
            return stream(lab)

    ratios = []
    for pair in range(PAIRS):
        if pair % 2:
            with_droptrace, without = traced(), stream(lab)
        else:
            without, with_droptrace = stream(lab), traced()
        ratios.append(with_droptrace / without)
        print(f"  {without:6.2f} Gbit/s without, {with_droptrace:6.2f} with", flush=True)
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    binary = parser.parse_args().binary.resolve()
    if problem := mini_node.missing_prerequisite("bpftool"):
        sys.exit(f"path_cost.py: {problem}")
    mini_node.clean_up_on_signals()
    with MiniNode() as node:
        lab = Lab(node, binary)
        per_packet(lab)
        print(f"throughput: {ratio(lab):.3f} of that without, median of {PAIRS} pairs")


if __name__ == "__main__":
    main()
