# SPDX-License-Identifier: GPL-2.0-only
"""The text log, the two output streams, and what happens when an output goes away."""

import os
import pty
import re
import signal

import droptrace_runner
from cases import Lab, case
from mini_node import POD_A, POD_B, WEB
from traffic import shell_dial

CLOSING = re.compile(
    r"^droptrace: (\d+) drops? seen: "
    r"(\d+) shown, (\d+) hidden as noise.*, (\d+) filtered; (\d+) lost$",
    re.MULTILINE,
)
ESCAPE = "\x1b["


@case()
def text_is_two_short_lines_a_drop_and_one_a_repeat(lab: Lab) -> None:
    lab.node.run("iptables-nft", "-P", "FORWARD", "DROP")
    with lab.trace(output="text") as trace, lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
        client = f"{POD_A.full_name}:{dial.sport}"
        first, place, repeat = (trace.wait_for_line().rstrip("\n") for _ in range(3))
        result = trace.stop()
    assert all(len(line) <= 120 for line in result.stdout.splitlines()), result.stdout
    assert ESCAPE not in result.stdout, result.stdout
    endpoint = f"web-0 {POD_B.ip}:8080"
    for text in ("SYN 1", client, f"{WEB.cluster_ip}:80", endpoint):
        assert text in first, (text, first)
    assert "NETFILTER_DROP" in first + place, (first, place)
    for text in (f"node {POD_A.veth}", "forward hook", "policy of ip filter FORWARD"):
        assert text in place, (text, place)
    for text in ("SYN 2", client, "same place"):
        assert text in repeat, (text, repeat)


@case()
def ending_signals_print_the_closing_figures(lab: Lab) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with lab.trace() as trace:
            lab.refused_dial()
            result = trace.stop(number)
        closing = CLOSING.search(result.stderr)
        assert closing, result.stderr
        summary = result.summary()
        figures = [summary[key] for key in ("seen", "shown", "noise", "filtered", "lost")]
        assert [int(number) for number in closing.groups()] == figures, (result.stderr, summary)
        assert summary["shown"] == 1 and summary["lost"] == 0, summary


def text_on_a_terminal(lab: Lab, *options: str, **environment: str) -> str:
    """One drop as the text log shows it on a terminal."""
    ours, theirs = pty.openpty()
    try:
        result = lab.droptrace(
            *options,
            "--",
            *shell_dial(POD_B.ip, 8080),
            stdout=theirs,
            env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment},
        )
        assert result.status == 0, result
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


@case()
def color_is_for_terminals_and_for_who_asks(lab: Lab) -> None:
    assert ESCAPE in text_on_a_terminal(lab)
    assert ESCAPE not in text_on_a_terminal(lab, NO_COLOR="1")
    assert ESCAPE not in text_on_a_terminal(lab, TERM="dumb")
    assert ESCAPE not in text_on_a_terminal(lab, "--color", "never")
    with lab.trace("--color", "always", output="text") as trace:
        lab.refused_dial()
        assert ESCAPE in trace.stop().stdout


@case()
def reader_that_goes_away_ends_the_trace_quietly(lab: Lab) -> None:
    # The command would dial for ever: only the broken pipe ends the trace.
    *shell, connect = shell_dial(POD_B.ip, 8080)
    for_ever = [*shell, f"while {connect}; do :; done"]
    script = '"$@" | head -n 1; echo "status ${PIPESTATUS[0]}"'
    trace = [str(lab.binary), "-q", "--", *for_ever]
    result = droptrace_runner.run(lab.node, ["bash", "-c", script, "bash", *trace])
    assert result.stdout.endswith("\nstatus 0\n"), result
    assert len(result.stdout.splitlines()) == 2 and result.stderr == "", result


@case()
def full_disk_is_one_clear_error(lab: Lab) -> None:
    with open("/dev/full", "wb") as full:
        result = lab.droptrace("-o", "json", "-q", "--duration", "300ms", stdout=full)
    assert result.status == 1, result
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "standard output: No space left on device" in result.stderr, result.stderr


@case()
def closed_standard_output_is_one_clear_error(lab: Lab) -> None:
    shell = ["sh", "-c", 'exec "$@" >&-', "sh"]
    trace = [str(lab.binary), "-o", "json", "-q", "--duration", "300ms"]
    result = droptrace_runner.run(lab.node, [*shell, *trace])
    assert result.status == 1 and result.stdout == "", result
    assert len(result.stderr.splitlines()) == 1 and "standard output" in result.stderr, result
