# SPDX-License-Identifier: GPL-2.0-only
"""Runs one case after the other: a line for each, a time limit, and the figures at the end."""

import argparse
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable

from patience import PATIENCE

CASE_S = int(120 * PATIENCE)  # no case takes that long; a hang must not take the whole run
EXIT_FAILED, EXIT_SKIPPED = 1, 77


class Skip(Exception):
    """The machine cannot do what the case needs; says what."""


def _case_takes_too_long(_number: int, _frame: object) -> None:
    raise TimeoutError(f"the case takes more than {CASE_S} s")


def status_without_run(
    names: list[str], arguments: argparse.Namespace, missing: Callable[[], str | None]
) -> int | None:
    """The exit status where no case is to be run, which is said; None: run them.

    missing says what the machine lacks.
    """
    if arguments.list:
        print(*names, sep="\n")
        return 0
    if not names:
        sys.exit(f"run.py: no case is called so: {' '.join(arguments.words)}")
    if reason := missing():
        print(f"skipped all cases: {reason}\n0 passed, 0 failed, {len(names)} skipped")
        return EXIT_SKIPPED
    return None


class CaseRun:
    def __init__(self) -> None:
        self._results: Counter[str] = Counter()
        signal.signal(signal.SIGALRM, _case_takes_too_long)

    def run(self, name: str, function: Callable[[], None]) -> None:
        start = time.monotonic()
        result, detail = "passed", ""
        signal.alarm(CASE_S)
        try:
            function()
        except Skip as reason:
            result, detail = "skipped", f": {reason}"
        except Exception:
            result, detail = "failed", "\n" + traceback.format_exc()
        finally:
            signal.alarm(0)
        self._results[result] += 1
        print(f"{result:7} {name} ({time.monotonic() - start:.1f} s){detail}", flush=True)

    def finish(self) -> int:
        """Prints the figures; returns the exit status."""
        words = ("passed", "failed", "skipped")
        print(", ".join(f"{self._results[word]} {word}" for word in words))
        if self._results["failed"]:
            return EXIT_FAILED
        return 0 if self._results["passed"] else EXIT_SKIPPED
