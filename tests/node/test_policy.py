# SPDX-License-Identifier: GPL-2.0-only
"""The user's case: a connection to a service hangs as a NetworkPolicy forbids it."""

import socket

import namespaces
from droptrace_runner import check_fields
from network_policy import QUEUE
from node_lab import Lab, case
from pods import ICEBERG, KINDNET, PROMETHEUS, WEB
from traffic import CONNECTED, PENDING, listening

DENIED = {
    "type": "drop",
    "reason": "NOT_SPECIFIED",
    "where": "node",
    "service": ICEBERG.service,
    "src_name": f"p/{WEB.name}",
    "dst_name": f"p/{ICEBERG.name}",
    "original.dst": ICEBERG.cluster_ip,
    "original.dport": ICEBERG.port,
    "packet.dport": ICEBERG.target_port,
    "comm": "kindnetd",
    "netfilter.backend": "nfqueue",
    "netfilter.hook": "postrouting",
    "netfilter.verdict": "drop",
    "netfilter.queue": QUEUE,
    "netfilter.queue_owner": "kindnetd",
    "netfilter.bypass": True,
}


@case
def a_denied_connection_is_named_with_pods_service_queue_and_judge(lab: Lab) -> None:
    web, iceberg, prometheus = lab.pod(WEB), lab.pod(ICEBERG), lab.pod(PROMETHEUS)
    policy = lab.node.policy.deny_ingress([iceberg], lab.pod(KINDNET), allowed=[prometheus])
    with listening(iceberg.netns, ICEBERG.target_port), policy:
        with lab.trace("--syn") as trace, lab.trace("--syn", output="text") as text:
            drop = lab.check_dial(trace, ICEBERG.cluster_ip, ICEBERG.port, DENIED)
            assert drop["peer"] == f"pod:{ICEBERG.name}/eth0", drop
            lab.dial_until_shown(
                text,
                ICEBERG.cluster_ip,
                ICEBERG.port,
                f"  {WEB.name}:",
                f" → iceberg-rest:http ({ICEBERG.cluster_ip}:{ICEBERG.port}) → iceberg-0 ",
                f"NFQUEUE {QUEUE} verdict by kindnetd",
            )

            # A try hangs, and the log counts its SYNs.
            with lab.dial(web, ICEBERG.cluster_ip, ICEBERG.port) as dial:
                for number in (1, 2):
                    drop = lab.drop_of(trace, dial)
                    check_fields(drop, DENIED | {"attempt.syn": number})
                assert dial.outcome() == PENDING, dial.outcome()

            # Whom the policy allows, gets through; and so does the node itself.
            with lab.dial(prometheus, ICEBERG.cluster_ip, ICEBERG.port) as dial:
                assert dial.outcome(timeout=5) == CONNECTED, dial.outcome()
            with namespaces.network(lab.node.namespace):
                address = (ICEBERG.cluster_ip, ICEBERG.port)
                with socket.create_connection(address, timeout=5):
                    pass
            drops = [d for d in trace.stop().drops() if d["src_name"] != f"p/{WEB.name}"]
            assert not drops, drops
