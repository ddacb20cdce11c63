# SPDX-License-Identifier: GPL-2.0-only
"""Whose drops are shown: of which namespaces, with which addresses."""

import re
import time

from cases import Lab, case
from droptrace_runner import Trace, Unexpected, check_fields
from mini_node import EXT_IP, EMPTY, NODE_IP, POD_A, POD_B, WEB, Pod

NOWHERE = "192.0.2.1"  # RFC 5737: for documentation
POD_D = Pod("podD", 8, "vethd4d4d4d4", "default/late")


def other_drops(lab: Lab, trace: Trace) -> list[dict]:
    """All that was shown besides a last drop, which is certain to be shown: when it is there, what
    came before it would be there too."""
    sport = lab.refused_dial()
    trace.wait_for_drop({"packet.sport": sport})
    return [drop for drop in trace.stop().drops() if drop["packet"].get("sport") != sport]


def drop_on_the_host(lab: Lab) -> int:
    """A SYN from outside the node to a service address, dropped by the host: the same kind of drop
    with the same addresses, but not the node's. Returns its source port."""
    rule = f"ip daddr {WEB.cluster_ip} counter drop"
    hook = "type filter hook prerouting priority 0"
    lab.node.run_in("host", "nft", f"table inet foreign {{ chain foreign {{ {hook}; {rule}; }}; }}")
    with lab.dial("ext", WEB.cluster_ip, WEB.port) as dial:
        deadline = time.monotonic() + 5
        while "packets 0" in lab.node.run_in("host", "nft", "list", "table", "inet", "foreign"):
            if time.monotonic() > deadline:
                raise Unexpected("the host did not drop the SYN")
        return dial.sport


@case()
def a_namespace_outside_the_node_is_not_shown(lab: Lab) -> None:
    with lab.trace() as trace:
        drop_on_the_host(lab)
        others = other_drops(lab, trace)
        assert not others, others


@case()
def all_netns_shows_a_namespace_outside_the_node(lab: Lab) -> None:
    with lab.trace("--all-netns") as trace:
        drop = trace.wait_for_drop({"packet.sport": drop_on_the_host(lab)})
        place = {"netns": lab.node.inum("host"), "where": "host", "netfilter.hook": "prerouting"}
        check_fields(drop, place)


@case()
def what_a_pod_sends_is_shown_where_it_dies_on_the_docker_host(lab: Lab) -> None:
    # Behind the node there is no way to either; kindnetd's rules have put the node's address on it.
    with lab.trace() as trace:
        for address, port in ((NOWHERE, 443), (WEB.cluster_ip, 81)):
            with lab.dial("podA", address, port) as dial:
                drop = trace.wait_for_drop({"packet.dst": address})
            died = {
                "reason": "IP_INNOROUTES",
                "netns": lab.node.inum("host"),
                "where": "host",
                "ifname": "br-kind",
                "packet.src": NODE_IP,
                "original.src": POD_A.ip,
                "original.sport": dial.sport,
                "original.dst": address,
            }
            check_fields(drop, died)


@case()
def what_a_rule_of_the_docker_host_drops_has_the_names_of_table_and_chain(lab: Lab) -> None:
    # That namespace cannot be entered from the node: the text of its rules stays unknown.
    lab.node.ip("host", f"route add default via {EXT_IP}")
    lab.node.run_in("host", "iptables-nft", "-P", "FORWARD", "DROP")
    died = {"where": "host", "ifname": "br-kind", "packet.dst": NOWHERE, "netfilter.table": "filter"}
    with lab.trace() as trace:
        with lab.dial("podA", NOWHERE, 443):
            drop = trace.wait_for_drop({"packet.dport": 443})
        check_fields(drop, died | {"netfilter.chain": "FORWARD", "netfilter.policy": True})
        for rule in ("-N DOCKER-USER", "-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -j DROP"):
            lab.node.run_in("host", "iptables-nft", *rule.split())
        with lab.dial("podA", NOWHERE, 444):
            drop = trace.wait_for_drop({"packet.dport": 444})
        rule = {"netfilter.chain": "DOCKER-USER", "netfilter.policy": None, "netfilter.rule": None}
        check_fields(drop, died | rule)
        handle = drop["netfilter"]["rule_handle"]
    with lab.trace(output="text") as trace, lab.dial("podA", NOWHERE, 445):
        lines = trace.wait_for_line() + trace.wait_for_line()
    assert f"ip filter DOCKER-USER rule handle {handle}" in lines, lines


@case()
def the_docker_host_is_not_shown_where_namespaces_were_chosen(lab: Lab) -> None:
    with lab.trace("--netns", "/proc/self/ns/net", "--netns", POD_B.netns) as trace:
        with lab.dial("podA", NOWHERE, 443) as dial:
            assert dial.outcome(timeout=5) == "ENETUNREACH", dial.outcome()
            others = other_drops(lab, trace)
    assert not others, others


@case()
def a_pod_created_after_the_start_is_shown(lab: Lab) -> None:
    with lab.trace() as trace:
        lab.node.add_pod(POD_D)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            sport = lab.refused_dial(POD_D.ip)
            try:
                named = {"packet.sport": sport, "where": POD_D.where}
                drop = trace.wait_for_drop(named, timeout=0.3)
            except Unexpected:
                continue  # it has not been noticed yet
            place = {"reason": "NO_SOCKET", "netns": lab.node.inum("podD"), "ifname": "eth0"}
            check_fields(drop, place)
            return
        raise Unexpected(f"no drop in {POD_D.netns} was shown within 10 s")


def check_only_pod_b(lab: Lab, argument: str) -> None:
    with lab.trace("--netns", argument) as trace:
        lab.refused_dial(EMPTY.cluster_ip, EMPTY.port)  # dies in the node's namespace
        drop = trace.wait_for_drop({"packet.sport": lab.refused_dial()})
        check_fields(drop, {"netns": lab.node.inum("podB"), "where": POD_B.where})
        drops = trace.stop().drops()
        assert len(drops) == 1, drops


@case()
def netns_as_a_name_a_path_or_a_number_shows_only_that_one(lab: Lab) -> None:
    check_only_pod_b(lab, POD_B.netns)
    check_only_pod_b(lab, f"/run/netns/{POD_B.netns}")
    check_only_pod_b(lab, str(lab.node.inum("podB")))


@case()
def addresses_outside_the_cluster_are_not_shown(lab: Lab) -> None:
    with lab.trace() as trace:
        lab.refused_dial(NODE_IP, 9999, name="ext")
        others = other_drops(lab, trace)
        assert not others, others


@case()
def all_shows_addresses_outside_the_cluster(lab: Lab) -> None:
    with lab.trace("--all") as trace:
        sport = lab.refused_dial(NODE_IP, 9999, name="ext")
        drop = trace.wait_for_drop({"packet.sport": sport})
        expected = {
            "reason": "NO_SOCKET",
            "where": "node",
            "ifname": "eth0",
            "peer": "host/vnode",
            "src_class": "external",
            "dst_class": "node",
        }
        check_fields(drop, expected)


@case()
def cidrs_given_replace_those_of_the_node(lab: Lab) -> None:
    given = ("--pod-cidr", "192.0.2.0/24", "--service-cidr", "198.51.100.0/24")
    with lab.trace(*given) as trace:
        lab.refused_dial()
        result = trace.stop()
        assert not result.drops(), result.drops()
    assert "service CIDR 198.51.100.0/24 (--service-cidr)" in result.stderr, result.stderr
    assert "pod CIDR 192.0.2.0/24 (--pod-cidr)" in result.stderr, result.stderr

    with lab.trace("--pod-cidr", "10.244.0.6/32") as trace:
        drop = trace.wait_for_drop({"packet.sport": lab.refused_dial()})
        check_fields(drop, {"src_class": "external", "dst_class": "pod"})


@case()
def cidrs_come_from_kubeadm_conf(lab: Lab) -> None:
    with lab.trace() as trace:
        stderr = trace.stop().stderr
    found = r"service CIDR 10\.96\.0\.0/16, fd00:10:96::/112 \(.*kubeadm\.conf\)"
    assert re.search(found, stderr), stderr


@case()
def cidrs_are_the_defaults_of_kubeadm_where_no_file_names_them(lab: Lab) -> None:
    lab.node.path("/kind/kubeadm.conf").unlink()
    with lab.trace() as trace:
        stderr = trace.stop().stderr
        assert "service CIDR 10.96.0.0/12 (default)" in stderr, stderr
        assert "pod CIDR 10.244.0.0/16 (default)" in stderr, stderr
