# SPDX-License-Identifier: GPL-2.0-only
"""What only a program on the verdict can tell: gotos on the way, and which rule queued a packet.

For kernels that take such programs: run.py --engine fentry (or kprobe).
"""

from cases import Lab, Skip, case
from droptrace_runner import check_fields
from mini_node import POD_B
from node_rules import Rule, find_rule, uses_hook
from rule_checks import DROP, FORWARD, check_named, iptables, nft, rule_of_port
from test_queues import QUEUE, agent, reinjects, wait_until_queued

IN_QUEUE = {
    "where": "node",
    "ifname": POD_B.veth,
    "netfilter.backend": "nfqueue",
    "netfilter.queue": QUEUE,
}
# Rules of iptables-nft and of nft that all queue to the same number.
XT_QUEUES = (8080, 8081)
NATIVE_QUEUES = (8082, 8083)


def require_hook() -> None:
    if not uses_hook():
        raise Skip("no --engine fentry or kprobe is asked for")


def of_rule(rule: Rule, *jumps: str) -> dict[str, object]:
    """The fields of a packet that this rule queued."""
    unlike = ("reason", "netfilter.backend", "netfilter.queue", "netfilter.queue_owner")
    return {key: value for key, value in rule.fields(*jumps).items() if key not in unlike}


def queueing_rules(lab: Lab) -> dict[int, dict[str, object]]:
    """Loads kindnetd's rules in both forms; the fields of what each queues, by port."""
    queue = f"NFQUEUE --queue-num {QUEUE} --queue-bypass"
    for line in (
        "-N POLICIES",
        "-A POSTROUTING -p tcp -j POLICIES",
        *(f"-A POLICIES -p tcp --dport {port} -j {queue}" for port in XT_QUEUES),
    ):
        lab.node.run("iptables-nft", "-t", "mangle", *line.split())
    native = [f"tcp dport {port} queue flags bypass to {QUEUE};" for port in NATIVE_QUEUES]
    hook = "type filter hook postrouting priority 90;"
    chains = (f"chain each {{ {' '.join(native)} }}", f"chain postrouting {{ {hook} jump each; }}")
    nft(lab, "\n".join(["table inet kindnet-network-policies {", *chains, "}"]))
    expected = {}
    for port in XT_QUEUES:
        rule = find_rule(lab.node, f"--dport {port} -j NFQUEUE")
        expected[port] = of_rule(rule, "POSTROUTING")
    for port in NATIVE_QUEUES:
        expected[port] = of_rule(rule_of_port(lab, port), "postrouting")
    return expected


def check_queued(lab: Lab, expected: dict[int, dict[str, object]]) -> None:
    by_verdict = {"netfilter.queue_owner": "kindnetd", "netfilter.verdict": "drop"}
    with agent(lab, "drop"), lab.trace() as trace:
        for port, fields in expected.items():
            check_named(lab, trace, IN_QUEUE | fields | by_verdict, port)


def check_not_queued(lab: Lab, expected: dict[int, dict[str, object]]) -> None:
    no_room = {"netfilter.verdict": "queue", "function": "nf_queue"}
    with agent(lab, "stall", "--length", "1"), lab.trace() as trace:
        with lab.dial("podA", POD_B.ip, XT_QUEUES[0]):  # it waits in the queue
            wait_until_queued(lab, 1)
            for port, fields in expected.items():
                check_named(lab, trace, IN_QUEUE | fields | no_room, port)


def odd_ways(lab: Lab) -> dict[int, dict[str, object]]:
    """Loads rules that are reached by gotos and by verdict maps; the fields of their drops."""
    iptables(
        lab,
        *(":FIRST", ":GONE", ":LAST"),
        "-A FORWARD -p tcp --dport 8091 -j FIRST",
        "-A FIRST -p tcp -g GONE",
        "-A GONE -p udp -j RETURN",
        "-A GONE -j LAST",
        "-A LAST -p tcp -j DROP",
    )
    nft(
        lab,
        """table inet maps {
            chain inner { tcp dport 8092 drop; }
            chain outer { goto inner; }
            chain forward {
                type filter hook forward priority 50;
                tcp dport vmap { 8092: jump outer, 8093: drop };
            }
        }""",
    )
    return {
        8091: find_rule(lab.node, "-A LAST").fields("FORWARD", "FIRST", "GONE"),
        8092: find_rule(lab.node, "tcp dport 8092 drop").fields("forward", "outer"),
        8093: find_rule(lab.node, "8093 : drop").fields(),
    }


def check_odd_ways(lab: Lab, expected: dict[int, dict[str, object]]) -> None:
    with lab.trace() as trace:
        for port, fields in expected.items():
            check_named(lab, trace, FORWARD | fields, port)


@case()
def the_rule_that_queued_what_a_listener_drops(lab: Lab) -> None:
    require_hook()
    check_queued(lab, queueing_rules(lab))


@case()
def the_rule_that_queued_what_finds_no_room(lab: Lab) -> None:
    require_hook()
    check_not_queued(lab, queueing_rules(lab))


@case()
def gotos_and_verdict_maps_on_the_way(lab: Lab) -> None:
    require_hook()
    check_odd_ways(lab, odd_ways(lab))


@case()
def a_rule_behind_an_accepting_listener(lab: Lab) -> None:
    require_hook()
    queueing_rules(lab)
    late = "type filter hook postrouting priority 200; tcp dport 8080-8083 counter drop"
    nft(lab, f"table inet behind {{ chain late {{ {late}; }}; }}")
    rule = find_rule(lab.node, "tcp dport 8080-8083 counter")
    with agent(lab, "accept"), lab.trace() as trace:
        for port in (*XT_QUEUES, *NATIVE_QUEUES):
            with lab.dial("podA", POD_B.ip, port) as dial:
                drop = trace.wait_for_drop({"packet.sport": dial.sport})
            expected = {"netfilter.rule_handle": rule.handle, "netfilter.chain": "late"}
            check_fields(drop, DROP | expected | {"netfilter.backend": "nf_tables"})
            assert not reinjects(drop) or "queue_owner" not in drop["netfilter"], drop


@case()
def a_policy_behind_chains_that_return(lab: Lab) -> None:
    require_hook()
    nft(
        lab,
        """table inet strict {
            chain empty { tcp dport 1 drop; }
            chain early { tcp dport 8081 return; tcp dport 1 drop; }
            chain forward {
                type filter hook forward priority 50; policy drop;
                jump empty; jump early; tcp dport 8080 accept;
            }
        }""",
    )
    policy = {
        "netfilter.table": "strict",
        "netfilter.chain": "forward",
        "netfilter.policy": True,
        "netfilter.rule_handle": None,
        "netfilter.method": "hook",
    }
    with lab.trace() as trace:
        for port in (8081, 8082):
            with lab.dial("podA", POD_B.ip, port) as dial:
                drop = trace.wait_for_drop({"packet.sport": dial.sport})
            check_fields(drop, FORWARD | policy)
