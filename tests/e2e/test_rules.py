# SPDX-License-Identifier: GPL-2.0-only
"""Which rule of nf_tables dropped it: as the namespace's own tools list that rule."""

from cases import Lab, case
from droptrace_runner import check_fields
from mini_node import EMPTY, NODE_IP, POD_A, POD_B, POD_C, POD_D, POD_E
from node_rules import as_found, find_rule
from rule_checks import (
    DROP,
    FORWARD,
    NAMES,
    REJECT,
    check_named,
    firewall,
    iptables,
    nft,
    rule_of_port,
)
from traffic import ACK, CONNECTED, listening, send_segment


@case()
def iptables_rules_three_jumps_deep(lab: Lab) -> None:
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
        '-A THREE -m mark --mark 7 -p tcp --dport 8081 -m comment --comment "say \\"no\\"" -j DROP',
        "-A THREE -m mark --mark 7 -p tcp --dport 8082 -j REJECT --reject-with tcp-reset",
        "-A THREE -m mark --mark 7 -p tcp --dport 8083 -j REJECT",
    )
    jumps = ("FORWARD", "ONE", "TWO")
    with lab.trace() as trace:
        check_named(lab, trace, FORWARD | rule_of_port(lab, 8081).fields(*jumps), 8081)
        for port, answer in ((8082, "rst"), (8083, "icmp 3/3")):
            expected = REJECT | {"answer": answer} | rule_of_port(lab, port).fields(*jumps)
            check_named(lab, trace, expected, port)


@case()
def rules_while_packets_are_traced_elsewhere(lab: Lab) -> None:
    # The first nftrace rule of any namespace turns a static key on, and the code of nft_do_chain that
    # runs from then on keeps its values in other places.
    iptables(lab, ":ONE", "-A FORWARD -j ONE", "-A ONE -p tcp --dport 8081 -j DROP")
    tracing = "table inet trace { chain forward { type filter hook forward priority 0; %s; }; }"
    with lab.trace() as trace:
        for rules in ("", tracing % "ip saddr 192.0.2.1 meta nftrace set 1"):
            lab.node.run_in("ext", "nft", "-f", "-", stdin=rules)
            check_named(lab, trace, FORWARD | rule_of_port(lab, 8081).fields("FORWARD"), 8081)
            lab.node.run("iptables-nft", "-P", "FORWARD", "DROP")
            with lab.dial("podA", POD_B.ip, 8082) as dial:
                drop = trace.wait_for_drop({"packet.sport": dial.sport})
                check_fields(drop, policy_fields("ip", "filter", "FORWARD"))
            lab.node.run("iptables-nft", "-P", "FORWARD", "ACCEPT")
    # And from the start.
    with lab.trace() as trace:
        check_named(lab, trace, FORWARD | rule_of_port(lab, 8081).fields("FORWARD"), 8081)


@case()
def rules_of_kube_proxy(lab: Lab) -> None:
    no_endpoints = find_rule(lab.node, f"-d {EMPTY.cluster_ip}/32")
    assert no_endpoints.comment == "default/empty:http has no endpoints", no_endpoints
    invalid = find_rule(lab.node, "--ctstate INVALID -j DROP", family="ip")
    lab.node.write_sysctl("node", "net.netfilter.nf_conntrack_tcp_loose", "0")
    with lab.trace() as trace:
        expected = REJECT | {"answer": "icmp 3/3"} | no_endpoints.fields("FORWARD")
        check_named(lab, trace, expected, EMPTY.port, EMPTY.cluster_ip)
        send_segment(lab.node.namespace("podA"), (POD_A.ip, 40001), (POD_B.ip, 8080), ACK)
        drop = trace.wait_for_drop({"packet.sport": 40001})
        check_fields(drop, FORWARD | invalid.fields("FORWARD"))


@case()
def a_node_port_without_local_endpoints(lab: Lab) -> None:
    comment = '-m comment --comment "default/web:http has no local endpoints"'
    match = f"-p tcp {comment} -m addrtype --dst-type LOCAL -m tcp --dport 30081"
    iptables(lab, f"-A KUBE-EXTERNAL-SERVICES {match} -j DROP")
    place = DROP | {"where": "node", "ifname": "eth0", "netfilter.hook": "input"}
    expected = place | rule_of_port(lab, 30081).fields("INPUT")
    with lab.trace("--all") as trace:
        check_named(lab, trace, expected, 30081, NODE_IP, client="ext")


@case()
def what_no_rule_has_dropped_leads_to_no_rule(lab: Lab) -> None:
    # The second connection is given a source address and port that the first one has already.
    masquerade = f"-t nat -I POSTROUTING -d {POD_B.ip} -p tcp -j MASQUERADE --to-ports 40000"
    lab.node.run("iptables-nft", *masquerade.split())
    with listening(lab.node.namespace("podB"), 8080), lab.trace() as trace:
        with lab.dial("podA", POD_B.ip, 8080) as first, lab.dial("podC", POD_B.ip, 8080) as dial:
            assert first.outcome(timeout=5) == CONNECTED, first.outcome()
            drop = trace.wait_for_drop({"original.src": POD_C.ip})
    place = {"function": "nf_hook_slow", "where": "node", "netfilter.hook": "postrouting"}
    unnamed = dict.fromkeys([*NAMES, "netfilter.rule_handle"])
    check_fields(drop, place | unnamed)


def policy_fields(family: str, table: str, chain: str) -> dict[str, object]:
    """The JSON fields of a drop by a base chain's policy."""
    return FORWARD | {
        "reason": "NETFILTER_DROP",
        "netfilter.backend": "nf_tables",
        "netfilter.family": family,
        "netfilter.table": table,
        "netfilter.chain": chain,
        "netfilter.policy": True,
        "netfilter.rule_handle": None,
        "netfilter.rule_number": None,
        "netfilter.rule": None,
        "netfilter.comment": None,
    } | as_found()


@case()
def policies(lab: Lab) -> None:
    native = "type filter hook forward priority -10; policy drop; tcp dport 8080 accept"
    nft(lab, f"table inet strict {{ chain only_web {{ {native}; }}; }}")
    iptables(lab, ":DEEP", "-A FORWARD -j DEEP", "-A DEEP -p udp -j DROP")
    lab.node.run("iptables-nft", "-P", "FORWARD", "DROP")
    for port, policy in (
        (8080, policy_fields("ip", "filter", "FORWARD")),
        (8081, policy_fields("inet", "strict", "only_web")),
    ):
        with lab.trace() as trace, lab.dial("podA", POD_B.ip, port) as dial:
            check_fields(trace.wait_for_drop({"packet.sport": dial.sport}), policy)


@case()
def native_rules(lab: Lab) -> None:
    nft(
        lab,
        """
        table inet network-policy {
            set closed { type inet_service; elements = { 8084, 8085 }; }
            chain forward {
                type filter hook forward priority 0
                tcp dport 8081 drop comment "say no"
                tcp dport 8082 reject
                tcp dport 8083 reject with tcp reset
                tcp dport @closed drop
            }
        }
        """,
    )
    with lab.trace() as trace:
        check_named(lab, trace, FORWARD | rule_of_port(lab, 8081).fields(), 8081)
        for port, answer in ((8082, "icmp 3/3"), (8083, "rst")):
            expected = REJECT | {"answer": answer} | rule_of_port(lab, port).fields()
            check_named(lab, trace, expected, port)
        check_named(lab, trace, FORWARD | find_rule(lab.node, "@closed").fields(), 8085)


@case()
def verdict_maps(lab: Lab) -> None:
    nft(
        lab,
        """
        table inet maps {
            chain by_map { tcp dport 8082 drop; }
            map verdicts {
                type inet_service : verdict
                elements = { 8081 : drop, 8082 : jump by_map }
            }
            chain forward {
                type filter hook forward priority 0
                tcp dport vmap @verdicts
                tcp dport vmap { 8083 : drop }
            }
        }
        """,
    )
    # Where an element of the map leads to is not in the rule: there is no path then.
    by_map = rule_of_port(lab, 8082).fields() | {"netfilter.path": None}
    with lab.trace() as trace:
        check_named(lab, trace, FORWARD | find_rule(lab.node, "@verdicts").fields(), 8081)
        check_named(lab, trace, FORWARD | by_map, 8082)
        check_named(lab, trace, FORWARD | find_rule(lab.node, "8083 : drop").fields(), 8083)


@case()
def a_goto_leaves_no_path_and_not_that_of_an_earlier_jump(lab: Lab) -> None:
    nft(
        lab,
        """
        table inet gotos {
            chain last { tcp dport 8081 drop; tcp dport 8082 meta mark 0x7 drop; }
            chain middle { jump last; }
            chain forward {
                type filter hook forward priority 0
                tcp dport 8081 goto last
                jump middle
                meta mark set 0x7
                goto last
            }
        }
        """,
    )
    with lab.trace() as trace:
        for port, words in ((8081, "tcp dport 8081 drop"), (8082, "tcp dport 8082 meta mark")):
            expected = find_rule(lab.node, words).fields() | {"netfilter.path": None}
            check_named(lab, trace, FORWARD | expected, port)


@case()
def more_jumps_than_are_read(lab: Lab) -> None:
    chains = [f"chain c{i} {{ jump c{i + 1}; }}" for i in reversed(range(12))]
    base = "chain forward { type filter hook forward priority 0; jump c0; }"
    nft(
        lab,
        "\n".join(["table inet deep {", "chain c12 { tcp dport 8081 drop; }", *chains, base, "}"]),
    )
    expected = rule_of_port(lab, 8081).fields() | {"netfilter.path": None}
    with lab.trace() as trace:
        check_named(lab, trace, FORWARD | expected, 8081)


@case()
def every_hook_of_the_node(lab: Lab) -> None:
    hooks = {8081: "prerouting", 8082: "input", 8083: "output", 8084: "postrouting"}
    chains = [
        f"chain at_{hook} {{ type filter hook {hook} priority 50; tcp dport {port} drop; }}"
        for port, hook in hooks.items()
    ]
    nft(lab, "\n".join(["table inet hooks {", *chains, "}"]))
    devices = {8081: POD_A.veth, 8082: POD_A.veth, 8083: None, 8084: POD_B.veth}
    with lab.trace() as trace:
        for port, hook in hooks.items():
            expected = DROP | {"netfilter.hook": hook, "where": "node", "ifname": devices[port]}
            expected |= rule_of_port(lab, port).fields()
            address = NODE_IP if hook == "input" else POD_B.ip
            client = "node" if hook == "output" else "podA"
            check_named(lab, trace, expected, port, address, client)


@case()
def hooks_of_a_device(lab: Lab) -> None:
    ingress = f"type filter hook ingress device {POD_A.veth}"
    egress = f"type filter hook egress device {POD_B.veth}"
    nft(
        lab,
        f"""
        table netdev edge {{
            chain incoming {{ {ingress} priority 0; tcp dport 8081 drop; }}
            chain outgoing {{ {egress} priority 0; tcp dport 8082 drop; }}
        }}
        table inet edge {{ chain incoming {{ {ingress} priority 1; tcp dport 8083 drop; }}; }}
        """,
    )
    with lab.trace() as trace:
        for port, hook, veth in (
            (8081, "ingress", POD_A.veth),
            (8082, "egress", POD_B.veth),
            (8083, "ingress", POD_A.veth),
        ):
            place = DROP | {"where": "node", "ifname": veth, "netfilter.hook": hook}
            check_named(lab, trace, place | rule_of_port(lab, port).fields(), port)


@case()
def ipv6(lab: Lab) -> None:
    iptables(lab, "-A FORWARD -p tcp --dport 8081 -j DROP", program="ip6tables-nft")
    for family, port in (("ip6", 8082), ("inet", 8083)):
        rule = f"type filter hook forward priority 0; tcp dport {port} drop"
        nft(lab, f"table {family} native {{ chain forward {{ {rule}; }}; }}")
    with lab.trace() as trace:
        for port in (8081, 8082, 8083):
            expected = FORWARD | {"packet.l3": "ipv6"} | rule_of_port(lab, port).fields()
            check_named(lab, trace, expected, port, POD_B.ip6)


@case()
def a_bridge_inside_the_node(lab: Lab) -> None:
    for pod in (POD_D, POD_E):
        lab.node.add_pod(pod)
    ports = [f"link set {pod.veth} master cni0" for pod in (POD_D, POD_E)]
    lab.node.ip("node", "link add cni0 type bridge", "link set cni0 up", *ports)
    lab.node.ip("podD", f"route add {POD_E.ip} dev eth0")
    lab.node.ip("podE", f"route add {POD_D.ip} dev eth0")
    rule = "type filter hook forward priority 0; tcp dport 8081 drop"
    nft(lab, f"table bridge frames {{ chain forward {{ {rule}; }}; }}")
    with lab.trace() as trace:
        expected = FORWARD | rule_of_port(lab, 8081).fields()
        check_named(lab, trace, expected, 8081, POD_E.ip, client="podD")


@case()
def an_arp_rule_in_a_pod(lab: Lab) -> None:
    rule = "type filter hook input priority 0; arp operation request drop"
    nft(lab, f"table arp quiet {{ chain input {{ {rule}; }}; }}", "podB")
    expected = find_rule(lab.node, "request drop", "podB").fields() | {"packet.l3": "arp"}
    with lab.trace("--all") as trace, lab.dial("podA", POD_B.ip, 8081):
        drop = trace.wait_for_drop(
            {"netfilter.family": "arp", "netfilter.rule": expected["netfilter.rule"]}
        )
        place = {"netfilter.hook": "input", "where": POD_B.where}
        check_fields(drop, DROP | place | expected)


@case()
def a_rule_inside_a_pod(lab: Lab) -> None:
    expected = firewall(lab, POD_B, "sidecar")
    with lab.trace() as trace:
        check_named(lab, trace, expected, 8081)
