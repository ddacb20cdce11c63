# SPDX-License-Identifier: GPL-2.0-only
"""droptrace check: what it says of a healthy node, and of one that is broken in several ways."""

import json

import droptrace_runner
from cases import Lab, case
from mini_node import POD_A, POD_B
from rule_checks import nft
from test_queues import agent, queue_new_connections

STATE = "state that kills traffic"


def check(lab: Lab, *options: str) -> tuple[int, dict]:
    result = lab.droptrace("check", "-o", "json", *options)
    assert result.stdout.endswith("\n"), result
    return result.status, json.loads(result.stdout)


def ids(report: dict, level: str) -> set[str]:
    """What is wrong with the node, or worth a word."""
    return {each["id"] for each in report["sections"][STATE] if each["level"] == level}


@case("nft", "legacy")
def a_healthy_node(lab: Lab) -> None:
    before = lab.node.run("nft", "-s", "-a", "list", "ruleset")
    status, report = check(lab)
    assert status == 0 and not ids(report, "fail") and not ids(report, "warn"), report
    assert list(report["sections"]) == ["kernel", "programs", "engines", "node", STATE], report
    programs = {each["id"]: each["fact"] for each in report["sections"]["programs"]}
    assert programs["dt_drop"] == programs["dt_path_transmit"] == "attached", programs
    facts = {each["id"]: each["fact"] for each in report["sections"]["node"]}
    assert "10.96.0.0/16" in facts["service-cidr"] and "kubeadm.conf" in facts["pod-cidr"], facts
    assert lab.node.run("nft", "-s", "-a", "list", "ruleset") == before


@case()
def a_node_broken_in_several_ways(lab: Lab) -> None:
    lab.node.run("iptables-nft", "-P", "FORWARD", "DROP")
    lab.node.write_sysctl("node", "net.ipv4.ip_forward", "0")
    lab.node.write_sysctl("node", "net.ipv4.conf.all.arp_ignore", "2")
    lab.node.ip(POD_A.name, "link set eth0 down")
    lab.node.ip("node", "route del default")
    queue_new_connections(lab)
    nft(lab, "table inet droptrace { chain late { }; }")
    status, report = check(lab)
    assert status == 3, (status, report)
    assert ids(report, "fail") == {
        "arp-ignore",
        "default-route",
        "forward-policy",
        "ip-forward",
        "nfqueue-listener",
        "pod-interface",
    }, report
    assert ids(report, "warn") == {"left-over-table"}, report
    assert all("advice" in each for each in report["sections"][STATE] if each["level"] == "fail")

    text = lab.droptrace("check").stdout
    assert f"eth0 of netns:{POD_A.netns} is down" in text, text
    assert "→ sysctl -w net.ipv4.ip_forward=1" in text, text


@case()
def rules_of_legacy_iptables_beside_those_of_kube_proxy(lab: Lab) -> None:
    drop = f"-A FORWARD -d {POD_B.ip} -j DROP"
    lab.node.run("iptables-legacy", *drop.split())
    status, report = check(lab)
    assert status == 0 and ids(report, "warn") == {"iptables-backends"}, report


@case()
def a_queue_with_a_listener(lab: Lab) -> None:
    queue_new_connections(lab)
    with agent(lab, "accept"):
        status, report = check(lab)
    assert status == 0 and not ids(report, "warn"), report


@case()
def privileges_are_missing(lab: Lab) -> None:
    command = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", str(lab.binary), "check")
    result = droptrace_runner.run(lab.node, command)
    assert result.status == 4 and "missing CAP_BPF" in result.stdout, result


@case()
def check_is_a_command_only_as_the_first_word(lab: Lab) -> None:
    assert lab.droptrace("--duration", "1ms", "host", "1.2.3.4").status == 0
    assert lab.droptrace("host", "1.2.3.4", "--duration").status == 2
    assert lab.droptrace("check", "--no-such-option").status == 2
    assert lab.droptrace("check", "--help").status == 0
