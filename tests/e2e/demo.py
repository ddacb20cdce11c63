#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Shows droptrace at work: a miniature Kind node is broken in four ways while it watches.

Needs root and takes some seconds. Changes nothing outside network namespaces of its own.
"""

import argparse
import os
import sys
import textwrap
from contextlib import AbstractContextManager

import droptrace_runner
import mini_node
import traffic
from droptrace_runner import Trace, Unexpected
from mini_node import EMPTY, POD_A, POD_B, WEB, MiniNode

ANSWER_S = 10.0
WIDTH = 100


class Demo:
    def __init__(self, node: MiniNode, trace: Trace, color: bool) -> None:
        self._node = node
        self._trace = trace
        self._bold, self._plain = ("\x1b[1m", "\x1b[0m") if color else ("", "")

    def say(self, text: str) -> None:
        print(f"\n{self._bold}{textwrap.fill(text, WIDTH)}{self._plain}", flush=True)

    def dial(self, address: str, port: int) -> AbstractContextManager[traffic.Dial]:
        return traffic.dial(self._node.namespace("podA"), address, port)

    def show_log(self, until: str) -> None:
        """Passes on the log as it comes, up to a line with this text."""
        line = ""
        while until not in line:
            line = self._trace.wait_for_line(ANSWER_S)
            print(line, end="", flush=True)

    def show_answer(self, dial: traffic.Dial) -> None:
        print(f"(the client sees: {dial.outcome(ANSWER_S)})", flush=True)

    def no_listener(self) -> None:
        self.say(
            f"1. The pod {POD_A.full_name} dials {POD_B.full_name}, {POD_B.ip}:8080, where nothing"
            " listens. The log says in which pod the SYN died: no socket took it, and a reset told"
            " the client."
        )
        with self.dial(POD_B.ip, 8080) as dial:
            self.show_log("tcp_v4_rcv")
            self.show_answer(dial)

    def no_endpoints(self) -> None:
        self.say(
            f"2. It dials the service default/empty, {EMPTY.cluster_ip}:80, which has no"
            " endpoints. kube-proxy's rule refuses it in the node; the log has the chains that the"
            " packet jumped through and the rule."
        )
        with self.dial(EMPTY.cluster_ip, EMPTY.port) as dial:
            self.show_log("has no endpoints")
            self.show_answer(dial)

    def forwarding_off(self) -> None:
        self.say(
            "3. Something has switched the node's ip_forward off. No rule drops the SYN and no"
            " counter of iptables moves; the log has it all the same."
        )
        self._node.write_sysctl("node", "net.ipv4.ip_forward", "0")
        with self.dial(WEB.cluster_ip, WEB.port):
            self.show_log("ip_error")
        self._node.write_sysctl("node", "net.ipv4.ip_forward", "1")

    def forward_policy(self) -> None:
        self.say(
            "4. The policy of FORWARD is DROP now. The pod dials the service default/web,"
            f" {WEB.cluster_ip}:80, and hangs. The log has the address it dialled, the endpoint"
            " behind it, and each retry."
        )
        self._node.run("iptables-nft", "-P", "FORWARD", "DROP")
        server = traffic.listening(self._node.namespace("podB"), 8080)
        with server, self.dial(WEB.cluster_ip, WEB.port) as dial:
            self.show_log("(3 dropped)")
            self._node.run("iptables-nft", "-P", "FORWARD", "ACCEPT")
            self.say("The policy is ACCEPT again, and the next retry gets through.")
            self.show_answer(dial)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    droptrace_runner.add_binary_option(parser)
    arguments = parser.parse_args()
    if reason := mini_node.missing_prerequisite():
        sys.exit(f"demo.py: cannot make a mini node: {reason}")
    binary = droptrace_runner.chosen_binary(arguments)

    mini_node.clean_up_on_signals()
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    options = ["--color", "always" if color else "never"]
    with MiniNode() as node, Trace(node, binary, options, output="text") as trace:
        demo = Demo(node, trace, color)
        demo.say(
            f"A Kind node in miniature, with the pods {POD_A.full_name} {POD_A.ip} and"
            f" {POD_B.full_name} {POD_B.ip} and kube-proxy's rules. droptrace runs in the node:"
        )
        print(trace.stderr(), end="")
        demo.no_listener()
        demo.no_endpoints()
        demo.forwarding_off()
        demo.forward_policy()
        demo.say("Ctrl-C ends the trace with its closing figures:")
        print(trace.stop().stderr.splitlines()[-1])
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Unexpected as error:
        sys.exit(f"demo.py: droptrace: {error}")
