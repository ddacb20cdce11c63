# SPDX-License-Identifier: GPL-2.0-only
"""Drops in netfilter that no rule made: the function of the hook that did is named, never another."""

import contextlib
import os
import random
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import namespaces
from cases import Lab, Skip, case
from droptrace_runner import Trace, Unexpected, check_fields, field, parse_line
from mini_node import EXT_IP, NODE_IP, POD_A, POD_B, POD_C
from netfilter_program import dropping_all_forwarded
from traffic import ACK, CONNECTED, PENDING, listening, send_segment

PORT = 8081
CONNTRACK_MAX = Path("/proc/sys/net/netfilter/nf_conntrack_max")
FLOWS = 320
LIMIT = 300
LIMIT_S = 2  # the limit holds for every namespace of the machine

FIRST_PORT = 30000
PORTS = range(FIRST_PORT, FIRST_PORT + 100)
ROUNDS = 3
LINE_S = 3.0  # nothing more comes if nothing has come for so long


def of_function(backend: str, function: str | None, hook: str) -> dict[str, object]:
    return {
        "reason": "NETFILTER_DROP",
        "function": "nf_hook_slow",
        "where": "node",
        "netfilter.backend": backend,
        "netfilter.function": function,
        "netfilter.hook": hook,
        "netfilter.table": None,
        "netfilter.verdict": "drop",
        "netfilter.method": "frame",
        "netfilter.confidence": "exact",
    }


def check_function(drop: dict, expected: dict[str, object]) -> None:
    """The function is named, or it is among those that may have dropped the packet: what is called
    in between the hook and droptrace is not always what the self-test met."""
    function = expected["netfilter.function"]
    if field(drop, "netfilter.confidence") == "candidate":
        assert function in drop["netfilter"]["functions"], drop
        unsure = {"netfilter.function": None, "netfilter.method": "none"}
        unsure |= {"netfilter.confidence": "candidate"}
        unsure |= {"netfilter.backend": field(drop, "netfilter.backend")}
        expected = expected | unsure
    check_fields(drop, expected)


@contextlib.contextmanager
def full_conntrack_table(lab: Lab) -> Iterator[None]:
    """The node's table is full of connections that are not thrown out for new ones.

    The limit is lowered for the whole machine, to more than other namespaces of a test use, and is
    back after LIMIT_S even if this process does not live to see to it.
    """
    if not os.access(CONNTRACK_MAX, os.W_OK):
        raise Skip("net.netfilter.nf_conntrack_max cannot be written here")
    before = CONNTRACK_MAX.read_text()
    with contextlib.ExitStack() as flows:
        server = flows.enter_context(listening(lab.node.namespace("podC"), PORT))
        for _ in range(FLOWS):
            dial = flows.enter_context(lab.dial("podB", POD_C.ip, PORT))
            assert dial.outcome(timeout=5) == CONNECTED, dial.outcome()
            flows.enter_context(server.accept()[0])
        restore = f"sleep {LIMIT_S}; echo {before.strip()} >{CONNTRACK_MAX}"
        guard = subprocess.Popen(["sh", "-c", restore])
        try:
            CONNTRACK_MAX.write_text(str(LIMIT))
            yield
        finally:
            CONNTRACK_MAX.write_text(before)
            guard.wait()


@case("nft", "legacy")
def conntrack_table_full(lab: Lab) -> None:
    with lab.trace() as trace:
        with full_conntrack_table(lab), lab.dial("podA", POD_B.ip, PORT) as dial:
            drop = trace.wait_for_drop({"packet.sport": dial.sport}, LIMIT_S)
        expected = of_function("conntrack", "ipv4_conntrack_in", "prerouting")
        check_function(drop, expected | {"ifname": POD_A.veth, "original": None})
        trace.stop()


@case()
def conntrack_table_full_for_ipv6_and_for_the_node_itself(lab: Lab) -> None:
    with lab.trace() as trace:
        with full_conntrack_table(lab):
            with lab.dial("podA", POD_B.ip6, PORT) as dial:
                pod = trace.wait_for_drop({"packet.sport": dial.sport}, LIMIT_S)
            with lab.dial("node", POD_B.ip, PORT) as dial:
                node = trace.wait_for_drop({"packet.sport": dial.sport}, LIMIT_S)
        check_function(pod, of_function("conntrack", "ipv6_conntrack_in", "prerouting"))
        check_function(node, of_function("conntrack", "ipv4_conntrack_local", "output"))
        trace.stop()


@case()
def conntrack_table_full_as_text(lab: Lab) -> None:
    with lab.trace(output="text") as trace:
        with full_conntrack_table(lab), lab.dial("podA", POD_B.ip, PORT):
            shown = "".join(trace.wait_for_line(LIMIT_S) for _ in range(3))
        assert "prerouting hook\n" in shown, shown
        assert "conntrack: ipv4_conntrack_in" in shown, shown
        trace.stop()


CLASH = of_function("conntrack", "nf_confirm", "postrouting") | {"original.src": POD_C.ip}


@contextlib.contextmanager
def taken_source(lab: Lab) -> Iterator[None]:
    """The node gives all pods the same source, and podA has it: its SYN is not answered."""
    snat = f"-t nat -I POSTROUTING -p tcp --dport {PORT} -j SNAT --to-source {NODE_IP}:5000"
    lab.node.run(f"iptables-{lab.node.backend}", *snat.split())
    shut = f"type filter hook input priority 0; tcp dport {PORT} drop"
    lab.node.run_in("ext", "nft", f"table ip shut {{ chain input {{ {shut}; }}; }}")
    with lab.dial("podA", EXT_IP, PORT) as first:
        assert first.outcome() == PENDING, first.outcome()
        yield


def check_clash(lab: Lab, *traces: Trace) -> None:
    with lab.dial("podC", EXT_IP, PORT) as second:
        for trace in traces:
            check_function(trace.wait_for_drop({"original.sport": second.sport}), CLASH)


@case("nft", "legacy")
def source_nat_to_an_address_that_is_taken(lab: Lab) -> None:
    with lab.trace() as trace, taken_source(lab):
        check_clash(lab, trace)
        trace.stop()


@case("nft", "legacy")
def bpf_program_at_the_forward_hook(lab: Lab) -> None:
    with lab.trace() as trace:
        for priority in (-200, 200):  # in front of the rules, and behind them
            with dropping_all_forwarded(lab.node.namespace("node"), priority):
                with lab.dial("podA", POD_B.ip, PORT) as dial:
                    drop = trace.wait_for_drop({"packet.sport": dial.sport})
            check_function(drop, of_function("bpf", "nf_hook_run_bpf", "forward"))
        trace.stop()


@case("legacy")
def segment_of_no_connection_is_dropped_by_a_rule(lab: Lab) -> None:
    lab.node.write_sysctl("node", "net.netfilter.nf_conntrack_tcp_loose", "0")
    with lab.trace() as trace:
        send_segment(lab.node.namespace("podA"), (POD_A.ip, 40001), (POD_B.ip, PORT), ACK)
        drop = trace.wait_for_drop({"packet.sport": 40001})
        rule = {"chain": "KUBE-FORWARD", "rule_number": 1, "hook": "forward", "function": None}
        check_fields(drop, {f"netfilter.{key}": value for key, value in rule.items()})
        trace.stop()


@case()
def other_tracers_that_come_and_go(lab: Lab) -> None:
    """They change how the kernel calls droptrace."""
    with lab.trace() as first, taken_source(lab):
        check_clash(lab, first)
        with lab.trace() as second, lab.trace() as third:
            check_clash(lab, first, second, third)
        check_clash(lab, first)
        first.stop()


def judge(drop: dict) -> str:
    """Every other port belongs to a rule; what is sent to the rest finds conntrack's table full."""
    index = field(drop, "packet.dport") - PORTS[0]
    if index % 2:
        expected = of_function("conntrack", "ipv4_conntrack_in", "prerouting")
    else:
        rule = {"backend": "ip_tables", "table": "raw", "chain": "PREROUTING", "method": "counter"}
        expected = {f"netfilter.{key}": value for key, value in rule.items()}
        expected |= {"netfilter.function": None, "netfilter.rule_number": index // 2 + 1}
    try:
        if expected["netfilter.function"]:
            check_function(drop, expected)
        elif field(drop, "netfilter.method") != "none":
            check_fields(drop, expected)
    except Unexpected as error:
        return f"wrong: {error}"
    return "unsure" if field(drop, "netfilter.method") == "none" else "right"


def records(trace: Trace) -> Iterator[dict]:
    with contextlib.suppress(Unexpected):
        while True:
            yield parse_line(trace.wait_for_line(LINE_S))


@case("legacy")
def rules_and_conntrack_at_the_same_hook(lab: Lab) -> None:
    rules = [f"-A PREROUTING -p udp -m udp --dport {port} -j DROP" for port in PORTS[::2]]
    lab.node.run("iptables-legacy-restore", stdin="\n".join(["*raw", *rules, "COMMIT\n"]))
    with namespaces.network(lab.node.namespace("podA")):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender, lab.trace(f"udp and portrange {PORTS[0]}-{PORTS[-1]}") as trace:
        with full_conntrack_table(lab):
            for _ in range(ROUNDS):
                for port in random.sample(PORTS, len(PORTS)):
                    sender.sendto(b"x" * 20, (POD_B.ip, port))
        verdicts = Counter(judge(drop) for drop in records(trace))
        trace.stop()
    assert set(verdicts) <= {"right", "unsure"}, verdicts
    assert verdicts.total() == ROUNDS * len(PORTS) and verdicts["right"] > verdicts["unsure"], verdicts
