# SPDX-License-Identifier: GPL-2.0-only
"""scripts/droptrace-kind with mini nodes instead of containers."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cases import Lab, case
from droptrace_runner import END_S, READY_S, REPOSITORY, STEP_S
from mini_node import WEB, MiniNode

SCRIPT = REPOSITORY / "scripts" / "droptrace-kind"
FAKE_DOCKER = Path(__file__).with_name("fake_docker.py")


@contextmanager
def cluster(nodes: Mapping[str, MiniNode]) -> Iterator[tuple[Path, dict[str, str]]]:
    """A directory to work in, and an environment in which docker knows these nodes."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "bin").mkdir()
        (place / "bin" / "docker").symlink_to(FAKE_DOCKER)
        pids = " ".join(f"{name}={node._pids['node']}" for name, node in nodes.items())
        path = f"{place / 'bin'}:{os.environ['PATH']}"
        yield place, {**os.environ, "PATH": path, "FAKE_DOCKER_NODES": pids}


def left_behind(node: MiniNode) -> list[Path]:
    return list(node.path("/run").glob("droptrace-kind-*"))


def run(lab: Lab, place: Path, environment: dict[str, str], *words: str) -> subprocess.Popen:
    argv = [str(SCRIPT), "--binary", str(lab.binary), *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(argv, cwd=place, env=environment, **pipes)


def wait_until_traced(nodes: list[MiniNode]) -> None:
    """Until droptrace has written the head of its recording and is attached in every node."""
    deadline = time.monotonic() + READY_S
    while not all(list(node.path("/run").glob("droptrace-kind-*/ready")) for node in nodes):
        assert time.monotonic() < deadline, "not every node is traced"
        time.sleep(STEP_S)


@case()
def all_nodes_are_traced_at_once_and_reported_together(lab: Lab) -> None:
    with MiniNode("nft") as other:
        nodes = {"mini-control-plane": lab.node, "mini-worker": other}
        with cluster(nodes) as (place, environment):
            process = run(lab, place, environment, "--report", "all.json", "--keep", "kept")
            wait_until_traced(list(nodes.values()))
            lab.refused_dial()
            with Lab(other, lab.binary).dial("podA", WEB.cluster_ip, 1) as dial:
                dial.outcome(timeout=1)
            Lab(other, lab.binary).refused_dial()
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=END_S)
            assert process.returncode == 0, (output, errors)
            for name in nodes:
                lines = [line for line in output.splitlines() if line.startswith(name)]
                assert any("NO_SOCKET" in line for line in lines), output
                assert (place / "kept" / f"{name}.pcapng").exists()
            facts = json.loads((place / "all.json").read_text())
            files = [source["file"] for source in facts["sources"]]
            assert files == [f"{name}.pcapng" for name in nodes], files
            assert all(source["closed"] for source in facts["sources"]), facts["sources"]
            assert facts["attempts"] >= 2, facts
        assert not any(left_behind(node) for node in nodes.values())


@case()
def one_node_ends_by_itself_and_options_reach_it(lab: Lab) -> None:
    with cluster({"mini-control-plane": lab.node}) as (place, environment):
        process = run(lab, place, environment, "--", "--duration", "300ms", "--syn", "--expect-drop", "a=b")
        output, errors = process.communicate(timeout=END_S)
        assert process.returncode == 3, (output, errors)
        assert "the expected drop was not seen" in output, output
        assert (place / "droptrace-mini.html").read_text().startswith("<!DOCTYPE html>")
    assert not left_behind(lab.node)


@case()
def wrong_usage_is_told_before_anything_is_done(lab: Lab) -> None:
    with cluster({"mini-control-plane": lab.node}) as (place, environment):
        for words in (("--nonsense",), ("--", "-w", "x"), ("--report", "x.txt"), ("--cluster",)):
            process = run(lab, place, environment, *words)
            _, errors = process.communicate(timeout=END_S)
            assert process.returncode == 2 and errors.startswith("droptrace-kind: "), errors
        absent = run(lab, place, environment, "--cluster", "mini", "--binary", "/absent")
        assert absent.communicate(timeout=END_S)[1].startswith("droptrace-kind: no program")
        assert absent.returncode == 1
        assert "usage: droptrace-kind" in run(lab, place, environment, "--help").communicate()[0]
    assert not left_behind(lab.node)
