# SPDX-License-Identifier: GPL-2.0-only
"""droptrace probe: the way of one SYN, and where it dies."""

import datetime
import json
import socket
import threading

import namespaces
from cases import Lab, case
from droptrace_runner import Unexpected, check_fields
from mini_node import NODE_IP, POD_A, POD_B, WEB, WEB6
from test_unanswered import full_listener
from traffic import listening

ANSWERED, DIED = 0, 3
FROM_A = ("--from", POD_A.where)


def probe(lab: Lab, status: int, *options: str) -> dict:
    result = lab.droptrace("probe", "-o", "json", *options)
    if result.status != status:
        raise Unexpected(f"ended with {result.status}: {result.stdout}{result.stderr}")
    return json.loads(result.stdout)


def places(record: dict, *, hooks: bool = False) -> list[tuple[str, str, str]]:
    """Where the SYN has passed; with hooks those of netfilter, too, which not all kernels tell."""
    return [
        (hop["where"], hop["ifname"], hop["event"])
        for hop in record["path"]
        if "packet" in hop
        and hop["packet"]["tcp_flags"] == "S"
        and (hooks or hop["event"] in ("xmit", "receive"))
    ]


A_TO_B = [
    (POD_A.where, "eth0", "xmit"),
    ("node", POD_A.veth, "receive"),
    ("node", POD_B.veth, "xmit"),
    (POD_B.where, "eth0", "receive"),
]


@case()
def healthy_ways_are_shown_from_end_to_end(lab: Lab) -> None:
    with listening(lab.node.namespace("podB"), 8080):
        record = probe(lab, ANSWERED, *FROM_A, "default/web")
        expected = {"outcome": "answered", "service": "default/web:http", "cause": None}
        check_fields(record, expected)
        sent = datetime.datetime.fromisoformat(record["time"][:19] + "+00:00")
        assert abs(datetime.datetime.now(datetime.UTC) - sent) < datetime.timedelta(minutes=1)
        assert places(record) == A_TO_B, places(record)
        assert "DNAT to 10.244.0.6:8080" in [hop.get("note") for hop in record["path"]], record
        for to in (f"{POD_B.ip}:8080", f"[{POD_B.ip6}]:8080", f"pod:{POD_B.full_name}:8080"):
            assert places(probe(lab, ANSWERED, *FROM_A, to)) == A_TO_B
        v6 = probe(lab, ANSWERED, *FROM_A, f"[{WEB6.cluster_ip}]:80")
        assert places(v6) == A_TO_B, v6
        for to in (f"{WEB.cluster_ip}:80", f"{POD_B.ip}:8080", f"{NODE_IP}:{WEB.node_port}"):
            record = probe(lab, ANSWERED, to)
            assert places(record) == A_TO_B[2:], (to, record)
        text = lab.droptrace("probe", *FROM_A, "default/web")
        lines = text.stdout.splitlines()
        assert lines[-1].startswith(f"answered: by {POD_B.where} at {POD_B.ip}:8080"), lines


@case()
def full_accept_queue_is_told(lab: Lab) -> None:
    with full_listener(lab, "podB", 8080):
        record = probe(lab, DIED, *FROM_A, "default/web")
        check_fields(record, {"outcome": "unanswered", "cause": "accept-queue-full"})
        assert places(record) == A_TO_B, places(record)


@case()
def service_without_rules_leaks_to_the_host(lab: Lab) -> None:
    lab.node.run("iptables-nft", "-t", "nat", "-F")
    record = probe(lab, DIED, *FROM_A, f"{WEB.cluster_ip}:80")
    check_fields(record, {"cause": "no-service-rule"})
    assert record["explanation"].count("left the node") == 1, record


@case()
def port_that_the_service_does_not_have_is_told(lab: Lab) -> None:
    record = probe(lab, DIED, *FROM_A, f"{WEB.cluster_ip}:81")
    check_fields(record, {"cause": "service-port-unknown"})
    assert "default/web has no port 81, only 80" in record["explanation"], record


@case()
def dead_address_leaks_to_the_host(lab: Lab) -> None:
    record = probe(lab, DIED, *FROM_A, "10.244.0.99:8080")
    check_fields(record, {"cause": "dead-endpoint"})
    assert ("node", "eth0", "xmit") in places(record), record


@case()
def refusal_says_who_refused(lab: Lab) -> None:
    record = probe(lab, DIED, *FROM_A, f"{POD_B.ip}:9")
    check_fields(record, {"outcome": "rejected", "where": POD_B.where})
    assert f"a reset from {POD_B.where}/eth0" in record["explanation"], record


@case()
def drop_says_which_rule(lab: Lab) -> None:
    lab.node.run("iptables-nft", "-I", "FORWARD", "-d", POD_B.ip, "-j", "DROP")
    record = probe(lab, DIED, *FROM_A, f"{POD_B.ip}:8080")
    check_fields(record, {"outcome": "dropped", "where": "node"})
    assert "FORWARD: " in record["explanation"], record
    assert places(record) == A_TO_B[:2], record


def answer_once(server: socket.socket) -> None:
    query, client = server.recvfrom(512)
    server.sendto(query, client)


@case()
def udp_is_answered_refused_or_dropped(lab: Lab) -> None:
    udp = ("--udp", *FROM_A)
    with namespaces.network(lab.node.namespace("podB")):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server:
        server.bind(("", 53))
        thread = threading.Thread(target=answer_once, args=(server,), daemon=True)
        thread.start()
        record = probe(lab, ANSWERED, *udp, POD_B.ip)
        thread.join()
        check_fields(record, {"outcome": "answered", "dst": f"{POD_B.ip}:53", "cause": None})
        silent = probe(lab, DIED, *udp, "--timeout", "300ms", f"pod:{POD_B.full_name}:53")
        check_fields(silent, {"outcome": "unanswered", "cause": "not-answered"})
    refused = probe(lab, DIED, *udp, POD_B.ip)
    check_fields(refused, {"outcome": "rejected", "where": POD_B.where})
    assert "NO_SOCKET" in refused["explanation"], refused
    lab.node.run(*f"iptables-nft -I FORWARD -p udp -d {POD_B.ip} -j DROP".split())
    dropped = probe(lab, DIED, *udp, "--timeout", "500ms", POD_B.ip)
    check_fields(dropped, {"outcome": "dropped", "cause": "dropped", "where": "node"})
    assert "FORWARD" in dropped["explanation"], dropped
    text = lab.droptrace("probe", *udp, "--timeout", "500ms", POD_B.ip).stdout.splitlines()
    assert "(UDP)" in text[0] and text[-1].startswith("dropped: NETFILTER_DROP at node/"), text


@case()
def wrong_targets_are_refused(lab: Lab) -> None:
    for to, status in (("nowhere", 2), ("pod:default/none:80", 1)):
        result = lab.droptrace("probe", to)
        assert result.status == status and to in result.stderr, result
