#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Measures what a drop costs in the kernel: nanoseconds of the program dt_drop, by kind of drop.

The kernel's own account (kernel.bpf_stats_enabled, switched back afterwards) of runs in a mini Kind
node; the best of some rounds. Figures for people to read; no test depends on them.
"""

import argparse
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import mini_node
import namespaces
from cases import Lab
from mini_node import POD_B, MiniNode
from rule_checks import iptables

PORT = 30000
DATAGRAMS = 2000
ROUNDS = 3
STATISTICS = Path("/proc/sys/kernel/bpf_stats_enabled")
DROP = f"-p udp --dport {PORT} -j DROP"


def legacy_rules(count: int) -> list[str]:
    """So many rules that can drop, the last of which does."""
    others = [f"-A FORWARD -p udp --dport {40000 + index} -j DROP" for index in range(count - 1)]
    return [*others, f"-A FORWARD {DROP}"]


# What drops, in which iptables, and whether the drop touches an address that is watched.
KINDS: dict[str, tuple[str, list[str]]] = {
    "no rule: nothing listens in the pod": ("nft", []),
    "chain policy": ("nft", [":FORWARD DROP"]),
    "rule in the base chain": ("nft", [f"-A FORWARD {DROP}"]),
    "rule, two jumps deep": (
        "nft",
        [":A", ":B", "-A FORWARD -j A", "-A A -j B", f"-A B {DROP}"],
    ),
    "iptables-legacy, 10 rules that drop": ("legacy", legacy_rules(10)),
    "iptables-legacy, 100": ("legacy", legacy_rules(100)),
    "iptables-legacy, 400": ("legacy", legacy_rules(400)),
}


def account_of(name: str) -> tuple[int, int]:
    """Nanoseconds and runs so far of the programs whose names begin so, over all that are loaded."""
    listed = subprocess.run(
        ["bpftool", "--json", "prog", "show"], check=True, capture_output=True, text=True
    )
    programs = [p for p in json.loads(listed.stdout) if p.get("name", "").startswith(name)]
    return sum(p.get("run_time_ns", 0) for p in programs), sum(p.get("run_cnt", 0) for p in programs)


@contextmanager
def accounting() -> Iterator[None]:
    before = STATISTICS.read_text()
    STATISTICS.write_text("1")
    try:
        yield
    finally:
        STATISTICS.write_text(before)


def flood(lab: Lab) -> None:
    with namespaces.network(lab.node.namespace("podA")):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        for _ in range(DATAGRAMS):
            try:
                sender.sendto(b"", (POD_B.ip, PORT))
            except ConnectionRefusedError:
                pass  # the answer to an earlier one


def measure(binary: Path, backend: str, rules: list[str], *options: str) -> float:
    """Nanoseconds a drop: the best of the rounds."""
    with MiniNode(backend) as node:
        lab = Lab(node, binary)
        if rules == [":FORWARD DROP"]:
            node.run(f"iptables-{backend}", "-P", "FORWARD", "DROP")
        elif rules:
            iptables(lab, *rules, program=f"iptables-{backend}")
        best = float("inf")
        with lab.trace("--ring-size", "64M", *options, output="text") as trace:
            flood(lab)  # until legacy tables are known
            for _ in range(ROUNDS):
                before = account_of("dt_drop")
                flood(lab)
                after = account_of("dt_drop")
                best = min(best, (after[0] - before[0]) / (after[1] - before[1]))
            trace.stop()
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary", type=Path)
    binary = parser.parse_args().binary.resolve()
    if reason := mini_node.missing_prerequisite("bpftool"):
        raise SystemExit(reason)
    with accounting():
        for kind, (backend, rules) in KINDS.items():
            print(f"{measure(binary, backend, rules):8.0f} ns  {kind}", flush=True)
        elsewhere = measure(binary, "nft", [f"-A FORWARD {DROP}"], "--netns", "1")
        print(f"{elsewhere:8.0f} ns  any of these in a namespace that is not watched")


if __name__ == "__main__":
    main()
