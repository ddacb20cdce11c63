# SPDX-License-Identifier: GPL-2.0-only
"""Endpoints that are damaged, gone, or reached by a way that the answer does not take."""

import contextlib
import dataclasses
import socket
import time

import kube_rules
import namespaces
from cases import Lab, case
from droptrace_runner import check_fields, field
from kube_rules import IPV4
from mini_node import EXT_IP, POD_A, POD_B, POD_C, POD_D, POD_E, WEB, Pod
from patience import PATIENCE
from test_unanswered import attempts, wait_for
from traffic import CONNECTED, PENDING, listening

DNS = dataclasses.replace(WEB, name="kube-system/kube-dns:dns", cluster_ip="10.96.0.10", port=53)

DIALLED = {"original.dst": WEB.cluster_ip, "service": "default/web:http", "packet.dst": POD_B.ip}
NOTICED_S = 10 * PATIENCE  # that a pod is gone, and the rules are others

OF_POD_B = {"dst_name": f"p/{POD_B.full_name}", "cause": "dead-endpoint"}
DIES_ON_THE_HOST = {"reason": "IP_INNOROUTES", "where": "host", "ifname": "br-kind"}


def check_unreachable(lab: Lab) -> None:
    """Nobody answers ARP for podB: the node gives up after three requests."""
    with lab.trace() as trace, lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
        drop = trace.wait_for_drop({"packet.sport": dial.sport})
        refused = {"type": "reject", "reason": "NEIGH_FAILED", "answer": "icmp 3/1"}
        check_fields(drop, DIALLED | refused | {"where": "node", "ifname": POD_B.veth})
        assert dial.outcome(5) == "EHOSTUNREACH", dial.outcome()


@case()
def pod_whose_interface_is_down(lab: Lab) -> None:
    lab.node.ip("podB", "link set eth0 down")
    check_unreachable(lab)


@case()
def pod_that_has_lost_its_address(lab: Lab) -> None:
    lab.node.ip("podB", "addr flush dev eth0")
    check_unreachable(lab)


@case()
def host_end_that_is_down_sends_the_pods_traffic_out_of_the_node(lab: Lab) -> None:
    lab.node.ip("node", f"link set {POD_B.veth} down")
    with lab.trace() as trace, lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
        drop = trace.wait_for_drop({"packet.sport": dial.sport})
        check_fields(drop, DIALLED | OF_POD_B | DIES_ON_THE_HOST)
        assert dial.outcome() == PENDING, dial.outcome()
    assert "left the node at eth0" in drop["explanation"], drop


@case()
def endpoint_whose_pod_is_gone_is_named_by_its_last_owner(lab: Lab) -> None:
    # The Docker host has a way to the rest of the world: nothing drops the packets.
    lab.node.ip("host", f"route add default via {EXT_IP}")
    with lab.trace() as trace:
        lab.node.remove_pod(POD_B)
        with lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
            record = wait_for(trace, "unanswered", {"packet.sport": dial.sport})
            assert dial.outcome() == PENDING, dial.outcome()
    check_fields(record, DIALLED | OF_POD_B | {"where": "host", "ifname": "vext"})
    assert record["dst_gone"] and POD_B.full_name in record["explanation"], record


def load_dns(lab: Lab, endpoint: Pod) -> None:
    rules = kube_rules.rules((dataclasses.replace(DNS, endpoints=((endpoint.ip, 53),)),), IPV4)
    lab.node.run("iptables-nft-restore", stdin=rules.replace("tcp", "udp"))


@case()
def stale_conntrack_entry_still_leads_to_a_dead_endpoint(lab: Lab) -> None:
    load_dns(lab, POD_B)
    with namespaces.network(lab.node.namespace("podA")):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client, lab.trace("udp") as trace:
        client.connect((DNS.cluster_ip, DNS.port))
        client.send(b"query")
        drop = trace.wait_for_drop({"packet.dst": POD_B.ip})  # nobody listens
        check_fields(drop, {"reason": "NO_SOCKET", "where": POD_B.where, "cause": None})
        lab.node.remove_pod(POD_B)
        load_dns(lab, POD_C)
        deadline = time.monotonic() + NOTICED_S
        while drop.get("cause") is None and time.monotonic() < deadline:
            with contextlib.suppress(ConnectionRefusedError):  # what the first one was answered
                client.send(b"query")
                drop = trace.wait_for_drop({"packet.dst": POD_B.ip, "where": "host"})
    gone = {"dst_name": f"p/{POD_B.full_name}", "dst_gone": True, "cause": "stale-conntrack"}
    check_fields(drop, DIES_ON_THE_HOST | gone | {"original.dst": DNS.cluster_ip})
    assert "conntrack -D -p udp --orig-dst 10.96.0.10" in drop["advice"], drop


@case()
def answer_that_goes_around_the_nat_on_a_bridge(lab: Lab) -> None:
    # Both pods are on one bridge: the answer goes from port to port, and comes from an address
    # that the client has not dialled.
    for pod in (POD_D, POD_E):
        lab.node.add_pod(pod)
    ports = [f"link set {pod.veth} master cni0" for pod in (POD_D, POD_E)]
    lab.node.ip(
        "node",
        "link add cni0 type bridge",
        "link set cni0 up",
        "addr add 10.244.0.1/24 dev cni0",
        *(f"addr flush dev {pod.veth}" for pod in (POD_D, POD_E)),
        *(f"route replace {pod.ip}/32 dev cni0" for pod in (POD_D, POD_E)),
        *ports,
    )
    lab.node.write_sysctl("node", "net.bridge.bridge-nf-call-iptables", "0")
    lab.node.ip("podE", f"route add {POD_D.ip} dev eth0")
    service = dataclasses.replace(WEB, endpoints=((POD_E.ip, 8080),))
    rules = kube_rules.rules((service,), IPV4)
    lab.node.run("iptables-nft-restore", stdin=rules)
    with listening(lab.node.namespace("podE"), 8080), lab.trace() as trace:
        with lab.dial("podD", WEB.cluster_ip, WEB.port) as dial:
            drop = trace.wait_for_drop({"packet.dport": dial.sport})
            assert dial.outcome() == PENDING, dial.outcome()
        place = {"packet.src": POD_E.ip, "packet.tcp_flags": "S.", "where": POD_D.where}
        dialled = {"original.dst": WEB.cluster_ip, "service": "default/web:http"}
        check_fields(drop, place | dialled | {"reason": "NO_SOCKET", "answer": "rst"})


@case()
def packets_too_big_for_the_way_whose_sender_is_not_told(lab: Lab) -> None:
    lab.node.ip("node", f"link set {POD_B.veth} mtu 1000")
    rule = "-I OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP"
    lab.node.run("iptables-nft", *rule.split())
    with listening(lab.node.namespace("podB"), 8080), lab.trace() as trace:
        with lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
            assert dial.outcome(5) == CONNECTED, dial.outcome()
            dial.socket.send(b"x" * 5000)
            told = trace.wait_for_drop({"packet.proto": "icmp"})
            drop = trace.wait_for_drop({"packet.sport": dial.sport})
        lost = {"packet.icmp_type": 3, "packet.icmp_code": 4, "packet.dst": POD_A.ip}
        check_fields(told, lost | {"netfilter.hook": "output", "netfilter.verdict": "drop"})
        refused = {"type": "reject", "reason": "PKT_TOO_BIG", "answer": "icmp 3/4"}
        check_fields(drop, DIALLED | refused | {"where": "node"})
        assert field(drop, "packet.length") > 1000, drop
        assert not attempts(trace.stop())
