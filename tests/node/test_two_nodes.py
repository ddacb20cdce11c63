# SPDX-License-Identifier: GPL-2.0-only
"""Whose drops are shown, where several nodes and a Docker host share a kernel."""

import contextlib
from collections.abc import Iterator

from docker_host import Failed
from droptrace_runner import Unexpected, check_fields, field
from kind_node import IMAGE, NETWORK
from node_lab import CLOSED, Lab, case
from pods import ICEBERG, WEB, WORKER_PODS

OTHER_NETWORK, OTHER_SUBNET, BEHIND = "elsewhere", "172.30.0.0/16", "172.30.0.9"


@case
def two_nodes_see_their_own_drops_only(lab: Lab) -> None:
    spark = lab.bed.worker.pods[WORKER_PODS[0].name]
    report = lab.bed.worker.pods[WORKER_PODS[1].name]
    web, iceberg = lab.pod(WEB), lab.pod(ICEBERG)
    with lab.trace() as mine, lab.trace(node=lab.bed.worker) as theirs:
        here = lab.refused(iceberg.ip, client=web)
        there = lab.refused(report.ip, client=spark)
        # Dies in the other node's pod, to which it comes by way of both nodes and the host.
        across = lab.refused(spark.ip, client=web)
        last_here, last_there = lab.refused(iceberg.ip), lab.refused(report.ip, client=spark)
        mine.wait_for_drop({"packet.sport": last_here})
        theirs.wait_for_drop({"packet.sport": last_there})
        mine, theirs = mine.stop().drops(), theirs.stop().drops()
    assert [d["packet"]["sport"] for d in mine] == [here, last_here], mine
    assert [d["packet"]["sport"] for d in theirs] == [there, across, last_there], theirs
    check_fields(mine[0], {"where": iceberg.where, "src_name": web.workload})
    check_fields(theirs[0], {"where": report.where, "src_name": spark.workload})
    remote = {"where": spark.where, "src_name": None, "packet.src": web.ip, "src_class": "pod"}
    check_fields(theirs[1], remote)


@contextlib.contextmanager
def other_network(lab: Lab) -> Iterator[None]:
    """A second Docker network: Docker's firewall keeps the two apart."""
    lab.bed.host.docker("network", "create", "--subnet", OTHER_SUBNET, OTHER_NETWORK)
    try:
        yield
    finally:
        lab.bed.host.docker("network", "rm", OTHER_NETWORK)


@case
def what_dockers_firewall_drops_is_shown_with_the_host_as_its_place(lab: Lab) -> None:
    with other_network(lab), lab.trace() as mine, lab.trace(node=lab.bed.worker) as theirs:
        with lab.dial(lab.pod(WEB), BEHIND, CLOSED) as dial:
            drop = lab.drop_of(mine, dial)
        expected = {
            "type": "drop",
            "reason": "NETFILTER_DROP",
            "where": "host",
            "netns": lab.bed.host.namespace.stat().st_ino,
            "netfilter.hook": "forward",
            "packet.src": lab.node.place.ip,
            "packet.dst": BEHIND,
            "original.src": lab.pod(WEB).ip,
        }
        check_fields(drop, expected)
        assert drop["ifname"].startswith("br-"), drop
        if field(drop, "netfilter.backend") == "nf_tables":  # Docker chooses which iptables it uses
            check_fields(drop, {"netfilter.table": "filter"})
            assert drop["netfilter"]["chain"].startswith("DOCKER-"), drop
        marker = lab.refused(
            lab.bed.worker.pods[WORKER_PODS[1].name].ip,
            client=lab.bed.worker.pods[WORKER_PODS[0].name],
        )
        theirs.wait_for_drop({"packet.sport": marker})
        drops = theirs.stop().drops()
        assert len(drops) == 1, drops


@case
def another_container_on_the_network_is_not_shown(lab: Lab) -> None:
    docker = lab.bed.host.docker
    with lab.trace() as trace:
        # A reset at the node, and a SYN to a service's address that dies at the host.
        to_node, to_service = f"{lab.node.place.ip}/{CLOSED}", "10.96.0.1/1"
        script = f": </dev/tcp/{to_node}; timeout 1 bash -c ': </dev/tcp/{to_service}'"
        shell = ("--entrypoint", "bash", IMAGE, "-c", script)
        with contextlib.suppress(Failed):
            docker("run", "--rm", "--net", NETWORK, *shell)
        marker = lab.refused(lab.pod(ICEBERG).ip)
        trace.wait_for_drop({"packet.sport": marker})
        drops = trace.stop().drops()
    if len(drops) != 1:
        raise Unexpected(f"others than the node's: {drops}")
