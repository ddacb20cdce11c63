#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Runs droptrace in real node containers, all cases in one bed (bed.py). Needs root.

Exits 0 if no case failed, 1 if one did, 77 if there can be no bed here.
"""

import argparse
import functools
import importlib
import importlib.util
import sys
import time

import bed  # first: it makes the modules of tests/e2e known

import droptrace_runner
import mini_node
import node_lab
from case_run import CaseRun, status_without_run
from docker_host import Failed
from node_image import NoImage


# In this order: after the last the pods are others.
TOPICS = ("names", "policy", "two_nodes", "exec", "restarts")


def missing_prerequisite() -> str | None:
    if not importlib.util.find_spec("jsonschema"):
        return "not installed: python3-jsonschema"
    return bed.missing_prerequisite()


def chosen_cases(words: list[str]) -> list[node_lab.Case]:
    for topic in TOPICS:
        importlib.import_module(f"test_{topic}")
    return [c for c in node_lab.CASES if not words or any(word in c.name for word in words)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    droptrace_runner.add_binary_option(parser)
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    words_help = "only cases with this in their names"
    parser.add_argument("words", nargs="*", metavar="WORD", help=words_help)
    arguments = parser.parse_args()
    chosen = chosen_cases(arguments.words)
    status = status_without_run([c.name for c in chosen], arguments, missing_prerequisite)
    if status is not None:
        return status
    binary = droptrace_runner.chosen_binary(arguments)

    mini_node.clean_up_on_signals()
    start = time.monotonic()
    with bed.Bed(worker=True) as cluster:
        cluster.install(binary)
        print(f"the bed is up after {time.monotonic() - start:.1f} s", flush=True)
        run = CaseRun()
        for c in chosen:
            run.run(c.name, functools.partial(c.function, node_lab.Lab(cluster, binary)))
        return run.finish()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, NoImage) as problem:
        sys.exit(f"run.py: the bed cannot be made: {problem}")
