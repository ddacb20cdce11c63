# SPDX-License-Identifier: GPL-2.0-only
"""What a case is: a function that is given a lab of its own, registered with @case."""

import functools
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import droptrace_runner
import traffic
from case_run import Skip as Skip
from droptrace_runner import Result, Trace
from mini_node import POD_B, MiniNode


@dataclass(frozen=True)
class Lab:
    """A fresh mini node and the droptrace under test."""

    node: MiniNode
    binary: Path

    def trace(
        self, *options: str, output: str = "json", engines: str | None = None
    ) -> Trace:
        """droptrace in the node, ready once the with block is entered."""
        return Trace(self.node, self.binary, options, output, engines)

    def droptrace(self, *options: str, **popen: object) -> Result:
        """droptrace in the node, until it ends by itself."""
        return droptrace_runner.run(self.node, [str(self.binary), *options], **popen)

    def dial(self, name: str, address: str, port: int) -> AbstractContextManager[traffic.Dial]:
        return traffic.dial(self.node.namespace(name), address, port)

    def refused_dial(self, address: str = POD_B.ip, port: int = 8080, name: str = "podA") -> int:
        """One certain drop: by default a SYN to a pod where nothing listens. Returns its port."""
        with self.dial(name, address, port) as dial:
            outcome = dial.outcome(timeout=5)
            assert outcome == "ECONNREFUSED", outcome
            return dial.sport


@dataclass(frozen=True)
class Case:
    topic: str
    name: str
    backend: str
    function: Callable[[Lab], None]

    def run(self, binary: Path) -> None:
        if reason := why_no_backend(self.backend):
            raise Skip(f"no iptables-{self.backend}: {reason}")
        with MiniNode(self.backend) as node:
            self.function(Lab(node, binary))


CASES: list[Case] = []


def case(*backends: str) -> Callable[[Callable[[Lab], None]], Callable[[Lab], None]]:
    """Registers a case, once for each iptables that is to hold the node's rules."""

    def register(function: Callable[[Lab], None]) -> Callable[[Lab], None]:
        topic = function.__module__.removeprefix("test_")
        for backend in backends or ("nft",):
            suffix = "" if backend == "nft" else f" ({backend})"
            name = f"{topic}: {function.__name__.replace('_', ' ')}{suffix}"
            CASES.append(Case(topic, name, backend, function))
        return function

    return register


@functools.cache
def why_no_backend(backend: str) -> str | None:
    """Why this kernel or machine does not have that iptables; None if it does."""
    command = ["unshare", "--net", "--", f"iptables-{backend}", "-S"]
    probe = subprocess.run(command, capture_output=True, text=True, timeout=10)
    return probe.stderr.strip() if probe.returncode else None
