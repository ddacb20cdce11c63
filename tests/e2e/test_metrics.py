# SPDX-License-Identifier: GPL-2.0-only
"""Metrics over HTTP: what Prometheus makes of them, and clients that do not behave."""

import re
import shutil
import socket
import subprocess
import time

import namespaces
from cases import Lab, Skip, case
from droptrace_runner import RECORD_S, Trace

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: droptrace\r\n\r\n"
CLIENTS_MOST = 16


def connect(lab: Lab, trace: Trace) -> socket.socket:
    port = int(re.search(r"metrics are served at .*, port (\d+)", trace.stderr())[1])
    with namespaces.network(lab.node.namespace("node")):
        client = socket.socket()
    client.settimeout(RECORD_S)
    client.connect(("127.0.0.1", port))
    return client


def answer_to(lab: Lab, trace: Trace, request: bytes = REQUEST) -> str:
    with connect(lab, trace) as client:
        client.sendall(request)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    return answer.decode()


def page(lab: Lab, trace: Trace) -> str:
    head, _, body = answer_to(lab, trace).partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK"), head
    assert f"Content-Length: {len(body)}" in head, head
    return body


@case()
def prometheus_takes_the_metrics(lab: Lab) -> None:
    if not shutil.which("promtool"):
        raise Skip("not installed: prometheus")
    with lab.trace("--metrics", ":0") as trace:
        for _ in range(3):
            sport = lab.refused_dial()
            trace.wait_for_drop({"packet.sport": sport})
        text = page(lab, trace)
        trace.stop()
    check = ["promtool", "check", "metrics"]
    process = subprocess.run(check, input=text, capture_output=True, text=True, timeout=30)
    assert process.returncode == 0 and process.stderr == "", process
    drops = 'reason="NO_SOCKET",cause="",hook="",direction="pod_to_pod"'
    for line in (
        f"droptrace_drops_total{{{drops}}} 3",
        'droptrace_syn_attempts_total{outcome="rejected"} 3',
        'droptrace_program_attached{program="dt_drop"} 1',
        "droptrace_ring_buffer_bytes 4194304",
        'droptrace_lost_records_total{why="ring_buffer_full"} 0',
    ):
        assert line in text.splitlines(), (line, text)


@case()
def bad_clients_stall_nothing(lab: Lab) -> None:
    with lab.trace("--metrics", "127.0.0.1:0") as trace:
        silent = [connect(lab, trace) for _ in range(CLIENTS_MOST)]
        silent[0].sendall(b"GET /met")
        sport = lab.refused_dial()
        trace.wait_for_drop({"packet.sport": sport})
        # Whoever says nothing for some seconds makes room.
        deadline = time.monotonic() + 2 * RECORD_S
        while True:
            try:
                page(lab, trace)
                break
            except (ConnectionError, AssertionError):
                assert time.monotonic() < deadline, "nobody is served any more"
                time.sleep(0.2)
        for client in silent:
            client.close()
        assert " 404 " in answer_to(lab, trace, b"GET / HTTP/1.1\r\n\r\n")
        assert " 405 " in answer_to(lab, trace, b"PUT /metrics HTTP/1.1\r\n\r\n")
        assert " 400 " in answer_to(lab, trace, b"nonsense\r\n\r\n")
        assert " 431 " in answer_to(lab, trace, b"x" * 8192)
        page(lab, trace)
        trace.stop()


@case()
def addresses_that_cannot_be_served_are_told(lab: Lab) -> None:
    nonsense = lab.droptrace("--metrics", "nonsense")
    assert nonsense.status == 2 and "not ADDRESS:PORT" in nonsense.stderr, nonsense
    absent = lab.droptrace("--metrics", "192.0.2.1:9100")
    assert absent.status == 1 and "cannot serve metrics" in absent.stderr, absent
