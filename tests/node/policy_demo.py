#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Replays a ClusterIP that hangs in a Kind node, as a NetworkPolicy forbids the connection, and has
droptrace find out: docker cp, docker exec, the answer.

Needs root. The first run makes the image of the node, which takes minutes; the others take half of
one. All is made in namespaces of its own and taken away again.
"""

import argparse
import contextlib
import os
import shlex
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import bed  # first: it makes the modules of tests/e2e known

import droptrace_runner
import mini_node
import namespaces
from docker_host import Failed
from node_image import NoImage
from pods import ICEBERG, KINDNET, WEB, Pod

WIDTH = 100
URL = f"http://{ICEBERG.cluster_ip}:{ICEBERG.port}/v1/config"
HTTP = b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"defaults":{},"overrides":{}}\n'
COMMAND_S = 60.0


@contextlib.contextmanager
def http_server(pod: Pod, port: int) -> Iterator[None]:
    """A server in the pod that gives everybody the same answer."""
    with namespaces.network(pod.netns):
        server = socket.create_server(("", port))

    def serve() -> None:
        with contextlib.suppress(OSError):  # closed: the end
            while True:
                client, _ = server.accept()
                with client:
                    client.recv(4096)
                    client.sendall(HTTP)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


class Demo:
    def __init__(self, cluster: bed.Bed, binary: Path, color: bool) -> None:
        self._bed = cluster
        self._binary = binary
        self._color = color
        self._bold, self._plain = ("\x1b[1m", "\x1b[0m") if color else ("", "")

    def say(self, text: str) -> None:
        filled = textwrap.fill(text, WIDTH, break_on_hyphens=False)
        print(f"\n{self._bold}{filled}{self._plain}", flush=True)

    def show(self, *docker: str) -> int:
        """A docker command, with what it prints, as a user has it before him."""
        print("$ docker " + shlex.join(docker), flush=True)
        return subprocess.run(
            self._bed.host.command(*docker),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_S,
        ).returncode

    def curl(self) -> tuple[str, ...]:
        """What the client pod does: curl, in its network namespace."""
        web = self._bed.node.pods[WEB.name]
        netns = f"/run/netns/{web.netns.name}"
        return ("nsenter", f"--net={netns}", "curl", "-sS", "-m", "3", URL)

    def run(self) -> None:
        node = self._bed.node
        name = node.place.name
        web, iceberg = node.pods[WEB.name], node.pods[ICEBERG.name]
        self.say(f"A Kind node, the container {name}, with real pods and kube-proxy's rules:")
        for pod in node.pods.values():
            print(f"    {pod.ip:15} {pod.name}")
        self.say(
            f"The service {ICEBERG.service} is {ICEBERG.cluster_ip}:{ICEBERG.port}, its endpoint"
            f" {iceberg.name}, which listens. A NetworkPolicy that denies all ingress selects it;"
            f" kindnetd enforces that. {web.name} connects, and hangs; nothing says why:"
        )
        policy, kindnet = node.policy, node.pods[KINDNET.name]
        with http_server(iceberg, ICEBERG.target_port):
            with policy.deny_ingress([iceberg], kindnet):
                self.show("exec", name, *self.curl())
                self.say("droptrace goes into the node and watches the same command:")
                self.show("cp", os.path.relpath(self._binary), f"{name}:{bed.IN_NODE}")
                self.trace()
            self.say(
                "It was the verdict of kindnetd on a packet that the rules of network policies had"
                f" put into its queue: NetworkPolicy. Now a policy allows {WEB.name}:"
            )
            with policy.deny_ingress([iceberg], kindnet, allowed=[web]):
                self.trace()

    def trace(self) -> None:
        color = ("--color", "always") if self._color else ()
        command = ("droptrace", *color, "--syn", "--", *self.curl())
        self.show("exec", "--privileged", self._bed.node.place.name, *command)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    droptrace_runner.add_binary_option(parser)
    binary = droptrace_runner.chosen_binary(parser.parse_args(arguments))
    if reason := bed.missing_prerequisite():
        sys.exit(f"policy_demo.py: cannot make a node: {reason}")
    mini_node.clean_up_on_signals()
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print("Starting a Docker of its own, and a Kind node in it ...", flush=True)
    with bed.Bed() as cluster:
        demo = Demo(cluster, binary, color)
        demo.run()
    demo.say("All of it is gone again: the node, its Docker, their networks.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Failed, NoImage) as problem:
        sys.exit(f"policy_demo.py: {problem}")
