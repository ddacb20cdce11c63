# SPDX-License-Identifier: GPL-2.0-only
"""How traffic dies on a node: each death is named, placed and led back to the service dialled."""

import shutil
import sysconfig
from pathlib import Path

from cases import Lab, Skip, case
from droptrace_runner import check_fields
from mini_node import EMPTY, POD_A, POD_B, POD_C, WEB, WEB6
from traffic import ACK, CONNECTED, PENDING, listening, send_segment

TC_SOURCE = Path(__file__).with_name("tc_drop.bpf.c")


def at_pod_a_veth(lab: Lab) -> dict[str, object]:
    """The node's end of podA's veth: where its packets enter the node."""
    return {
        "netns": lab.node.inum("node"),
        "where": "node",
        "ifname": POD_A.veth,
        "peer": f"{POD_A.where}/eth0",
    }


FIRST_SYN = {"packet.proto": "tcp", "packet.tcp_flags": "S", "attempt.syn": 1, "attempt.dropped": 1}

# By a rule that answers with "port unreachable".
REFUSED = {"type": "reject", "answer": "icmp 3/3", "netfilter.verdict": "reject"}

# A SYN from podA to the service default/web, behind the node's DNAT.
SYN_TO_WEB = FIRST_SYN | {
    "packet.src": POD_A.ip,
    "packet.dst": POD_B.ip,
    "packet.dport": 8080,
    "original.src": POD_A.ip,
    "original.dst": WEB.cluster_ip,
    "original.dport": WEB.port,
    "src_class": "pod",
    "dst_class": "pod",
}


def check_silent_death(lab: Lab, expected: dict[str, object]) -> None:
    """podA dials the service default/web and gets no answer; its first SYN has these fields."""
    with lab.trace() as trace, lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
        drop = trace.wait_for_drop({"packet.sport": dial.sport})
        check_fields(drop, SYN_TO_WEB | expected)
        assert dial.outcome() == PENDING, dial.outcome()
        trace.stop()


def dropped_in_forward(lab: Lab) -> dict[str, object]:
    """By the node's iptables: nf_tables frees the packet itself, ip_tables leaves it to others."""
    nft = {"function": "nft_do_chain", "netfilter.backend": "nf_tables"}
    legacy = {"function": "nf_hook_slow", "netfilter.backend": "ip_tables"}
    facts = {"reason": "NETFILTER_DROP", "netfilter.hook": "forward", "netfilter.verdict": "drop"}
    return at_pod_a_veth(lab) | (nft if lab.node.backend == "nft" else legacy) | facts


@case()
def no_listener(lab: Lab) -> None:
    with lab.trace() as trace, lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
        assert dial.outcome(timeout=5) == "ECONNREFUSED", dial.outcome()
        drop = trace.wait_for_drop({"packet.sport": dial.sport})
        place = {
            "type": "reject",
            "answer": "rst",
            "reason": "NO_SOCKET",
            "function": "tcp_v4_rcv",
            "netns": lab.node.inum("podB"),
            "where": POD_B.where,
            "ifname": "eth0",
            "peer": f"node/{POD_B.veth}",
            "netfilter": None,
        }
        check_fields(drop, SYN_TO_WEB | place)


@case("nft", "legacy")
def service_without_endpoints(lab: Lab) -> None:
    with lab.trace() as trace:
        sport = lab.refused_dial(EMPTY.cluster_ip, EMPTY.port)
        drop = trace.wait_for_drop({"packet.sport": sport})
        dialled = {
            "packet.dst": EMPTY.cluster_ip,
            "packet.dport": EMPTY.port,
            "src_class": "pod",
            "dst_class": "service",
            "original": None,
        }
        check_fields(drop, FIRST_SYN | dropped_in_forward(lab) | dialled | REFUSED)


@case()
def service_without_endpoints_dialled_from_the_node(lab: Lab) -> None:
    # Packets that die in the output hook have no device: the namespace is that of their socket.
    with lab.trace() as trace:
        sport = lab.refused_dial(EMPTY.cluster_ip, EMPTY.port, name="node")
        drop = trace.wait_for_drop({"packet.sport": sport})
        place = {
            "reason": "NETFILTER_DROP",
            "function": "nft_do_chain",
            "netfilter.hook": "output",
            "netns": lab.node.inum("node"),
            "where": "node",
            "ifname": None,
            "src_class": "node",
            "dst_class": "service",
        }
        check_fields(drop, FIRST_SYN | place)


@case()
def policy_in_a_native_nft_table(lab: Lab) -> None:
    policy = "type filter hook forward priority 0; ip daddr 10.244.0.6 tcp dport 8080 drop"
    lab.node.run("nft", f"table inet network-policy {{ chain forward {{ {policy}; }}; }}")
    check_silent_death(lab, dropped_in_forward(lab))


@case("nft", "legacy")
def policy_as_an_iptables_rule(lab: Lab) -> None:
    rule = f"-d {POD_B.ip} -p tcp --dport 8080 -j DROP"
    lab.node.run(f"iptables-{lab.node.backend}", "-A", "FORWARD", *rule.split())
    check_silent_death(lab, dropped_in_forward(lab))


@case("nft", "legacy")
def forward_policy_drop(lab: Lab) -> None:
    lab.node.run(f"iptables-{lab.node.backend}", "-P", "FORWARD", "DROP")
    check_silent_death(lab, dropped_in_forward(lab))


@case()
def forward_policy_drop_of_an_ipv6_connection(lab: Lab) -> None:
    lab.node.run("ip6tables-nft", "-P", "FORWARD", "DROP")
    with lab.trace() as trace, lab.dial("podA", WEB6.cluster_ip, WEB6.port) as dial:
        drop = trace.wait_for_drop({"packet.sport": dial.sport})
        flow = {
            "packet.l3": "ipv6",
            "packet.src": POD_A.ip6,
            "packet.dst": POD_B.ip6,
            "packet.dport": 8080,
            "original.dst": WEB6.cluster_ip,
            "original.dport": WEB6.port,
            "src_class": "pod",
            "dst_class": "pod",
        }
        check_fields(drop, FIRST_SYN | dropped_in_forward(lab) | flow)


@case()
def no_route_to_the_pod(lab: Lab) -> None:
    lab.node.ip("node", f"route del {POD_B.ip}", "route del default")
    with lab.trace() as trace, lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
        drop = trace.wait_for_drop({"packet.sport": dial.sport})
        place = {"reason": "IP_INNOROUTES", "function": "ip_error", "netfilter": None}
        check_fields(drop, SYN_TO_WEB | at_pod_a_veth(lab) | place)
        assert dial.outcome(timeout=5) == "ENETUNREACH", dial.outcome()


@case()
def forwarding_switched_off(lab: Lab) -> None:
    lab.node.write_sysctl("node", "net.ipv4.ip_forward", "0")
    place = {"reason": "IP_INADDRERRORS", "function": "ip_error", "netfilter": None}
    check_silent_death(lab, at_pod_a_veth(lab) | place)


@case()
def reverse_path_filter(lab: Lab) -> None:
    lab.refused_dial()  # podA knows its gateway's hardware address: ARP would die first
    lab.node.write_sysctl("node", "net.ipv4.conf.all.rp_filter", "1")
    lab.node.ip("node", f"route change {POD_A.ip} dev {POD_C.veth}")
    place = {"reason": "IP_RPFILTER", "function": "ip_rcv_finish_core", "netfilter": None}
    check_silent_death(lab, at_pod_a_veth(lab) | place)


@case()
def firewall_inside_the_pod(lab: Lab) -> None:
    # The packet has left the node's conntrack behind; the service is found in the node's table.
    chain = "chain input { type filter hook input priority 0; tcp dport 8080 drop; }"
    lab.node.run_in("podB", "nft", f"table inet sidecar {{ {chain}; }}")
    place = {
        "reason": "NETFILTER_DROP",
        "function": "nft_do_chain",
        "netfilter.hook": "input",
        "netns": lab.node.inum("podB"),
        "where": POD_B.where,
        "ifname": "eth0",
        "peer": f"node/{POD_B.veth}",
    }
    check_silent_death(lab, place)


@case("nft", "legacy")
def segment_of_no_known_connection(lab: Lab) -> None:
    # conntrack calls it INVALID, and KUBE-FORWARD's first rule drops what is INVALID.
    lab.node.write_sysctl("node", "net.netfilter.nf_conntrack_tcp_loose", "0")
    with lab.trace() as trace:
        send_segment(lab.node.namespace("podA"), (POD_A.ip, 40001), (POD_B.ip, 8080), ACK)
        drop = trace.wait_for_drop({"packet.sport": 40001})
        segment = {
            "packet.tcp_flags": ".",
            "packet.dst": POD_B.ip,
            "packet.length": 40,
            "original": None,
            "attempt": None,
        }
        check_fields(drop, dropped_in_forward(lab) | segment)


def tc_drop(lab: Lab, device: str, direction: str) -> None:
    """Puts the dropping classifier on a device of the node."""
    uapi = f"/usr/include/{sysconfig.get_config_var('MULTIARCH')}"
    compile_bpf = ["clang", "-O2", "-g", "-target", "bpf", "-idirafter", uapi]
    if not shutil.which("clang"):
        raise Skip("clang is not installed")
    lab.node.run(*compile_bpf, "-c", str(TC_SOURCE), "-o", "/run/tc_drop.o")
    lab.node.run(*f"tc qdisc add dev {device} clsact".split())
    attach = f"tc filter add dev {device} {direction} bpf da obj /run/tc_drop.o sec tc"
    lab.node.run(*attach.split())


@case()
def tc_program_where_packets_enter_the_node(lab: Lab) -> None:
    tc_drop(lab, POD_A.veth, "ingress")
    with lab.trace() as trace, lab.dial("podA", POD_B.ip, 8080) as dial:
        drop = trace.wait_for_drop({"packet.sport": dial.sport})
        place = {
            "reason": "TC_INGRESS",
            "function": "__netif_receive_skb_core",
            "packet.dst": POD_B.ip,
            "original": None,
            "netfilter": None,
        }
        check_fields(drop, FIRST_SYN | at_pod_a_veth(lab) | place)


@case()
def tc_program_where_packets_leave_for_the_pod(lab: Lab) -> None:
    tc_drop(lab, POD_B.veth, "egress")
    place = {
        "reason": "TC_EGRESS",
        "function": "__dev_queue_xmit",
        "where": "node",
        "ifname": POD_B.veth,
        "peer": f"{POD_B.where}/eth0",
        "netfilter": None,
    }
    check_silent_death(lab, place)


@case()
def a_connection_that_works_shows_nothing(lab: Lab) -> None:
    with listening(lab.node.namespace("podB"), 8080) as server, lab.trace() as trace:
        with lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
            assert dial.outcome(timeout=5) == CONNECTED, dial.outcome()
            peer, _ = server.accept()
            peer.sendall(b"not read by the client, so that its end is a reset")
        peer.close()
        lab.refused_dial(EMPTY.cluster_ip, EMPTY.port)
        trace.wait_for_drop({"packet.dst": EMPTY.cluster_ip})
        drops = trace.stop().drops()
    assert len(drops) == 1, f"a connection that works was reported: {drops}"
