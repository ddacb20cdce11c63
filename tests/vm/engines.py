#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Holds each way to find nf_tables rules to hundreds of rules, and to what only it can tell.

For a virtual machine (see run.sh) whose kernel allows the engines that are named. One mini node
serves them all, as it takes long to build there.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("DROPTRACE_TEST_PATIENCE", "10")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import test_accuracy as accuracy
import test_hook as hook
from cases import Lab
from mini_node import MiniNode
from node_rules import ENGINES, Rule, repeating
from rule_checks import PLACE, iptables

MODULES = ("nf_tables", "nfnetlink_queue")  # their types are read before they are needed
CHURN = (":KUBE-CHURN", "-A KUBE-CHURN -d 10.96.0.9 -j REJECT")


def check_maze(lab: Lab, maze: accuracy.Maze, rules: dict[int, Rule]) -> int:
    """Once at rest and once while other chains are rewritten; returns how many drops were right."""
    with lab.trace(*accuracy.TRACE) as trace:
        before = accuracy.warm_up(lab, trace)
        drops = accuracy.collect(trace, maze, accuracy.send(lab, maze, rounds=1), before)
    accuracy.check_records(drops, rules, maze)
    with lab.trace(*accuracy.TRACE) as trace:
        with repeating(lambda: iptables(lab, *CHURN)):
            churned = accuracy.collect(trace, maze, accuracy.send(lab, maze, rounds=1))
    accuracy.check_records(churned, rules, maze, optional=PLACE | {"netfilter.rule"})
    return len(drops) + len(churned)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True, help="the droptrace under test")
    parser.add_argument("engines", nargs="+", choices=("frame", "fentry", "kprobe"))
    arguments = parser.parse_args()
    subprocess.run(["modprobe", "-a", *MODULES], check=True)
    with MiniNode() as node:
        lab = Lab(node, arguments.binary.resolve())
        maze = accuracy.load_maze(lab)
        rules = accuracy.listed(lab)
        queued: dict[int, dict[str, object]] = {}
        odd: dict[int, dict[str, object]] = {}
        for engine in arguments.engines:
            start = time.monotonic()
            os.environ[ENGINES] = engine
            count = check_maze(lab, maze, rules)
            print(f"passed: {engine}: {count} drops of {len(rules)} rules are right", flush=True)
            if engine != "frame":
                odd = odd or hook.odd_ways(lab)
                hook.check_odd_ways(lab, odd)
                print(f"passed: {engine}: gotos and verdict maps", flush=True)
                queued = queued or hook.queueing_rules(lab)
                hook.check_queued(lab, queued)
                print(f"passed: {engine}: queues", flush=True)
            print(f"{engine} took {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
