# SPDX-License-Identifier: GPL-2.0-only
"""Connection attempts: a SYN and its retransmissions are one attempt, counted."""

from pathlib import Path

from cases import Lab, case
from droptrace_runner import check_fields
from mini_node import POD_A, POD_B, WEB

# Since Linux 6.5 the first retransmissions come every second; before, each waits twice as long.
LINEAR_TIMEOUTS = Path("/proc/sys/net/ipv4/tcp_syn_linear_timeouts")
THREE_SYNS_S = 2.5 if LINEAR_TIMEOUTS.exists() else 3.5
GIVES_UP_MS = 131_000 if LINEAR_TIMEOUTS.exists() else 127_000


@case()
def three_syns_of_a_hanging_client_are_numbered(lab: Lab) -> None:
    lab.node.run("iptables-nft", "-P", "FORWARD", "DROP")
    connect = f"exec 3<>/dev/tcp/{WEB.cluster_ip}/{WEB.port}"
    in_pod = ["nsenter", f"--net=/run/netns/{POD_A.netns}", "--"]
    client = [*in_pod, "timeout", str(THREE_SYNS_S), "bash", "-c", connect]
    result = lab.droptrace("-o", "json", "--duration", "20s", "--", *client)

    assert result.status == 124, f"timeout(1) ends with 124, not {result.status}: {result.stderr}"
    drops = [drop for drop in result.drops() if drop["packet"].get("proto") == "tcp"]
    assert len(drops) == 3, drops
    for number, drop in enumerate(drops, start=1):
        expected = {
            "reason": "NETFILTER_DROP",
            "netns": lab.node.inum("node"),
            "packet.dst": POD_B.ip,
            "original.dst": WEB.cluster_ip,
            "original.dport": WEB.port,
            "attempt.syn": number,
            "attempt.dropped": number,
            "attempt.gives_up_ms": GIVES_UP_MS,
        }
        check_fields(drop, expected)
    ages = [drop["attempt"]["age_ms"] for drop in drops]
    assert ages[0] == 0 and ages[1] >= 900 and ages[2] >= ages[1] + 900, ages
    assert result.summary()["lost"] == 0, result.summary()


@case()
def attempts_from_one_pod_are_told_apart(lab: Lab) -> None:
    lab.node.run("iptables-nft", "-P", "FORWARD", "DROP")
    with lab.trace() as trace:
        for _ in range(3):
            with lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
                drop = trace.wait_for_drop({"packet.sport": dial.sport})
                check_fields(drop, {"attempt.syn": 1, "attempt.dropped": 1})
