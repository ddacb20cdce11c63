#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""A Kind cluster without Kind: real Docker, containerd, CNI plugins and pods, no registry.

    Docker's host           its own network namespace; br-… 172.19.0.1 of the network "kind"
      |
    dev-cluster-control-plane   172.19.0.2, a container; pods 10.244.0.0/24
    dev-cluster-worker          172.19.0.3, with --worker; pods 10.244.1.0/24

Run as a program it makes the bed, says how to use it, and takes it away again on Enter, Ctrl-C or
whatever else ends it. Needs root.
"""

import argparse
import contextlib
import os
import select
import shutil
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "e2e"))

import docker_host
import kind_node
import mini_node
import node_image
from docker_host import DockerHost
from kind_node import CONTROL_PLANE, WORKER, KindNode
from pods import CONTROL_PLANE_PODS, WORKER_PODS

IN_NODE = "/usr/local/bin/droptrace"


def missing_prerequisite() -> str | None:
    """Why there can be no bed here; None if there can."""
    if os.geteuid() != 0:
        return "Docker and network namespaces need root"
    tools = (*docker_host.TOOLS, "curl", "nsenter")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return node_image.missing_tool()


class Bed:
    """A context manager; worker says whether there is a second node."""

    def __init__(self, *, worker: bool = False) -> None:
        self._places = (CONTROL_PLANE, WORKER) if worker else (CONTROL_PLANE,)
        self.nodes: list[KindNode] = []

    @property
    def node(self) -> KindNode:
        return self.nodes[0]

    @property
    def worker(self) -> KindNode:
        return self.nodes[1]

    def __enter__(self) -> "Bed":
        image = node_image.image()
        with contextlib.ExitStack() as stack:
            self.host = stack.enter_context(DockerHost())
            self.host.load(image, kind_node.IMAGE)
            self.host.docker(
                "network",
                "create",
                f"--subnet={kind_node.DOCKER_SUBNET}",
                "--opt=com.docker.network.bridge.enable_ip_masquerade=true",
                kind_node.NETWORK,
            )
            for place in self._places:
                others = [other for other in self._places if other != place]
                self.nodes.append(KindNode(self.host, place, others))
            for spec in CONTROL_PLANE_PODS:
                self.node.add_pod(spec)
            if len(self.nodes) > 1:
                for spec in WORKER_PODS:
                    self.worker.add_pod(spec)
            self.node.set_proxy("nft")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def install(self, binary: Path) -> None:
        """As a user would: docker cp."""
        for node in self.nodes:
            node.copy(binary, IN_NODE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", action="store_true", help="make a second node, too")
    parser.add_argument("--droptrace", type=Path, metavar="FILE", help="copy this into the nodes")
    arguments = parser.parse_args()
    if reason := missing_prerequisite():
        sys.exit(f"bed.py: {reason}")
    mini_node.clean_up_on_signals()
    start = time.monotonic()
    with Bed(worker=arguments.worker) as bed:
        if arguments.droptrace:
            bed.install(arguments.droptrace)
        print(f"up after {time.monotonic() - start:.1f} s; its Docker:\n")
        print("    " + " ".join(bed.host.command("ps")) + "\n")
        for node in bed.nodes:
            print(node.place.name, node.place.ip)
            for pod in node.pods.values():
                print(f"    {pod.ip:15} {pod.name}")
        print("\nEnter takes it all away.", flush=True)
        select.select([sys.stdin], [], [])


if __name__ == "__main__":
    try:
        main()
    except (docker_host.Failed, node_image.NoImage) as problem:
        sys.exit(f"bed.py: {problem}")
