# SPDX-License-Identifier: GPL-2.0-only
"""Names of pods and services, while pods come and go and kube-proxy changes its mode."""

import contextlib
from collections.abc import Iterator

from node_lab import CLOSED, Lab, case
from pods import ICEBERG, TRINO, PodSpec

HEIR = PodSpec("batch/heir-0")
LATE = PodSpec("batch/late-0")


@case
def every_pod_and_service_has_its_name_in_every_mode_of_kube_proxy(lab: Lab) -> None:
    # One run of droptrace: the modes change under it.
    with lab.trace() as trace:
        lab.check_names(trace)
        for mode in ("legacy", "nftables"):
            with lab.proxy_mode(mode):
                lab.check_services(trace)
        lab.check_services(trace)
        trace.stop()


@case
def what_is_there_at_the_start_is_named_in_each_mode(lab: Lab) -> None:
    for mode in ("legacy", "nftables"):
        with lab.proxy_mode(mode), lab.trace() as trace:
            lab.check_services(trace)
            trace.stop()


@case
def a_pod_created_later_is_named(lab: Lab) -> None:
    with lab.trace() as trace:
        pod = lab.node.add_pod(LATE)
        lab.check_pod(trace, pod)
        lab.node.remove_pod(LATE)


@contextlib.contextmanager
def forwarding_forbidden(lab: Lab) -> Iterator[None]:
    """A SYN from a pod dies in the node, even to an address that no pod has."""
    lab.node.run("iptables-nft", "-P", "FORWARD", "DROP")
    try:
        yield
    finally:
        lab.node.run("iptables-nft", "-P", "FORWARD", "ACCEPT")


@case
def a_deleted_pod_is_gone_comes_back_elsewhere_and_leaves_its_address_to_another(lab: Lab) -> None:
    with forwarding_forbidden(lab), lab.trace() as trace:
        old = lab.pod(TRINO)
        named = {"dst_name": old.workload, "dst_gone": None}
        lab.check_dial(trace, old.ip, CLOSED, named)

        lab.node.remove_pod(TRINO)
        lab.check_dial(trace, old.ip, CLOSED, {"dst_name": old.workload, "dst_gone": True})

        new = lab.node.add_pod(TRINO)
        assert new.ip != old.ip, new
        lab.check_dial(trace, new.ip, CLOSED, named)
        lab.check_dial(trace, old.ip, CLOSED, {"dst_name": old.workload, "dst_gone": True})

        lab.node.give_next(old.ip)
        heir = lab.node.add_pod(HEIR)
        assert heir.ip == old.ip, heir
        lab.check_dial(trace, old.ip, CLOSED, {"dst_name": heir.workload, "dst_gone": None})
        lab.node.remove_pod(HEIR)
        lab.check_dial(trace, old.ip, CLOSED, {"dst_name": heir.workload, "dst_gone": True})
        trace.stop()

    # kube-proxy follows: the service leads to the new pod.
    with lab.trace() as trace:
        lab.node.set_proxy("nft")
        lab.check_names(trace)
        trace.stop()


KUBECTL = """#!/bin/sh
case "$*" in
  "--kubeconfig /etc/kubernetes/admin.conf "*" pods "*) echo '10.244.9.9 elsewhere far-0 kind-worker9' ;;
esac
"""


@case
def pods_of_other_nodes_are_named_by_the_nodes_own_kubectl(lab: Lab) -> None:
    files = {"/usr/local/bin/kubectl": KUBECTL, "/etc/kubernetes/admin.conf": ""}
    expected = {True: "p/elsewhere/far-0", False: None}
    try:
        for name, text in files.items():
            lab.node.path(name).parent.mkdir(parents=True, exist_ok=True)
            lab.node.path(name).write_text(text)
        lab.node.path("/usr/local/bin/kubectl").chmod(0o755)
        for asks, options in ((True, ()), (False, ("--no-api",))):
            with forwarding_forbidden(lab), lab.trace(*options) as trace:
                lab.check_dial(trace, "10.244.9.9", CLOSED, {"dst_name": expected[asks]})
                trace.stop()
    finally:
        for name in files:
            lab.node.path(name).unlink(missing_ok=True)


@case
def by_its_port_of_the_node(lab: Lab) -> None:
    trino, client = lab.pod(TRINO), lab.pod(ICEBERG)
    with lab.trace() as trace:
        expected = {
            "service": TRINO.service,
            "original.dst": lab.node.place.ip,
            "original.dport": TRINO.node_port,
            "packet.dst": trino.ip,
            "dst_name": trino.workload,
            "src_class": "node",  # masqueraded on the way
        }
        lab.check_dial(trace, lab.node.place.ip, TRINO.node_port, expected, client)
