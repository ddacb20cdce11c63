#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Runs the end-to-end cases: droptrace in a miniature Kind node. Needs root.

Exits 0 if no case failed, 1 if one did, 77 if all were skipped.
"""

import argparse
import functools
import importlib
import importlib.util
import os
import sys
from pathlib import Path

import cases
import droptrace_runner
import mini_node
import node_rules
from case_run import CaseRun, status_without_run


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    droptrace_runner.add_binary_option(parser)
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    engine_help = "how droptrace is to find rules of nf_tables (default: as it likes)"
    engines = ("frame", "fentry", "kprobe")
    parser.add_argument("--engine", choices=engines, metavar="NAME", help=engine_help)
    words_help = "only the cases of this topic, or with this in their names"
    parser.add_argument("words", nargs="*", metavar="WORD", help=words_help)
    return parser.parse_args()


def chosen_cases(words: list[str]) -> list[cases.Case]:
    topics = [file.stem for file in sorted(Path(__file__).parent.glob("test_*.py"))]
    for topic in topics:
        importlib.import_module(topic)

    def is_meant(case: cases.Case, word: str) -> bool:
        return word == case.topic if f"test_{word}" in topics else word in case.name

    return [c for c in cases.CASES if not words or any(is_meant(c, word) for word in words)]


def missing_prerequisite() -> str | None:
    if not importlib.util.find_spec("jsonschema"):
        return "not installed: python3-jsonschema"
    return mini_node.missing_prerequisite("nft", "tc")


def main() -> int:
    arguments = parse_arguments()
    chosen = chosen_cases(arguments.words)
    status = status_without_run([c.name for c in chosen], arguments, missing_prerequisite)
    if status is not None:
        return status
    binary = droptrace_runner.chosen_binary(arguments)

    if arguments.engine:
        os.environ[node_rules.ENGINES] = arguments.engine
    mini_node.clean_up_on_signals()
    run = CaseRun()
    for c in chosen:
        run.run(c.name, functools.partial(c.run, binary))
    return run.finish()


if __name__ == "__main__":
    sys.exit(main())
