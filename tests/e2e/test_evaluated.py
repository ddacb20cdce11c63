# SPDX-License-Identifier: GPL-2.0-only
"""Rules found by evaluating them for the packet, where no engine sees what the kernel does."""

import contextlib
import os
import time
import unittest.mock
from collections.abc import Iterator

from cases import Lab, case
from droptrace_runner import Trace, Unexpected, check_fields, field
from mini_node import EMPTY, POD_B
from node_rules import Rule, find_rule
from rule_checks import DROP, NAMED_S, REJECT, iptables, nft, rule_of_port

CANDIDATE = {"netfilter.method": "evaluated", "netfilter.confidence": "candidate"}
# The hook is known from the stack alone.
FORWARD = {"where": "node", "netfilter.hook": "forward"} | CANDIDATE


@contextlib.contextmanager
def trace_without_engines(lab: Lab) -> Iterator[Trace]:
    with unittest.mock.patch.dict(os.environ, DROPTRACE_ENGINES="evaluated"), lab.trace() as trace:
        yield trace


def evaluated(lab: Lab, trace: Trace, port: int, address: str = POD_B.ip) -> dict:
    """The drop of a SYN; of another one as long as the rules are still being read."""
    deadline = time.monotonic() + NAMED_S
    while time.monotonic() < deadline:
        with lab.dial("podA", address, port) as dial:
            drop = trace.wait_for_drop({"packet.sport": dial.sport})
        if field(drop, "netfilter.method") == "evaluated":
            return drop
    raise Unexpected(f"the rules are not evaluated: {drop}")


def named(rule: Rule, *jumps: str) -> dict[str, object]:
    return rule.fields(*jumps) | FORWARD | {"netfilter.candidates": None}


@case()
def rules_of_iptables_nft(lab: Lab) -> None:
    iptables(
        lab,
        *(":ONE", ":TWO"),
        "-A FORWARD -i vetha+ -j ONE",
        "-A ONE -p udp -j DROP",
        "-A ONE -m conntrack --ctstate NEW -g TWO",
        "-A TWO -p tcp -m multiport --dports 8080,8081 -j RETURN",
        "-A TWO ! -s 10.0.0.0/8 -j DROP",
        '-A TWO -p tcp --dport 8082 -m comment --comment "say no" -j DROP',
        "-A TWO -p tcp --dport 8083 -j REJECT --reject-with tcp-reset",
    )
    lab.node.run("iptables-nft", "-P", "FORWARD", "DROP")
    with trace_without_engines(lab) as trace:
        check_fields(
            evaluated(lab, trace, 8082), DROP | named(rule_of_port(lab, 8082), "FORWARD", "ONE")
        )
        rejected = REJECT | named(rule_of_port(lab, 8083), "FORWARD", "ONE")
        check_fields(evaluated(lab, trace, 8083), rejected | {"answer": "rst"})
        policy = {"netfilter.policy": True, "netfilter.chain": "FORWARD", "netfilter.rule": None}
        check_fields(evaluated(lab, trace, 8081), DROP | FORWARD | policy)
        no_endpoints = find_rule(lab.node, f"-d {EMPTY.cluster_ip}/32")
        check_fields(
            evaluated(lab, trace, EMPTY.port, EMPTY.cluster_ip),
            REJECT | named(no_endpoints, "FORWARD"),
        )


@case()
def native_rules_sets_and_maps(lab: Lab) -> None:
    nft(
        lab,
        f"""
        table inet policies {{
            set closed {{ type ipv4_addr; elements = {{ {POD_B.ip} }}; }}
            map verdicts {{
                type inet_service : verdict
                elements = {{ 8081 comment "a service" : drop, 8082 : accept, 8083 : continue }}
            }}
            chain forward {{
                type filter hook forward priority -5
                tcp dport vmap @verdicts
                tcp dport 8084-8090 ip daddr @closed drop
            }}
        }}
        """,
    )
    by_map = find_rule(lab.node, "vmap @verdicts")
    by_set = find_rule(lab.node, "@closed")
    element = {"netfilter.element": '8081 comment "a service" : drop'}
    with trace_without_engines(lab) as trace:
        check_fields(evaluated(lab, trace, 8081), DROP | named(by_map) | element)
        element_of_set = {"netfilter.element": POD_B.ip}
        check_fields(evaluated(lab, trace, 8085), DROP | named(by_set) | element_of_set)
    # Where an engine knows the rule from the kernel, the element is what is left to be found.
    known = {"netfilter.rule_handle": by_map.handle, "netfilter.rule": by_map.text} | element
    with lab.trace() as trace:
        deadline = time.monotonic() + NAMED_S
        while True:
            with lab.dial("podA", POD_B.ip, 8081) as dial:
                drop = trace.wait_for_drop({"packet.sport": dial.sport})
            if field(drop, "netfilter.element") or time.monotonic() > deadline:
                break
    check_fields(drop, DROP | known)


@case()
def what_cannot_be_evaluated_leaves_candidates(lab: Lab) -> None:
    iptables(
        lab,
        "-A FORWARD -p tcp --dport 8081 -m length --length 40:80 -j DROP",
        "-A FORWARD -p tcp --dport 8080:8082 -j DROP",
    )
    first = find_rule(lab.node, "--length 40:80")
    second = find_rule(lab.node, "--dport 8080:8082")
    with trace_without_engines(lab) as trace:
        drop = evaluated(lab, trace, 8081)
    no_rule = dict.fromkeys(("netfilter.rule", "netfilter.rule_handle", "netfilter.chain"))
    check_fields(drop, DROP | FORWARD | no_rule)
    candidates = [f"ip filter FORWARD #{rule.number}: {rule.text}" for rule in (first, second)]
    assert drop["netfilter"]["candidates"] == candidates, drop


@case("legacy")
def rules_of_iptables_legacy(lab: Lab) -> None:
    iptables(
        lab,
        ":USER",
        "-A FORWARD -j USER",
        "-A USER -p tcp --dport 8081 -j DROP",
        "-A USER -p tcp --dport 8082 -m length --length 1:9999 -j DROP",
        program="iptables-legacy",
    )
    legacy = FORWARD | {"netfilter.backend": "ip_tables", "netfilter.table": "filter"}
    with trace_without_engines(lab) as trace:
        rule = {"netfilter.chain": "USER", "netfilter.rule_number": 1, "netfilter.rule_handle": None}
        check_fields(evaluated(lab, trace, 8081), DROP | legacy | rule)
        drop = evaluated(lab, trace, 8082)
        assert len(drop["netfilter"]["candidates"]) == 1, drop
        assert "rule" not in drop["netfilter"], drop


@case()
def rules_that_changed_behind_the_drop_are_not_asked(lab: Lab) -> None:
    # The tools' dump has the rules that dropped the next packet, not this one.
    iptables(lab, "-A FORWARD -p tcp --dport 8081 -j DROP")
    with trace_without_engines(lab) as trace:
        evaluated(lab, trace, 8081)
        with lab.dial("podA", POD_B.ip, 8081) as dial:
            lab.node.run("iptables-nft", "-I", "FORWARD", "-p", "tcp", "-j", "DROP")
            drop = trace.wait_for_drop({"packet.sport": dial.sport})
    text = field(drop, "netfilter.rule")
    assert text is None or "--dport 8081" in str(text), drop
