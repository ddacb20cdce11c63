# SPDX-License-Identifier: GPL-2.0-only
"""Rules named by nf_tables' packet tracing, which adds a table to the node and takes it away."""

import signal
import time

from cases import Lab, case
from droptrace_runner import DROPS, Trace, Unexpected, check_fields
from mini_node import POD_A, POD_B, WEB
from node_rules import find_rule
from rule_checks import (
    DROP,
    FORWARD,
    NAMED_S,
    NAMES,
    check_named,
    iptables,
    nft,
    rule_of_port,
)
from test_queues import BY_VERDICT, NOT_QUEUED, agent, queue_new_connections

TABLE = "droptrace"
ALLOWED = "--allow-system-changes"
TRACED = {"netfilter.method": "trace", "netfilter.confidence": "exact"}


def ruleset(lab: Lab, namespace: str = "node") -> str:
    return lab.node.run_in(namespace, "nft", "-s", "-a", "list", "ruleset")


def tables(lab: Lab, namespace: str = "node") -> str:
    return lab.node.run_in(namespace, "nft", "list", "tables")


def wait_until_placed(lab: Lab, trace: Trace, port: int, address: str = POD_B.ip) -> None:
    """Dials until a drop is led back to a rule: tracing may start with a drop, and adding a table
    makes the list of rules out of date."""
    deadline = time.monotonic() + NAMED_S
    while time.monotonic() < deadline:
        with lab.dial("podA", address, port) as dial:
            drop = trace.wait_for_drop({"packet.sport": dial.sport})
        if "family" in drop["netfilter"]:
            return
    raise Unexpected(f"no trace tells of it: {drop}")


@case()
def iptables_rules_three_jumps_deep_are_traced(lab: Lab) -> None:
    iptables(
        lab,
        *(":ONE", ":TWO", ":THREE", ":BESIDE"),
        "-A FORWARD -j ONE",
        "-A ONE -j BESIDE",
        "-A ONE -j TWO",
        "-A BESIDE -j THREE",  # from where it comes back: nothing matches yet
        "-A BESIDE -j MARK --set-mark 7",
        "-A TWO -p udp -j RETURN",
        "-A TWO -j THREE",
        '-A THREE -m mark --mark 7 -p tcp --dport 8081 -m comment --comment "say no" -j DROP',
    )
    expected = FORWARD | rule_of_port(lab, 8081).fields("FORWARD", "ONE", "TWO") | TRACED
    with lab.trace(ALLOWED, engines="trace") as trace:
        wait_until_placed(lab, trace, 8081)
        check_named(lab, trace, expected, 8081)


@case()
def native_rules_maps_and_policies_are_traced(lab: Lab) -> None:
    nft(
        lab,
        """
        table inet strict {
            map ports { type inet_service : verdict; elements = { 8083 : drop }; }
            chain early {
                type filter hook forward priority -10; policy drop
                tcp dport 8081 drop comment "say no"
                tcp dport vmap @ports
                tcp dport 8080 accept
                ct state established accept
            }
        }
        """,
    )
    policy = {"netfilter.policy": True, "netfilter.table": "strict", "netfilter.chain": "early"}
    with lab.trace(ALLOWED, engines="trace") as trace:
        wait_until_placed(lab, trace, 8081)
        check_named(lab, trace, FORWARD | rule_of_port(lab, 8081).fields() | TRACED, 8081)
        by_map = FORWARD | find_rule(lab.node, "vmap @ports").fields() | TRACED
        check_named(lab, trace, by_map, 8083)
        with lab.dial("podA", POD_B.ip, 8084) as dial:
            drop = trace.wait_for_drop({"packet.sport": dial.sport})
    check_fields(drop, FORWARD | policy | TRACED | {"netfilter.rule_handle": None})


@case()
def what_the_client_dialled_dies_behind_dnat(lab: Lab) -> None:
    iptables(lab, "-A FORWARD -p tcp --dport 8080 -j DROP")
    expected = FORWARD | rule_of_port(lab, 8080).fields("FORWARD")
    expected |= TRACED | {"netfilter.path": ["FORWARD"], "original.dst": WEB.cluster_ip}
    with lab.trace(ALLOWED, "--syn", engines="trace") as trace:
        wait_until_placed(lab, trace, WEB.port, WEB.cluster_ip)
        check_named(lab, trace, expected, WEB.port, WEB.cluster_ip)


@case()
def the_rule_that_queued_is_named(lab: Lab) -> None:
    queue_new_connections(lab)
    fields = find_rule(lab.node, "-j NFQUEUE").fields()
    rule = {name: fields[name] for name in ("netfilter.rule_handle", "netfilter.family", *NAMES)}
    # No other engine names it: if nothing else needs tracing, the first drop starts it.
    with lab.trace(ALLOWED) as trace:
        wait_until_placed(lab, trace, 8080)
        check_named(lab, trace, NOT_QUEUED | rule | TRACED, 8080)
        with agent(lab, "drop"):
            verdict = BY_VERDICT | {"netfilter.queue_owner": "kindnetd"}
            check_named(lab, trace, verdict | rule | TRACED, 8080)


@case()
def a_rule_in_a_pod_is_traced_there(lab: Lab) -> None:
    rule = "type filter hook input priority 0; tcp dport 8081 drop"
    nft(lab, f"table inet wall {{ chain wall {{ {rule}; }}; }}", POD_B.name)
    place = DROP | {"netfilter.hook": "input", "where": POD_B.where}
    expected = place | rule_of_port(lab, 8081, POD_B.name).fields() | TRACED
    with lab.trace(ALLOWED, engines="trace") as trace:
        wait_until_placed(lab, trace, 8081)
        check_named(lab, trace, expected, 8081)
        assert TABLE in tables(lab, POD_B.name)
        assert TABLE not in tables(lab, POD_A.name)
        trace.stop()
    assert TABLE not in tables(lab, POD_B.name)


@case()
def the_table_goes_away_however_it_ends(lab: Lab) -> None:
    before = ruleset(lab)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with lab.trace(ALLOWED, engines="trace") as trace:
            assert TABLE in tables(lab)
            if number == signal.SIGKILL:
                trace.kill()
            else:
                trace.stop(number)
            assert TABLE not in tables(lab), number
    assert ruleset(lab) == before


@case()
def without_the_option_nothing_is_changed(lab: Lab) -> None:
    iptables(lab, "-A FORWARD -p tcp --dport 8081 -j DROP")
    before = ruleset(lab)
    with lab.trace(engines="trace") as trace, lab.dial("podA", POD_B.ip, 8081) as dial:
        drop = trace.wait_for_drop({"packet.sport": dial.sport})
        assert ruleset(lab) == before
        trace.stop()
    check_fields(drop, {"netfilter.method": "none", "netfilter.rule_handle": None})
    assert drop["type"] in DROPS and ruleset(lab) == before


@case()
def a_table_that_was_left_behind_is_removed(lab: Lab) -> None:
    left = f"table inet {TABLE} {{ chain late {{ }}; }}"
    nft(lab, left)
    with lab.trace() as trace:
        assert "remove it with nft delete table inet droptrace" in trace.stop().stderr
    assert TABLE in tables(lab)
    with lab.trace(ALLOWED) as trace:
        assert "removed the table inet droptrace" in trace.stop().stderr
    assert TABLE not in tables(lab)
