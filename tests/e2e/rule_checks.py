# SPDX-License-Identifier: GPL-2.0-only
"""Loads rules into a lab and checks that drops are led back to them."""

import time

from cases import Lab
from droptrace_runner import Trace, Unexpected, check_fields, field
from mini_node import POD_B, Pod
from node_rules import Rule, find_rule
from patience import PATIENCE

DROP = {"type": "drop", "netfilter.verdict": "drop"}
REJECT = {"type": "reject", "netfilter.verdict": "reject"}
FORWARD = DROP | {"where": "node", "netfilter.hook": "forward"}

# They may be missing right after a change of the rules: the text is read in the background, and
# where a rule stands is not said of a list that is out of date.
NAMES = tuple(
    f"netfilter.{name}" for name in ("table", "chain", "rule_number", "rule", "comment", "path")
)
PLACE = frozenset(("netfilter.rule_number", "netfilter.path"))
NAMED_S = 10.0 * PATIENCE  # then they must be there


def iptables(lab: Lab, *lines: str, program: str = "iptables-nft") -> None:
    """Adds to the table filter; a line is ":CHAIN" or the options of a rule."""
    lines = [f"{line} - [0:0]" if line.startswith(":") else line for line in lines]
    restore = f"{program}-restore"
    lab.node.run(restore, "--noflush", stdin="\n".join(["*filter", *lines, "COMMIT\n"]))


def nft(lab: Lab, script: str, namespace: str = "node") -> None:
    lab.node.run_in(namespace, "nft", "-f", "-", stdin=script)


def check_not_wrong(drop: dict, expected: dict[str, object]) -> list[str]:
    """All fields must be right, but names may be missing. Returns the missing ones."""
    missing = [name for name in NAMES if field(drop, name) is None and expected[name] is not None]
    check_fields(drop, {key: value for key, value in expected.items() if key not in missing})
    return missing


def check_named(
    lab: Lab,
    trace: Trace,
    expected: dict[str, object],
    port: int,
    address: str = POD_B.ip,
    client: str = "podA",
) -> None:
    """Dials and checks the drop of the SYN; again as long as names are missing."""
    deadline = time.monotonic() + NAMED_S
    while time.monotonic() < deadline:
        with lab.dial(client, address, port) as dial:
            drop = trace.wait_for_drop({"packet.sport": dial.sport})
        missing = check_not_wrong(drop, expected)
        if not missing:
            return
    raise Unexpected(f"still missing: {', '.join(missing)}\n{drop}")


def rule_of_port(lab: Lab, port: int, namespace: str = "node") -> Rule:
    return find_rule(lab.node, f"dport {port} ", namespace)


def firewall(lab: Lab, pod: Pod, name: str) -> dict[str, object]:
    """Loads a firewall into a pod; returns the JSON fields of what it drops."""
    rule = f'type filter hook input priority 0; tcp dport 8081 drop comment "of {name}"'
    nft(lab, f"table inet {name} {{ chain {name} {{ {rule}; }}; }}", pod.name)
    place = DROP | {"netfilter.hook": "input", "where": pod.where, "ifname": "eth0"}
    return place | rule_of_port(lab, 8081, pod.name).fields()
