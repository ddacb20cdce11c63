# SPDX-License-Identifier: GPL-2.0-only
"""The lab itself: a healthy node answers, and the ways to break it look as they do in a cluster."""

from cases import Lab, case
from mini_node import EMPTY, KUBERNETES, NODE_IP, POD_A, POD_B, POD_C, WEB, WEB6
from traffic import CONNECTED, PENDING, listening

ANSWER_S = 5.0  # bounds a failure; an answer takes microseconds
SILENCE_S = 0.2  # an answer would have come


def outcome(lab: Lab, name: str, address: str, port: int, timeout: float = ANSWER_S) -> str:
    with lab.dial(name, address, port) as dial:
        return dial.outcome(timeout)


@case("nft", "legacy")
def a_healthy_node_connects_every_way(lab: Lab) -> None:
    with listening(lab.node.namespace("podB"), 8080):
        for name, address, port in (
            ("podA", POD_B.ip, 8080),
            ("podA", POD_B.ip6, 8080),
            ("podA", WEB.cluster_ip, WEB.port),
            ("podA", WEB6.cluster_ip, WEB6.port),
            ("podB", WEB.cluster_ip, WEB.port),  # hairpin
            ("node", WEB.cluster_ip, WEB.port),
            ("ext", NODE_IP, WEB.node_port),
        ):
            got = outcome(lab, name, address, port)
            assert got == CONNECTED, f"{name} to {address} port {port}: {got}"


@case("nft", "legacy")
def each_breakage_shows_the_client_what_a_cluster_would(lab: Lab) -> None:
    node = lab.node
    assert outcome(lab, "podA", WEB.cluster_ip, WEB.port) == "ECONNREFUSED"  # no listener
    assert outcome(lab, "podA", EMPTY.cluster_ip, EMPTY.port) == "ECONNREFUSED"
    node.run(f"iptables-{node.backend}", "-P", "FORWARD", "DROP")
    assert outcome(lab, "podA", WEB.cluster_ip, WEB.port, SILENCE_S) == PENDING
    node.run(f"iptables-{node.backend}", "-P", "FORWARD", "ACCEPT")
    node.ip("node", f"route del {POD_B.ip}", "route del default")
    assert outcome(lab, "podA", WEB.cluster_ip, WEB.port) == "ENETUNREACH"
    node.write_sysctl("node", "net.ipv4.ip_forward", "0")
    assert outcome(lab, "podA", WEB.cluster_ip, WEB.port, SILENCE_S) == PENDING


@case()
def the_node_sees_its_own_pods_and_processes_only(lab: Lab) -> None:
    node = lab.node
    pods = (POD_A, POD_B, POD_C)
    assert node.run("ls", "/run/netns").split() == [pod.netns for pod in pods]
    for pod in pods:
        inum = int(node.run("stat", "-L", "-c", "%i", f"/run/netns/{pod.netns}"))
        assert inum == node.inum(pod.name)
    seen = set(node.run("sh", "-c", "stat -L -c %i /proc/[0-9]*/ns/net").split())
    assert seen == {str(node.inum(name)) for name in ("node", "podA", "podB", "podC")}
    assert "podSubnet: 10.244.0.0/16" in node.run("cat", "/kind/kubeadm.conf")
    assert "eth0" in node.run("ls", "/sys/class/net").split()


@case()
def chain_hashes_are_those_of_kube_proxy(lab: Lab) -> None:
    # The test vector of kube-proxy's own unit tests, seen in every cluster.
    assert KUBERNETES.chain("SVC") == "KUBE-SVC-NPX46M4PTMTKRN6Y"
    assert KUBERNETES.chain("SVC") in lab.node.run("iptables-nft-save", "-t", "nat")
