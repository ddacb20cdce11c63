# SPDX-License-Identifier: GPL-2.0-only
"""Packets that die in an NFQUEUE, the way kindnetd enforces network policies."""

import contextlib
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from cases import Lab, case
from droptrace_runner import Trace, Unexpected, check_fields, field
from mini_node import POD_A, POD_B, POD_C, WEB
from node_rules import Rule, find_rule
from patience import PATIENCE
from rule_checks import DROP, NAMED_S, check_named, nft
from traffic import CONNECTED, listening

AGENT = Path(__file__).with_name("verdict_agent.py")
AGENT_S = 10.0 * PATIENCE  # bounds a failure

QUEUE = 101
IN_QUEUE = {
    "reason": "NOT_SPECIFIED",
    "where": "node",
    "ifname": POD_B.veth,
    "netfilter.backend": "nfqueue",
    "netfilter.hook": "postrouting",
    "netfilter.policy": None,
}
BY_VERDICT = IN_QUEUE | {"netfilter.verdict": "drop"}
NOT_QUEUED = IN_QUEUE | {
    "function": "nf_queue",
    "comm": None,
    "netfilter.queue_owner": None,
    "netfilter.verdict": "queue",
}


def queued_by(rule: Rule, *, bypass: bool) -> dict[str, object]:
    """The JSON fields of a packet that this rule handed to its queue: rules are evaluated."""
    names = ("family", "table", "chain", "rule_handle", "rule_number", "rule", "comment")
    fields = rule.fields()
    return {f"netfilter.{name}": fields[f"netfilter.{name}"] for name in names} | {
        "netfilter.candidates": None,
        "netfilter.bypass": bypass,
        "netfilter.method": "evaluated",
        "netfilter.confidence": "candidate",
    }


def check_queued(
    lab: Lab,
    trace: Trace,
    expected: dict[str, object],
    address: str = POD_B.ip,
    port: int = 8080,
    client: str = "podA",
) -> dict:
    """Dials and checks the drop of the SYN; again as long as the rules are still being read."""
    deadline = time.monotonic() + NAMED_S
    while time.monotonic() < deadline:
        with lab.dial(client, address, port) as dial:
            drop = trace.wait_for_drop({"packet.sport": dial.sport})
        if field(drop, "netfilter.method") == "evaluated":
            check_fields(drop, expected)
            return drop
    raise Unexpected(f"the rule is still missing\n{drop}")


def queue_new_connections(lab: Lab, *options: str, queue: int = QUEUE, port: int = 8080) -> None:
    """kindnetd's rule: behind DNAT, before SNAT, and only the first packet of a connection."""
    match = f"-d {POD_B.ip} -p tcp --dport {port} -m conntrack --ctstate NEW"
    rule = f"-A POSTROUTING {match} -j NFQUEUE --queue-num {queue}"
    lab.node.run("iptables-nft", "-t", "mangle", *rule.split(), *options)


@contextlib.contextmanager
def agent(lab: Lab, verdict: str, *options: str) -> Iterator[subprocess.Popen]:
    """An agent in the node that is bound to the queue."""
    command = ["/usr/bin/python3", str(AGENT), str(QUEUE), verdict, *options]
    process = lab.node.node_command(command, stdout=subprocess.PIPE)
    try:
        ready, _, _ = select.select([process.stdout], [], [], AGENT_S)
        assert ready and process.stdout.readline() == b"bound\n", "the agent did not start"
        yield process
    finally:
        process.kill()
        process.wait(AGENT_S)
        process.stdout.close()


def wait_until_queued(lab: Lab, count: int) -> None:
    """So many packets wait in the queue; the third column is theirs."""
    deadline = time.monotonic() + AGENT_S
    while time.monotonic() < deadline:
        for line in lab.node.run("cat", "/proc/net/netfilter/nfnetlink_queue").splitlines():
            columns = line.split()
            if int(columns[0]) == QUEUE and int(columns[2]) == count:
                return
        time.sleep(0.01)
    raise Unexpected(f"no {count} packets in queue {QUEUE}")


def reinjects(drop: dict) -> bool:
    """Where verdicts are carried out; Linux 6.10 moved it."""
    return drop["location"].startswith(("nfqnl_reinject+", "nf_reinject+"))


@case()
def a_verdict_of_kindnetd(lab: Lab) -> None:
    queue_new_connections(lab, "--queue-bypass")
    agent_is_named = {
        "comm": "kindnetd",
        "netfilter.queue": QUEUE,
        "netfilter.queue_owner": "kindnetd",
    }
    rule = find_rule(lab.node, "NFQUEUE")
    expected = BY_VERDICT | agent_is_named | queued_by(rule, bypass=True)
    with agent(lab, "drop"), lab.trace() as trace:
        for address, port in ((POD_B.ip, 8080), (WEB.cluster_ip, WEB.port)):
            drop = check_queued(lab, trace, expected, address, port)
            assert reinjects(drop), drop
        check_fields(drop, {"original.dst": WEB.cluster_ip, "packet.dst": POD_B.ip})


@case()
def an_agent_that_accepts_leaves_no_trace(lab: Lab) -> None:
    queue_new_connections(lab)
    with listening(lab.node.namespace("podB"), 8080), agent(lab, "accept"):
        with lab.trace() as trace:
            with lab.dial("podA", POD_B.ip, 8080) as dial:
                assert dial.outcome(timeout=5) == CONNECTED, dial.outcome()
            sport = lab.refused_dial(port=8081)
            trace.wait_for_drop({"packet.sport": sport})
            drops = trace.stop().drops()
    assert len(drops) == 1, drops


@case()
def nobody_listens(lab: Lab) -> None:
    queues = {8080: QUEUE, 8081: 1, 8082: 32768, 8083: 65535}
    for port, queue in queues.items():
        queue_new_connections(lab, queue=queue, port=port)
    with lab.trace() as trace:
        for port, queue in queues.items():
            rule = queued_by(find_rule(lab.node, f"--dport {port} "), bypass=False)
            check_queued(lab, trace, NOT_QUEUED | {"netfilter.queue": queue} | rule, port=port)


@case()
def nobody_listens_to_queue_0(lab: Lab) -> None:
    # The number looks like no number at all: it may be missing.
    queue_new_connections(lab, queue=0)
    with lab.trace() as trace, lab.dial("podA", POD_B.ip, 8080) as dial:
        drop = trace.wait_for_drop({"packet.sport": dial.sport})
        check_fields(drop, NOT_QUEUED)
        assert drop["netfilter"].get("queue", 0) == 0, drop


@case()
def a_full_queue(lab: Lab) -> None:
    queue_new_connections(lab, "--queue-bypass")
    with agent(lab, "stall", "--length", "1"), lab.trace() as trace:
        with lab.dial("podA", POD_B.ip, 8080):
            wait_until_queued(lab, 1)
            with lab.dial("podA", POD_B.ip, 8080) as dial:
                drop = trace.wait_for_drop({"packet.sport": dial.sport})
    check_fields(drop, NOT_QUEUED | {"netfilter.queue": QUEUE})


@case()
def an_agent_killed_with_a_packet_in_its_queue(lab: Lab) -> None:
    # A worker of the kernel frees it: there is no owner any more to be named.
    queue_new_connections(lab, "--queue-bypass")
    with agent(lab, "stall") as process, lab.trace() as trace:
        with lab.dial("podA", POD_B.ip, 8080) as dial:
            wait_until_queued(lab, 1)
            process.kill()
            drop = trace.wait_for_drop({"packet.sport": dial.sport})
    nobody = {"comm": None, "netfilter.queue": None, "netfilter.queue_owner": None}
    check_fields(drop, BY_VERDICT | nobody)
    assert drop["netfilter"]["method"] in ("none", "evaluated"), drop
    assert reinjects(drop), drop


@case()
def a_queue_emptied_by_a_change_of_the_rules(lab: Lab) -> None:
    # The packet dies in the system call of whoever deletes the table, who has judged nothing. When
    # the rules are read, there is no rule any more.
    queue_new_connections(lab, "--queue-bypass")
    with agent(lab, "stall"), lab.trace() as trace, lab.trace(output="text") as text:
        with lab.dial("podA", POD_B.ip, 8080) as dial:
            wait_until_queued(lab, 1)
            lab.node.run_in("node", "nft", "delete table ip mangle")
            drop = trace.wait_for_drop({"packet.sport": dial.sport})
            line = text.wait_for_line() + text.wait_for_line()
    nobody = {"netfilter.queue": None, "netfilter.queue_owner": None}
    no_rule = dict.fromkeys(("netfilter.rule", "netfilter.candidates", "netfilter.confidence"))
    check_fields(drop, BY_VERDICT | nobody | no_rule | {"netfilter.method": "none"})
    assert reinjects(drop), drop
    assert "emptied without a verdict" in line and "verdict by" not in line, line


@case()
def four_rules_for_one_queue(lab: Lab) -> None:
    # As kindnetd has them: by source and by destination, for both versions of IP.
    new = "-m conntrack --ctstate NEW -j NFQUEUE --queue-num"
    for program, client, server in (
        ("iptables-nft", POD_C.ip, POD_B.ip),
        ("ip6tables-nft", POD_C.ip6, POD_B.ip6),
    ):
        for match in (f"-s {client}", f"-d {server}"):
            rule = f"-t mangle -A POSTROUTING {match} {new} {QUEUE} --queue-bypass"
            lab.node.run(program, *rule.split())
    with agent(lab, "drop"), lab.trace() as trace:
        for client, address, words in (
            ("podC", POD_A.ip, f"-s {POD_C.ip}/"),
            ("podC", POD_B.ip, f"-s {POD_C.ip}/"),
            ("podA", POD_B.ip, f"-d {POD_B.ip}/"),
            ("podA", POD_B.ip6, f"-d {POD_B.ip6}/"),
        ):
            rule = queued_by(find_rule(lab.node, words), bypass=True)
            expected = {"netfilter.queue": QUEUE, "netfilter.queue_owner": "kindnetd"} | rule
            check_queued(lab, trace, expected, address, client=client)


@case()
def a_rule_behind_an_accepting_agent(lab: Lab) -> None:
    # The packet goes on in the agent's system call and dies there, but not by its verdict.
    queue_new_connections(lab)
    late = "type filter hook postrouting priority 200; tcp dport 8080 drop"
    nft(lab, f"table inet behind {{ chain late {{ {late}; }}; }}")
    rule = find_rule(lab.node, "tcp dport 8080 drop")
    with agent(lab, "accept"), lab.trace() as trace:
        check_named(lab, trace, DROP | {"where": "node"} | rule.fields(), 8080)


@case("legacy")
def a_legacy_rule_behind_an_accepting_agent(lab: Lab) -> None:
    queue = f"-t raw -A PREROUTING -p tcp --dport 8080 -j NFQUEUE --queue-num {QUEUE}"
    lab.node.run("iptables-nft", *queue.split())
    drop_rule = "-t mangle -A PREROUTING -p tcp --dport 8080 -j DROP"
    lab.node.run("iptables-legacy", *drop_rule.split())
    with agent(lab, "accept"), lab.trace() as trace:
        with lab.dial("podA", POD_B.ip, 8080) as dial:
            drop = trace.wait_for_drop({"packet.sport": dial.sport})
    owner = drop["netfilter"].get("queue_owner")
    assert owner is None, f"{owner} has accepted it: {drop}"
