# SPDX-License-Identifier: GPL-2.0-only
"""Runs droptrace in a mini node and reads what it says. Each JSON line is held to the schema."""

import argparse
import functools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mini_node import MiniNode
from patience import PATIENCE

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMA = REPOSITORY / "userspace" / "sink" / "event.schema.json"

# Waits end with the event that they wait for; these only bound a failure.
DROPS = ("drop", "reject")  # a reject is a drop that was answered

READY_S = 20.0 * PATIENCE
RECORD_S = 8.0 * PATIENCE
END_S = 20.0 * PATIENCE
STEP_S = 0.01


def add_binary_option(parser: argparse.ArgumentParser) -> None:
    default = REPOSITORY / "build" / "droptrace"
    help_text = "the droptrace to run (default: build/droptrace)"
    parser.add_argument("--droptrace", type=Path, default=default, metavar="FILE", help=help_text)


def chosen_binary(arguments: argparse.Namespace) -> Path:
    binary: Path = arguments.droptrace.resolve()
    if not binary.is_file():
        sys.exit(f"no {binary}: build it first, or give --droptrace FILE")
    return binary


class Unexpected(AssertionError):
    """droptrace did something else than the case expects."""


def field(record: Mapping[str, object], dotted: str) -> object:
    """A field of a record by its dotted name; None if it is absent.

    "function" stands for the symbol of the location, without its offset and the compiler's suffix.
    """
    if dotted == "function":
        return re.split(r"[+.]", str(record.get("location")), maxsplit=1)[0]
    value: object = record
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def check_fields(record: Mapping[str, object], expected: Mapping[str, object]) -> None:
    """Raises with every field that differs. An expected None means: absent."""
    wrong = [
        f"{name} is {field(record, name)!r}, not {value!r}"
        for name, value in expected.items()
        if field(record, name) != value
    ]
    if wrong:
        raise Unexpected("; ".join(wrong) + f"\n{json.dumps(record)}")


@dataclass(frozen=True)
class Result:
    status: int
    stderr: str
    stdout: str

    def records(self) -> list[dict]:
        """The lines of -o json."""
        return parse_lines(self.stdout)

    def drops(self) -> list[dict]:
        return [record for record in self.records() if record["type"] in DROPS]

    def summary(self) -> dict:
        last = self.records()[-1:]
        if not last or last[0]["type"] != "summary":
            raise Unexpected(f"the last line is no summary: {last}")
        return last[0]


@functools.cache
def _schema_validator() -> Any:
    import jsonschema  # a package of its own, which the demo does without

    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


def parse_line(line: str) -> dict:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise Unexpected(f"not JSON: {line!r}") from error
    if problem := next(_schema_validator().iter_errors(record), None):
        raise Unexpected(f"not as the schema says: {problem.message}: {line!r}")
    return record


def parse_lines(text: str) -> list[dict]:
    if text and not text.endswith("\n"):
        raise Unexpected(f"the last line is cut: {text[-80:]!r}")
    return [parse_line(line) for line in text.splitlines()]


def run(node: MiniNode, argv: Sequence[str], **popen: object) -> Result:
    """Runs a command in the node to its end."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = node.node_command(argv, **{**streams, **popen})
    try:
        stdout, stderr = process.communicate(timeout=END_S)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise Unexpected(f"{' '.join(argv)} is still running after {END_S} s") from error
    return Result(process.returncode, (stderr or b"").decode(), (stdout or b"").decode())


class Trace:
    """droptrace at work: a context manager that is ready once it is entered.

    wait_for_drop() waits for what it should see, stop() ends it and returns the Result.
    """

    def __init__(
        self,
        node: MiniNode,
        binary: Path,
        options: Sequence[str],
        output: str = "json",
        engines: str | None = None,
    ) -> None:
        self._node = node
        self._json = output == "json"
        # Which engines may name rules; without it all may that can.
        self._environment = os.environ | ({"DROPTRACE_ENGINES": engines} if engines else {})
        # In the node's /run, which ends with the node.
        self._directory = Path(tempfile.mkdtemp(dir=node.path("/run")))
        ready = f"/run/{self._directory.name}/ready"
        self._argv = [str(binary), "-o", output, "--ready-file", ready, *options]
        self._lines: list[str] = []
        self._passed = 0  # lines that a wait has looked at
        self._closed = False
        self._arrived = threading.Condition()

    def __enter__(self) -> "Trace":
        with (self._directory / "stderr").open("wb") as errors:
            self._process = self._node.node_command(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._environment,
            )
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(END_S)
        self._reader.join()
        self._process.stdout.close()

    def _collect(self) -> None:
        for line in self._process.stdout:
            with self._arrived:
                self._lines.append(line.decode())
                self._arrived.notify()
        with self._arrived:
            self._closed = True
            self._arrived.notify()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while not (self._directory / "ready").exists():
            if self._process.poll() is not None:
                raise Unexpected(f"ended with {self._process.returncode}: {self.stderr()}")
            if time.monotonic() > deadline:
                raise Unexpected(f"not ready after {READY_S} s: {self.stderr()}")
            time.sleep(STEP_S)

    def stderr(self) -> str:
        """What it has said on standard error so far."""
        return (self._directory / "stderr").read_text()

    def wait_for_line(self, timeout: float = RECORD_S) -> str:
        """The next line of output."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self._lines) > self._passed or self._closed, timeout)
            if len(self._lines) == self._passed:
                said = "".join(self._lines)
                raise Unexpected(f"what is awaited does not come, only:\n{said}{self.stderr()}")
            self._passed += 1
            return self._lines[self._passed - 1]

    def wait_for_drop(self, expected: Mapping[str, object], timeout: float = RECORD_S) -> dict:
        """The next drop, answered or not, that has these fields; what comes before is passed over."""
        deadline = time.monotonic() + timeout
        while True:
            record = parse_line(self.wait_for_line(deadline - time.monotonic()))
            if record["type"] in DROPS and all(
                field(record, name) == value for name, value in expected.items()
            ):
                return record

    def kill(self) -> None:
        """Ends it without giving it a chance to clean up."""
        self._process.kill()
        self._process.wait(END_S)

    def end(self) -> Result:
        """What it said and how it ended, once it has ended by itself."""
        try:
            status = self._process.wait(END_S)
        except subprocess.TimeoutExpired as error:
            stuck = Path(f"/proc/{self._process.pid}/stack").read_text()
            raise Unexpected(f"still runs after {END_S} s: {self.stderr()}{stuck}") from error
        self._reader.join()
        return Result(status, self.stderr(), "".join(self._lines))

    def stop(self, number: int = signal.SIGINT) -> Result:
        """Ends it as Ctrl-C does, or with another signal. It must end well."""
        self._process.send_signal(number)
        result = self.end()
        if result.status != 0:
            raise Unexpected(f"ended with {result.status}: {result.stderr}")
        if self._json:
            result.summary()  # reads and checks every line
        return result
