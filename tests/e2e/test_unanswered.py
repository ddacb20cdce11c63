# SPDX-License-Identifier: GPL-2.0-only
"""Attempts that die although nothing drops their packets: they are unanswered, and the log says
where they were seen last and why, if that can be told."""

import contextlib
import socket
import time
from collections.abc import Iterator

import namespaces
from cases import Lab, case
from droptrace_runner import Result, Trace, check_fields, parse_line
from mini_node import POD_A, POD_B, WEB
from patience import PATIENCE
from rule_checks import nft
from test_recording import IN_NODE, copied_out, need, replayed, tshark_rows
from test_queues import agent, queue_new_connections
from traffic import CONNECTED, PENDING, Dial, listening

UNANSWERED_S = 8 * PATIENCE


def wait_for(trace: Trace, kind: str, expected: dict, timeout: float = UNANSWERED_S) -> dict:
    """The next record of that type that has these fields."""
    deadline = time.monotonic() + timeout
    while True:
        record = parse_line(trace.wait_for_line(deadline - time.monotonic()))
        if record["type"] != kind:
            continue
        with contextlib.suppress(AssertionError):
            check_fields(record, expected)
            return record


def attempts(result: Result) -> list[dict]:
    return [line for line in result.records() if line["type"] in ("unanswered", "answered")]


@contextlib.contextmanager
def full_listener(lab: Lab, pod: str, port: int) -> Iterator[None]:
    """A server that accepts nobody, and whose accept queue is full."""
    with contextlib.ExitStack() as stack:
        with namespaces.network(lab.node.namespace(pod)):
            server = stack.enter_context(
                socket.create_server(
                    ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=0
                )
            )
        with server:
            dial = stack.enter_context(lab.dial("podC", POD_B.ip, port))
            assert dial.outcome(5) == CONNECTED
            yield


@case()
def full_accept_queue_is_told_by_the_pods_counters(lab: Lab) -> None:
    with full_listener(lab, "podB", 8080), lab.trace() as trace:
        with lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
            record = wait_for(trace, "unanswered", {"packet.sport": dial.sport})
            assert dial.outcome() == PENDING
        expected = {
            "cause": "accept-queue-full",
            "where": POD_B.where,
            "ifname": "eth0",
            "packet.dst": POD_B.ip,
            "original.dst": WEB.cluster_ip,
            "service": "default/web:http",
        }
        check_fields(record, expected)
        assert f"conntrack has it, towards {POD_B.ip}:8080: it has passed" in record["explanation"]
        places = [(hop["where"], hop["ifname"], hop["event"]) for hop in record["path"]]
        assert places == [
            (POD_A.where, "eth0", "xmit"),
            ("node", POD_A.veth, "receive"),
            ("node", POD_B.veth, "xmit"),
            (POD_B.where, "eth0", "receive"),
        ], places
        assert len(attempts(trace.stop())) == 1


@case()
def pod_without_a_route_back_is_told_by_its_counters(lab: Lab) -> None:
    lab.node.ip("podB", "route del default", "route del 10.244.0.0/24")
    with listening(lab.node.namespace("podB"), 8080), lab.trace() as trace:
        with lab.dial("podA", POD_B.ip, 8080) as dial:
            record = wait_for(trace, "unanswered", {"packet.sport": dial.sport})
        check_fields(record, {"cause": "no-route-back", "where": POD_B.where, "ifname": "eth0"})


@case()
def synack_dropped_in_the_clients_namespace_is_a_drop(lab: Lab) -> None:
    rules = "add table ip t; add chain ip t i { type filter hook input priority 0; }"
    lab.node.run_in("podA", "nft", f"{rules}; add rule ip t i tcp sport 8080 drop")
    with listening(lab.node.namespace("podB"), 8080), lab.trace("-v") as trace:
        with lab.dial("podA", POD_B.ip, 8080) as dial:
            drop = trace.wait_for_drop({"packet.dport": dial.sport, "packet.tcp_flags": "S."})
            check_fields(drop, {"where": POD_A.where, "netfilter.chain": "i"})
            assert [hop["event"] for hop in drop["path"]] == ["xmit", "receive"] * 4, drop
            time.sleep(4)
            assert dial.outcome() == PENDING
        assert not attempts(trace.stop())


@case()
def synack_that_takes_a_wrong_turn_is_seen_last_there(lab: Lab) -> None:
    # Into a namespace that is not watched: nothing is seen to drop it.
    pair = f"link add wrong type veth peer name turn netns {lab.node.pid('ext')}"
    lab.node.ip("node", pair, "link set wrong up")
    lab.node.ip("ext", "link set turn up")
    turn = "type filter hook ingress device vethb2b2b2b2 priority 0; tcp sport 8080 fwd to wrong"
    nft(lab, f"table netdev t {{ chain i {{ {turn}; }}; }}")
    with listening(lab.node.namespace("podB"), 8080), lab.trace() as trace:
        with lab.dial("podA", POD_B.ip, 8080) as dial:
            record = wait_for(trace, "unanswered", {"original.sport": None, "cause": "syn-ack-lost"})
            assert dial.outcome() == PENDING
    check_fields(record, {"where": "node", "ifname": "wrong", "packet.tcp_flags": "S."})
    assert record["path"][-1]["event"] == "xmit", record["path"]


@case()
def stalled_queue_is_named_with_its_owner(lab: Lab) -> None:
    queue_new_connections(lab)
    with agent(lab, "stall"), lab.trace() as trace:
        with lab.dial("podA", POD_B.ip, 8080) as dial:
            record = wait_for(trace, "unanswered", {"packet.sport": dial.sport})
        check_fields(record, {"cause": "nfqueue-stalled", "where": "node", "ifname": POD_A.veth})
        assert "NFQUEUE 101 of that namespace holds" in record["explanation"], record
        assert "conntrack has no entry of it" in record["explanation"], record


@case()
def attempt_that_is_answered_after_all_is_reported_so(lab: Lab) -> None:
    lab.node.ip("podB", "route del default", "route del 10.244.0.0/24")
    with listening(lab.node.namespace("podB"), 8080), lab.trace("--unanswered-after", "1s") as trace:
        with lab.dial("podA", POD_B.ip, 8080) as dial:
            wait_for(trace, "unanswered", {"packet.sport": dial.sport})
            lab.node.ip("podB", "route add default via 10.244.0.1")
            record = wait_for(trace, "answered", {"original.sport": None})
            assert dial.outcome(5) == CONNECTED
        assert record["attempt"]["syn"] > 1, record


@case()
def hang_that_began_before_the_log_is_reported(lab: Lab) -> None:
    with full_listener(lab, "podB", 8080), lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
        with lab.trace() as trace:
            record = wait_for(trace, "unanswered", {"packet.sport": dial.sport}, 20)
        # Whether the counters move once more depends on when the next SYN is due.
        check_fields(record, {"where": POD_B.where, "original.dst": WEB.cluster_ip})
        assert "1 connection waits at port 8080" in record["explanation"], record


@case()
def unanswered_attempt_is_recorded_replayed_and_reported(lab: Lab) -> None:
    options = ("-w", IN_NODE, "--report", "/run/live.md", "--expect-drop", "cause=no-route-back")
    lab.node.ip("podB", "route del default", "route del 10.244.0.0/24")
    with listening(lab.node.namespace("podB"), 8080), lab.trace(*options) as trace:
        with lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
            record = wait_for(trace, "unanswered", {"packet.sport": dial.sport})
            dialled = dial.sport
        result = trace.stop()
    assert result.status == 0, result
    assert "no-route-back" in lab.node.path("/run/live.md").read_text()
    with copied_out(lab) as file:
        assert attempts(replayed(lab, file, "-o", "json")) == [record]
        text = replayed(lab, file).stdout
        assert "UNANSWERED for" in text and "no-route-back: delivered to" in text, text
        assert not attempts(replayed(lab, file, "-o", "json", "port", "1"))
        need("tshark")
        rows = tshark_rows(file, "tcp.srcport", "ip.dst", "tcp.flags.syn", "frame.comment")
    assert rows[0][:3] in (
        [str(dialled), POD_B.ip, flag] for flag in ("1", "True")
    ) and "UNANSWERED" in rows[0][3], rows


@case()
def nothing_is_followed_if_that_is_not_wanted(lab: Lab) -> None:
    for option in (("--no-path",), ("--unanswered-after", "0")):
        with full_listener(lab, "podB", 8080), lab.trace(*option) as trace:
            with lab.dial("podA", POD_B.ip, 8080):
                time.sleep(4)
            assert not attempts(trace.stop()), option


@case()
def thousand_healthy_connections_a_second_give_no_line(lab: Lab) -> None:
    with listening(lab.node.namespace("podB"), 8080) as server, lab.trace() as trace:
        server.setblocking(False)
        start = time.monotonic()
        for number in range(10_000):
            with lab.dial("podA", POD_B.ip, 8080) as dial:
                assert dial.outcome(5) == CONNECTED
            with contextlib.suppress(BlockingIOError):
                server.accept()[0].close()
            time.sleep(max(0, start + number / 1000 - time.monotonic()))
        time.sleep(4)
        result = trace.stop()
    assert not attempts(result), attempts(result)
    assert result.summary()["lost"] == 0, result.summary()
    assert [drop for drop in result.drops() if not drop.get("noise")] == []
