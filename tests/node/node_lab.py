# SPDX-License-Identifier: GPL-2.0-only
"""What the cases work with: droptrace behind docker exec, and connections of the pods."""

import contextlib
import itertools
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import droptrace_runner
import traffic
from bed import IN_NODE, Bed
from docker_host import Failed
from droptrace_runner import Result, Trace, Unexpected, check_fields, field
from kind_node import KindNode
from patience import PATIENCE
from pods import WEB, Pod, PodSpec

CLOSED = 4444  # nothing listens on this port anywhere
SAME_DROP_S = 0.3
NOTICED_S = 15.0 * PATIENCE  # bounds a failure
UNWATCHED_S = 1.0 * PATIENCE  # then a drop is not to come: its namespace was too new

_numbers = itertools.count(1)


class Exec(subprocess.Popen):
    """A docker exec. Signals reach the command in the node, which docker would not pass on."""

    def __init__(self, node: KindNode, argv: Sequence[str], **popen: object) -> None:
        self._node = node
        self._pid_file = f"/run/exec-{next(_numbers)}.pid"
        note = f'echo $$ >{self._pid_file}; exec "$@"'
        super().__init__(node.exec("sh", "-c", note, "sh", *argv), **popen)

    def send_signal(self, number: int) -> None:
        if self.poll() is not None:
            return
        # It is not there yet if docker is slow, and not any more if the command has just ended.
        with contextlib.suppress(Failed):
            self._node.run("sh", "-c", f"kill -{int(number)} $(cat {self._pid_file})")
        if number == signal.SIGKILL:
            super().send_signal(number)


class _TracedNode:
    """A Kind node as droptrace_runner.Trace wants to see it."""

    def __init__(self, node: KindNode, wrapper: Sequence[str]) -> None:
        self._node = node
        self._wrapper = wrapper

    def path(self, path: str) -> Path:
        return self._node.path(path)

    def node_command(self, argv: Sequence[str], env: object = None, **popen: object) -> Exec:
        del env  # that of this process, which does not reach the node
        return Exec(self._node, [*self._wrapper, *argv], **popen)


@dataclass(frozen=True)
class Case:
    name: str
    function: Callable[["Lab"], None]


CASES: list[Case] = []


def case(function: Callable[["Lab"], None]) -> Callable[["Lab"], None]:
    topic = function.__module__.removeprefix("test_")
    CASES.append(Case(f"{topic}: {function.__name__.replace('_', ' ')}", function))
    return function


@dataclass(frozen=True)
class Lab:
    """The bed, which all cases share: each leaves it as it was."""

    bed: Bed
    binary: Path

    @property
    def node(self) -> KindNode:
        return self.bed.node

    def pod(self, spec: PodSpec) -> Pod:
        return self.node.pods[spec.name]

    def trace(
        self,
        *options: str,
        output: str = "json",
        node: KindNode | None = None,
        wrapper: Sequence[str] = (),
    ) -> Trace:
        """droptrace in a node, ready once the with block is entered."""
        return Trace(_TracedNode(node or self.node, wrapper), Path(IN_NODE), options, output)

    def execute(self, argv: Sequence[str], **how: object) -> Result:
        """Runs docker exec to its end."""
        streams = {"stdin": subprocess.DEVNULL, "capture_output": True}
        done = subprocess.run(argv, timeout=droptrace_runner.END_S, **streams, **how)
        return Result(done.returncode, done.stderr.decode(), done.stdout.decode())

    def droptrace(self, *options: str, **how: object) -> Result:
        return self.execute(self.node.exec(IN_NODE, *options, **how))

    def dial(self, client: Pod, address: str, port: int) -> AbstractContextManager[traffic.Dial]:
        return traffic.dial(client.netns, address, port)

    def refused(self, address: str, port: int = CLOSED, client: Pod | None = None) -> int:
        """One certain drop: a SYN to a pod where nothing listens. Returns its port."""
        with self.dial(client or self.pod(WEB), address, port) as dial:
            outcome = dial.outcome(timeout=5)
            assert outcome == "ECONNREFUSED", outcome
            return dial.sport

    def drop_of(
        self, trace: Trace, dial: traffic.Dial, timeout: float = droptrace_runner.RECORD_S
    ) -> dict:
        """The next drop of the connection, behind masquerading too."""
        deadline = time.monotonic() + timeout
        while True:
            drop = trace.wait_for_drop({}, deadline - time.monotonic())
            if dial.sport in (field(drop, "packet.sport"), field(drop, "original.sport")):
                return drop

    def check_dial(
        self,
        trace: Trace,
        address: str,
        port: int,
        expected: Mapping[str, object],
        client: Pod | None = None,
    ) -> dict:
        """Dials until the drop is as expected: what has just changed may not be known yet."""
        deadline = time.monotonic() + NOTICED_S
        while True:
            try:
                with self.dial(client or self.pod(WEB), address, port) as dial:
                    drop = self.drop_of(trace, dial, UNWATCHED_S)
                check_fields(drop, expected)
                return drop
            except Unexpected:
                if time.monotonic() > deadline:
                    raise

    def dial_until_shown(self, trace: Trace, address: str, port: int, *parts: str) -> None:
        """Dials until the text of one drop has all of these: what names it may not be known yet."""
        deadline = time.monotonic() + NOTICED_S
        shown = ""
        while time.monotonic() < deadline:
            with self.dial(self.pod(WEB), address, port), contextlib.suppress(Unexpected):
                shown = trace.wait_for_line()
                while True:  # the lines of one drop come at once
                    shown += trace.wait_for_line(timeout=SAME_DROP_S)
            if all(part in shown for part in parts):
                return
        raise Unexpected(f"{parts} are not in {shown}")

    def check_pod(self, trace: Trace, pod: Pod, client: Pod | None = None) -> None:
        expected = {"where": pod.where, "dst_name": pod.workload, "dst_gone": None}
        self.check_dial(trace, pod.ip, CLOSED, expected, client)

    def check_services(self, trace: Trace) -> None:
        """Each service of the node is named, with the pod behind it."""
        names = {pod.ip: pod.workload for pod in self.node.pods.values() if pod.netns}
        names[self.node.place.ip] = f"node/{self.node.place.name}"
        for service in self.node.services():
            expected: dict[str, object] = {"service": service.name}
            if service.endpoints:
                (address, port), *_ = service.endpoints
                expected |= {"original.dst": service.cluster_ip, "packet.dst": address}
                expected |= {"packet.dport": port, "dst_name": names[address]}
            else:
                name = service.name.partition(":")[0]
                expected |= {"type": "reject", "where": "node", "dst_name": f"s/{name}"}
            self.check_dial(trace, service.cluster_ip, service.port, expected)

    def check_names(self, trace: Trace) -> None:
        """Every pod and service of the node is named."""
        web, others = self.pod(WEB), [pod for pod in self.node.pods.values() if pod.netns]
        for pod in others:
            if pod != web:
                self.check_pod(trace, pod)
        self.check_pod(trace, web, client=next(pod for pod in others if pod != web))
        node = {"where": "node", "dst_name": f"node/{self.node.place.name}"}
        self.check_dial(trace, self.node.place.ip, CLOSED, node)
        self.check_services(trace)

    @contextlib.contextmanager
    def proxy_mode(self, mode: str) -> Iterator[None]:
        before = self.node.mode
        self.node.set_proxy(mode)
        try:
            yield
        finally:
            self.node.set_proxy(before)
