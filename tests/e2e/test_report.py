# SPDX-License-Identifier: GPL-2.0-only
"""Reports and diffs of recordings, and the HTML as a browser sees it."""

import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import browser
from cases import Lab, Skip, case
from mini_node import POD_A, WEB, MiniNode

IN_NODE = "/run/drops.pcapng"


def droptrace(lab: Lab, *argv: str | Path, status: int = 0) -> str:
    """Outside the node; what it prints."""
    process = subprocess.run(
        [str(lab.binary), *map(str, argv)], capture_output=True, text=True, timeout=120
    )
    assert process.returncode == status, (argv, process)
    return process.stdout


@contextmanager
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def record(lab: Lab, file: Path, policy: bool = True, *options: str) -> None:
    """A connection that a policy drops, if there is one, and one that is refused."""
    lab.node.run("iptables-nft", "-P", "FORWARD", "DROP" if policy else "ACCEPT")
    with lab.trace("-w", IN_NODE, *options) as trace:
        if policy:
            with lab.dial("podA", WEB.cluster_ip, WEB.port):
                trace.wait_for_drop({"attempt.dropped": 2})
        lab.node.run("iptables-nft", "-P", "FORWARD", "ACCEPT")
        sport = lab.refused_dial()
        trace.wait_for_drop({"packet.sport": sport})
        trace.stop()
    file.write_bytes(lab.node.path(IN_NODE).read_bytes())


@case()
def report_tells_what_dies_where_and_why(lab: Lab) -> None:
    with directory() as place:
        file = place / "a.pcapng"
        record(lab, file, True, "--report", "/run/live.html")
        live = lab.node.path("/run/live.html").read_text()
        assert "policy of ip filter FORWARD" in live and live.startswith("<!DOCTYPE html>")

        text = droptrace(lab, "report", file)
        verdict = next(line for line in text.splitlines() if line.startswith("**"))
        for words in ("connection attempts", "forward hook", "policy of ip filter FORWARD"):
            assert words in verdict, verdict
        for heading in ("Causes", "Who could not talk", "Where it died", "When", "Environment"):
            assert f"## {heading}" in text, text
        assert f"| {POD_A.full_name} | default/web:http | default/web-0:8080 |" in text, text
        facts = json.loads(droptrace(lab, "report", "-o", "json", file))
        assert facts["attempts"] == 2 and facts["outcomes"]["dropped"] == 1, facts
        assert facts["outcomes"]["rejected"] == 1 and facts["sources"][0]["closed"], facts


@case()
def html_is_sound_in_a_browser(lab: Lab) -> None:
    if not shutil.which("chromium"):
        raise Skip("not installed: chromium")
    with directory() as place:
        file, page = place / "a.pcapng", place / "a.html"
        record(lab, file)
        droptrace(lab, "report", "--report", page, file)
        pictures = set()
        for width, height, scheme in (
            (1280, 900, "light"),
            (1280, 900, "dark"),
            (390, 844, "light"),
            (390, 844, "dark"),
        ):
            look = browser.look_at(page, width, height, scheme)
            assert look.problems == [] and look.requests == [], (width, scheme, look.problems)
            assert look.overflow <= 0, (width, scheme, look.overflow)
            pictures.add(look.picture)
        assert len(pictures) == 4  # each is another one


@case()
def recordings_of_two_nodes_are_one_report(lab: Lab) -> None:
    with directory() as place, MiniNode("nft") as other:
        first, second = place / "first.pcapng", place / "second.pcapng"
        record(lab, first)
        record(Lab(other, lab.binary), second, False)
        facts = json.loads(droptrace(lab, "report", "-o", "json", first, second))
        assert len(facts["sources"]) == 2, facts
        assert facts["attempts"] == 3 and facts["outcomes"]["rejected"] == 2, facts
        # The same file twice: its attempts are the same.
        twice = json.loads(droptrace(lab, "report", "-o", "json", first, first))
        once = json.loads(droptrace(lab, "report", "-o", "json", first))
        assert twice["attempts"] == once["attempts"], (once, twice)
        assert twice["events"] == 2 * once["events"], (once, twice)


@case()
def diff_is_for_scripts(lab: Lab) -> None:
    with directory() as place:
        bad, good = place / "bad.pcapng", place / "good.pcapng"
        record(lab, bad)
        record(lab, good, False)
        assert "gone   NETFILTER_DROP" in droptrace(lab, "diff", bad, good)
        assert "new    NETFILTER_DROP" in droptrace(lab, "diff", good, bad, status=3)
        assert "| new |" in droptrace(lab, "diff", "-o", "md", good, bad, status=3)
        changes = json.loads(droptrace(lab, "diff", "-o", "json", bad, bad))["changes"]
        assert {change["change"] for change in changes} == {"same"}, changes
        droptrace(lab, "diff", bad, status=2)
        droptrace(lab, "diff", bad, place / "absent", status=1)


@case()
def report_of_an_interrupted_trace_is_written(lab: Lab) -> None:
    with lab.trace("--report", "/run/drops.md") as trace:
        lab.refused_dial()
        trace.wait_for_drop({"reason": "NO_SOCKET"})
        result = trace.stop(signal.SIGTERM)
    assert "the report is in /run/drops.md" in result.stderr, result.stderr
    assert "NO\\_SOCKET" in lab.node.path("/run/drops.md").read_text()
    assert lab.droptrace("--report", "/run/drops.txt").status == 2
    assert lab.droptrace("--report", "/absent/drops.md").status == 1
