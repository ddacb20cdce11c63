# SPDX-License-Identifier: GPL-2.0-only
"""Rule sets that change while packets are dropped: a name may be missing, never wrong."""

import contextlib
import itertools
import os
import shutil
import signal
import time
import unittest.mock
from collections.abc import Iterator
from pathlib import Path

from cases import Lab, Skip, case
from droptrace_runner import Trace, Unexpected, check_fields
from mini_node import POD_B, Pod
from node_rules import repeating
from rule_checks import (
    FORWARD,
    NAMES,
    PLACE,
    check_named,
    check_not_wrong,
    firewall,
    iptables,
    rule_of_port,
)

POD_D = Pod("podD", 8, "vethd4d4d4d4")
DIALS = 30
STEP_S = 0.01


def wait_until_watched(lab: Lab, trace: Trace, pod: Pod) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        named = {"packet.sport": lab.refused_dial(pod.ip), "where": pod.where}
        with contextlib.suppress(Unexpected):
            return trace.wait_for_drop(named, timeout=0.3)
    raise Unexpected(f"no drop in {pod.where} was shown within 10 s")


def drop_of_dial(lab: Lab, trace: Trace, port: int) -> dict:
    with lab.dial("podA", POD_B.ip, port) as dial:
        return trace.wait_for_drop({"packet.sport": dial.sport})


@case()
def a_pod_made_after_the_start(lab: Lab) -> None:
    with lab.trace() as trace:
        lab.node.add_pod(POD_D)
        wait_until_watched(lab, trace, POD_D)
        check_named(lab, trace, firewall(lab, POD_D, "late"), 8081, POD_D.ip)


def remove_pod(lab: Lab, pod: Pod) -> None:
    """Ends a pod's only process and takes its namespace's name; waits until the kernel is done."""
    process = int(lab.node.namespace(pod.name).parts[2])
    lab.node.run("ip", "netns", "del", pod.netns)
    os.kill(process, signal.SIGKILL)
    while pod.veth in lab.node.run("ip", "-o", "link"):
        time.sleep(STEP_S)


@case()
def a_pod_with_the_namespace_number_of_a_former_one(lab: Lab) -> None:
    # Same number, same handles, same generation of rules: only the namespace itself is another.
    inums = []
    with lab.trace() as trace:
        for name in ("first", "second", "third", "fourth"):
            lab.node.add_pod(POD_D)
            inums.append(lab.node.inum("podD"))
            wait_until_watched(lab, trace, POD_D)
            check_named(lab, trace, firewall(lab, POD_D, name), 8081, POD_D.ip)
            remove_pod(lab, POD_D)
    if len(set(inums)) == len(inums):
        raise Skip(f"the kernel gave no number twice: {inums}")


@case()
def a_rule_deleted_right_after_the_drop(lab: Lab) -> None:
    iptables(lab, '-A FORWARD -p tcp --dport 8081 -m comment --comment "gone" -j DROP')
    rule = rule_of_port(lab, 8081)
    with lab.trace() as trace:
        check_named(lab, trace, FORWARD | rule.fields(), 8081)  # its text has been read
        with lab.dial("podA", POD_B.ip, 8081) as dial:
            lab.node.run("iptables-nft", "-D", "FORWARD", str(rule.number))
            drop = trace.wait_for_drop({"packet.sport": dial.sport})
        missing = check_not_wrong(drop, FORWARD | rule.fields())
        assert PLACE.issuperset(missing), (missing, drop)


@case()
def a_rule_that_never_was_seen_in_a_list(lab: Lab) -> None:
    with lab.trace() as trace:
        iptables(lab, "-A FORWARD -p tcp --dport 8081 -j DROP")
        rule = rule_of_port(lab, 8081)
        with lab.dial("podA", POD_B.ip, 8081) as dial:
            lab.node.run("iptables-nft", "-D", "FORWARD", str(rule.number))
            drop = trace.wait_for_drop({"packet.sport": dial.sport})
        check_not_wrong(drop, FORWARD | rule.fields())


@case()
def a_rule_put_in_front_moves_the_number(lab: Lab) -> None:
    iptables(lab, ":MINE", "-A FORWARD -j MINE", "-A MINE -p tcp --dport 8081 -j DROP")
    with lab.trace() as trace:
        for _ in range(DIALS):
            rule = rule_of_port(lab, 8081)
            drop = drop_of_dial(lab, trace, 8081)
            check_not_wrong(drop, FORWARD | rule.fields("FORWARD"))
            lab.node.run(*"iptables-nft -I MINE -p udp -j ACCEPT".split())


@case()
def an_unrelated_chain_is_rewritten_over_and_over(lab: Lab) -> None:
    iptables(lab, ":MINE", "-A FORWARD -j MINE", "-A MINE -p tcp --dport 8081 -j DROP")
    rule = rule_of_port(lab, 8081)
    numbers = itertools.count()

    def rewrite() -> None:
        service = f"-A KUBE-CHURN -d 10.96.{next(numbers) % 256}.9 -j REJECT"
        iptables(lab, ":KUBE-CHURN", service, service)

    with lab.trace() as trace, repeating(rewrite):
        check_named(lab, trace, FORWARD | rule.fields("FORWARD"), 8081)
        for _ in range(DIALS):
            drop = drop_of_dial(lab, trace, 8081)
            missing = check_not_wrong(drop, FORWARD | rule.fields("FORWARD"))
            assert PLACE.issuperset(missing), (missing, drop)


TOOLS = "/run/tools"
SLOW_TOOLS = {
    "nft": f'until [ -e {TOOLS}/go ]; do sleep 0.02; done; exec "$real" "$@"',
    "iptables-nft-save": f'"$real" "$@"; status=$?; : >{TOOLS}/saved; exit $status',
}


@contextlib.contextmanager
def slow_tools(lab: Lab) -> Iterator[Path]:
    """What is started meanwhile finds an nft that waits for the file "go", and an
    iptables-nft-save that makes the file "saved" when it is done."""
    directory = lab.node.path(TOOLS)
    directory.mkdir()
    for name, script in SLOW_TOOLS.items():
        tool = directory / name
        tool.write_text(f"#!/bin/sh\nreal={shutil.which(name)}\n{script}\n")
        tool.chmod(0o755)
    with unittest.mock.patch.dict(os.environ, PATH=f"{TOOLS}:{os.environ['PATH']}"):
        yield directory


@case()
def rules_that_change_places_while_their_text_is_read(lab: Lab) -> None:
    # What iptables-nft-save printed is of the old order, what nft is about to list of the new one.
    lines = [f"-A MINE -p tcp --dport {port} -j DROP" for port in (8081, 8082)]
    iptables(lab, ":MINE", "-A FORWARD -j MINE", *lines)
    with contextlib.ExitStack() as stack:
        with slow_tools(lab) as directory:
            trace = stack.enter_context(lab.trace())
        drop_of_dial(lab, trace, 8081)  # its rule's text is wanted
        deadline = time.monotonic() + 2
        while not (directory / "saved").exists() and time.monotonic() < deadline:
            time.sleep(STEP_S)  # it never comes if nft has to be done first
        iptables(lab, ":MINE", *reversed(lines))
        drop_of_dial(lab, trace, 8081)  # now the new handles have been seen, too
        (directory / "go").touch()
        for port in (8081, 8082):
            check_named(lab, trace, FORWARD | rule_of_port(lab, port).fields("FORWARD"), port)


@case()
def without_names_there_are_handles(lab: Lab) -> None:
    iptables(lab, '-A FORWARD -p tcp --dport 8081 -m comment --comment "why" -j DROP')
    rule = rule_of_port(lab, 8081)
    with lab.trace("-n") as trace, lab.dial("podA", POD_B.ip, 8081) as dial:
        drop = trace.wait_for_drop({"packet.sport": dial.sport})
        check_fields(drop, FORWARD | rule.fields() | dict.fromkeys(NAMES))
