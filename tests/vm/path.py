#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Shows that connection attempts are followed through netfilter's hooks, where fexit is allowed.

For a virtual machine (see run.sh). One mini node serves all checks, as it takes long to build there.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("DROPTRACE_TEST_PATIENCE", "10")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import test_probe as probe
import test_unanswered as unanswered
from cases import Lab
from droptrace_runner import check_fields
from mini_node import POD_A, POD_B, WEB, MiniNode
from traffic import listening

# A SYN that DNAT sends to podB. Some kernels have hooks in the pods, too, where there are no rules.
WAY = [
    (POD_A.where, "eth0", "xmit"),
    ("node", POD_A.veth, "receive"),
    ("node", POD_A.veth, "prerouting"),
    ("node", POD_A.veth, "forward"),
    ("node", POD_B.veth, "postrouting"),
    ("node", POD_B.veth, "xmit"),
    (POD_B.where, "eth0", "receive"),
]


def way_of(record: dict) -> list[tuple[str, str, str]]:
    places = probe.places(record, hooks=True)
    return [place for place in places if place[0] == "node" or place[2] in ("xmit", "receive")]


def check_healthy_way(lab: Lab) -> None:
    with listening(lab.node.namespace("podB"), 8080):
        record = probe.probe(lab, probe.ANSWERED, *probe.FROM_A, f"{WEB.cluster_ip}:80")
    assert way_of(record) == WAY, record
    entered = next(hop for hop in record["path"] if hop["event"] == "prerouting")
    check_fields(entered, {"where": "node", "note": f"DNAT to {POD_B.ip}:8080"})
    print("passed: a healthy way, hook by hook", flush=True)


def check_full_accept_queue(lab: Lab) -> None:
    with unanswered.full_listener(lab, "podB", 8080):
        record = probe.probe(lab, probe.DIED, *probe.FROM_A, f"{WEB.cluster_ip}:80")
    check_fields(record, {"outcome": "unanswered", "cause": "accept-queue-full"})
    assert way_of(record) == WAY, record
    print("passed: a full accept queue", flush=True)


def check_stalled_queue(lab: Lab) -> None:
    unanswered.queue_new_connections(lab)
    with unanswered.agent(lab, "stall"), lab.trace("-v") as trace:
        with lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
            record = unanswered.wait_for(trace, "unanswered", {"packet.sport": dial.sport})
        summary = trace.stop().summary()
    check_fields(summary, {"programs.dt_path_hook": "attached", "lost": 0})
    check_fields(record, {"cause": "nfqueue-stalled", "where": "node", "ifname": POD_A.veth})
    assert "behind its forward hook" in record["explanation"], record
    assert way_of(record) == WAY[:4], record
    print("passed: a stalled queue behind the forward hook", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path, help="the droptrace under test")
    arguments = parser.parse_args()
    subprocess.run(["modprobe", "-a", "nfnetlink_queue"], check=True)
    with MiniNode() as node:
        lab = Lab(node, arguments.binary.resolve())
        check_healthy_way(lab)
        check_full_accept_queue(lab)
        check_stalled_queue(lab)


if __name__ == "__main__":
    main()
