# SPDX-License-Identifier: GPL-2.0-only
"""Names of pods: from the files that the node keeps of them, while pods come, go and come back."""

import os
import socket
import time
from collections.abc import Mapping

from cases import Lab, case
from droptrace_runner import Trace, Unexpected, check_fields
from mini_node import NODE_IP, POD_A, POD_B, WEB, Pod
from pod_state import RESULTS, PodState

GONE = {"dst_name": f"p/{POD_B.full_name}", "dst_gone": True}
NAMED_B = {"dst_name": f"p/{POD_B.full_name}", "dst_gone": None}
NOTICED_S = 10.0  # bounds a failure; it takes a fraction of a second


def forbid_forwarding(lab: Lab) -> None:
    """From now on a SYN from pod to pod dies in the node, whether or not there is such a pod."""
    lab.node.run("iptables-nft", "-P", "FORWARD", "DROP")


def wait_for_name(lab: Lab, trace: Trace, address: str, expected: Mapping[str, object]) -> dict:
    """Dials the address until the drop has these fields; returns it."""
    deadline = time.monotonic() + NOTICED_S
    while True:
        with lab.dial("podA", address, 8080) as dial:
            drop = trace.wait_for_drop({"packet.sport": dial.sport, "attempt.syn": 1})
        try:
            check_fields(drop, expected)
            return drop
        except Unexpected:
            if time.monotonic() > deadline:
                raise


@case()
def both_ends_of_a_packet_and_the_place_of_its_death_have_names(lab: Lab) -> None:
    with lab.trace() as trace:
        drop = trace.wait_for_drop({"packet.sport": lab.refused_dial()})
        place = {"where": POD_B.where, "ifname": "eth0", "peer": f"node/{POD_B.veth}"}
        names = {"src_name": f"p/{POD_A.full_name}", "dst_name": f"p/{POD_B.full_name}"}
        check_fields(drop, place | names)

        drop = trace.wait_for_drop({"packet.sport": lab.refused_dial(name="node")})
        check_fields(drop, {"src_name": f"node/{socket.gethostname()}", "src_class": "node"})


@case()
def names_are_of_the_packet_as_it_was_dropped(lab: Lab) -> None:
    forbid_forwarding(lab)
    with lab.trace() as trace, lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
        drop = trace.wait_for_drop({"packet.sport": dial.sport})
        check_fields(drop, {"packet.dst": POD_B.ip, "original.dst": WEB.cluster_ip} | NAMED_B)


@case()
def ipv6_addresses_have_names(lab: Lab) -> None:
    with lab.trace() as trace:
        drop = trace.wait_for_drop({"packet.sport": lab.refused_dial(POD_B.ip6)})
        check_fields(drop, {"src_name": f"p/{POD_A.full_name}"} | NAMED_B)


@case()
def an_address_of_a_deleted_pod_names_the_pod_and_says_that_it_is_gone(lab: Lab) -> None:
    forbid_forwarding(lab)
    with lab.trace() as trace:
        wait_for_name(lab, trace, POD_B.ip, NAMED_B)
        lab.node.remove_pod(POD_B)
        wait_for_name(lab, trace, POD_B.ip, GONE)


@case()
def text_says_that_a_pod_is_gone(lab: Lab) -> None:
    forbid_forwarding(lab)
    with lab.trace(output="text") as trace:
        lab.node.remove_pod(POD_B)
        deadline = time.monotonic() + NOTICED_S
        while True:
            with lab.dial("podA", POD_B.ip, 8080) as dial:
                line = trace.wait_for_line()
                while f"{POD_A.full_name}:{dial.sport}" not in line:
                    line = trace.wait_for_line()
            if f"{POD_B.full_name} (gone) {POD_B.ip}:8080" in line:
                return
            assert time.monotonic() < deadline, line


@case()
def a_pod_that_the_runtime_has_not_removed_yet_is_gone_with_its_address(lab: Lab) -> None:
    forbid_forwarding(lab)
    with lab.trace() as trace:
        wait_for_name(lab, trace, POD_B.ip, NAMED_B)
        POD_B.state.remove_attachment(lab.node.path("/"))
        lab.node.ip("podB", "addr flush dev eth0")
        wait_for_name(lab, trace, POD_B.ip, GONE)


@case()
def a_pod_created_again_under_its_name_has_it_at_its_new_address(lab: Lab) -> None:
    forbid_forwarding(lab)
    again = Pod("podB2", 9, "vethe5e5e5e5", POD_B.full_name)
    with lab.trace() as trace:
        lab.node.remove_pod(POD_B)
        lab.node.add_pod(again)
        wait_for_name(lab, trace, again.ip, NAMED_B)
        wait_for_name(lab, trace, POD_B.ip, GONE)


@case()
def an_address_given_to_another_pod_names_the_new_one(lab: Lab) -> None:
    forbid_forwarding(lab)
    heir = Pod("podD", POD_B.number, "vethd4d4d4d4", "default/heir")
    named = {"dst_name": "p/default/heir", "dst_gone": None}
    with lab.trace() as trace:
        lab.node.remove_pod(POD_B)
        wait_for_name(lab, trace, POD_B.ip, GONE)
        lab.node.add_pod(heir)
        wait_for_name(lab, trace, heir.ip, named)
        lab.node.remove_pod(heir)
        wait_for_name(lab, trace, heir.ip, named | {"dst_gone": True})


@case()
def files_that_outlived_a_restart_of_the_node_name_nobody(lab: Lab) -> None:
    forbid_forwarding(lab)
    unused = "10.244.0.77"
    for address in (POD_B.ip, unused):
        old = PodState("default", "of-old", (address,), "vethf6f6f6f6", "cni-of-old")
        old.write(lab.node.path("/run/elsewhere"))
        cache = f"{RESULTS}/kindnet-{old.sandbox}-eth0"
        lab.node.path(cache).write_bytes(lab.node.path(f"/run/elsewhere/{cache}").read_bytes())
    with lab.trace() as trace:
        wait_for_name(lab, trace, POD_B.ip, NAMED_B)
        wait_for_name(lab, trace, unused, {"dst_name": None})


@case()
def files_are_found_where_they_were_not_at_the_start(lab: Lab) -> None:
    forbid_forwarding(lab)
    results = lab.node.path(RESULTS)
    tasks = lab.node.path("/run/containerd")
    results.rename(results.with_name("hidden"))
    tasks.rename(tasks.with_name("hidden"))
    with lab.trace() as trace:
        wait_for_name(lab, trace, POD_B.ip, {"dst_name": None, "src_name": None})
        results.with_name("hidden").rename(results)
        wait_for_name(lab, trace, POD_B.ip, NAMED_B)


@case()
def containerd_alone_is_enough(lab: Lab) -> None:
    for path in lab.node.path(RESULTS).iterdir():
        path.unlink()
    with lab.trace() as trace:
        drop = trace.wait_for_drop({"packet.sport": lab.refused_dial()})
        check_fields(drop, {"where": POD_B.where} | NAMED_B)


@case()
def hostile_names_and_files_harm_neither_output(lab: Lab) -> None:
    hostile = Pod("podD", 8, "vethd4d4d4d4", 'de"fa\n/\x1b]0;x\x07\x9b2J\u202e' + 150 * "x")
    state = hostile.state
    lab.node.add_pod(hostile)
    results = lab.node.path(RESULTS)
    os.mkfifo(results / "kindnet-fifo-eth0")
    (results / "kindnet-deep-eth0").write_text("[" * 500_000)
    (results / "kindnet-latin-eth0").write_bytes(b'{"kind":"cniCacheV1\xff"}')
    with (results / "kindnet-huge-eth0").open("wb") as huge:
        huge.truncate(1 << 40)
    with lab.trace() as trace:
        drop = trace.wait_for_drop({"packet.sport": lab.refused_dial(hostile.ip)})
        check_fields(drop, {"where": f"pod:{state.space}/{state.name}"})
        check_fields(drop, {"dst_name": f"p/{state.space}/{state.name}"})
        stderr = trace.stop().stderr
    assert "4 files about pods cannot be used" in stderr, stderr
    with lab.trace(output="text") as trace:
        lab.refused_dial(hostile.ip)
        text = trace.wait_for_line() + trace.wait_for_line()
    assert f" {hostile.ip}:8080" in text and "NO_SOCKET" in text, text
    assert all(len(line) <= 120 and line.isprintable() for line in text.splitlines()), text


@case()
def no_names_shows_addresses_only(lab: Lab) -> None:
    with lab.trace("-n", output="text") as trace:
        sport = lab.refused_dial()
        first, place = trace.wait_for_line(), trace.wait_for_line()
    assert f"{POD_A.ip}:{sport} → {POD_B.ip}:8080" in first, first
    assert f"netns:{lab.node.inum('podB')} eth0 ⇄ node/{POD_B.veth}" in place, place


@case()
def pod_of_another_node_has_its_address_and_the_node_that_the_route_names(lab: Lab) -> None:
    forbid_forwarding(lab)
    lab.node.ip("node", "route add 10.244.1.0/24 via 172.18.0.9")
    with lab.trace(output="text") as trace, lab.dial("podA", "10.244.1.6", 8080):
        line = trace.wait_for_line()
    assert "→ 10.244.1.6:8080 (node/172.18.0.9)" in line, line
    assert NODE_IP not in line, line
