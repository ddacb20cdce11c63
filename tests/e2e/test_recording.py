# SPDX-License-Identifier: GPL-2.0-only
"""Recordings: what others read of them, what a replay gives back, and what goes wrong."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cases import Lab, Skip, case
from droptrace_runner import RECORD_S, STEP_S, Result
from mini_node import POD_A, POD_B, WEB
from traffic import shell_dial

IN_NODE = "/run/drops.pcapng"
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs")


def need(*tools: str) -> None:
    if missing := [tool for tool in tools if not shutil.which(tool)]:
        raise Skip(f"not installed: {', '.join(missing)}")


def output_of(*argv: str | Path, stdin: bytes | None = None) -> str:
    """Of a program outside the node, which must end well."""
    process = subprocess.run([*map(str, argv)], input=stdin, capture_output=True, timeout=60)
    assert process.returncode == 0, (argv, process.stderr.decode())
    return process.stdout.decode()


@contextmanager
def copied_out(lab: Lab) -> Iterator[Path]:
    """The node's recording, where everybody can read it."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        file = Path(directory) / "drops.pcapng"
        file.write_bytes(lab.node.path(IN_NODE).read_bytes())
        file.chmod(0o644)
        yield file


def replayed(lab: Lab, file: Path, *options: str) -> Result:
    """By a user who may do nothing, outside the node."""
    argv = [*NOBODY, str(lab.binary), "-r", str(file), *options]
    process = subprocess.run(argv, capture_output=True, timeout=60)
    return Result(process.returncode, process.stderr.decode(), process.stdout.decode())


def record_drops(lab: Lab) -> tuple[Result, int]:
    """A recording of two SYNs that a policy drops and one that is refused; their first port."""
    lab.node.run("iptables-nft", "-P", "FORWARD", "DROP")
    with lab.trace("-w", IN_NODE) as trace:
        with lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
            trace.wait_for_drop({"attempt.dropped": 2})
            sport = dial.sport
        lab.node.run("iptables-nft", "-P", "FORWARD", "ACCEPT")
        lab.refused_dial()
        trace.wait_for_drop({"packet.dport": 8080, "src_name": f"p/{POD_A.full_name}"})
        return trace.stop(), sport


def tshark_rows(file: Path, *fields: str, options: tuple[str, ...] = ()) -> list[list[str]]:
    names = [word for name in fields for word in ("-e", name)]
    text = output_of("tshark", "-r", file, *options, "-T", "fields", "-E", "separator=|", *names)
    return [line.split("|") for line in text.splitlines()]


@case()
def wireshark_reads_every_field_of_a_recording(lab: Lab) -> None:
    need("tshark", "capinfos", "tcpdump")
    result, sport = record_drops(lab)
    drops = result.drops()
    with copied_out(lab) as file:
        rows = tshark_rows(
            file, "frame.interface_name", "frame.time_epoch", "tcp.srcport", "ip.dst", "frame.len"
        )
        assert len(rows) == len(drops), (rows, drops)
        for row, drop in zip(rows, drops):
            assert row[0] == f"{drop['where']}/{drop['ifname']}", (row, drop)
            assert row[1].split(".")[1] == drop["time"][-10:-1], (row, drop)
            assert row[2:4] == [str(drop["packet"]["sport"]), drop["packet"]["dst"]], (row, drop)
            assert int(row[4]) == drop["packet"]["length"] + 14, (row, drop)
        comments = output_of("tshark", "-r", file, "-T", "fields", "-e", "frame.comment")
        for text in ("SYN 1", "same place (2 dropped)", "policy of ip filter FORWARD"):
            assert text in comments, (text, comments)
        description = tshark_rows(file, "frame.interface_description")[0][0]
        assert "other end: pod:" in description, description
        hosts = output_of("tshark", "-r", file, "-q", "-z", "hosts")
        names = {POD_A.ip: POD_A, POD_B.ip: POD_B}
        for address, pod in names.items():
            space, name = pod.full_name.split("/")
            assert f"{address}\t{name}.{space}" in hosts, hosts
        assert f"{WEB.cluster_ip}\tweb.default.svc" in hosts, hosts

        facts = output_of("capinfos", "-M", file)
        assert f"Number of packets:   {len(drops)}" in facts, facts
        assert "Number of stat entries = 1" in facts, facts
        assert f"{len(drops)} shown" in facts and "node " in facts, facts
        assert "policy" not in output_of("tcpdump", "-nr", file)  # comments are not for it
        assert len(output_of("tcpdump", "-nr", file).splitlines()) == len(drops)
        assert f".{sport} >" in output_of("tcpdump", "-nr", file, "tcp[tcpflags] == tcp-syn")


@case()
def replay_gives_the_lines_of_the_trace(lab: Lab) -> None:
    result, sport = record_drops(lab)
    with copied_out(lab) as file:
        again = replayed(lab, file, "-o", "json")
        assert again.status == 0, again
        assert again.stdout == result.stdout
        closing = [line for line in result.stderr.splitlines() if " drops seen" in line]
        assert closing == [line for line in again.stderr.splitlines() if " drops seen" in line]

        some = replayed(lab, file, "-o", "json", "-c", "1", "port", str(sport))
        assert [drop["packet"]["sport"] for drop in some.drops()] == [sport], some
        expected = replayed(lab, file, "--expect-drop", f"packet.sport={sport}")
        assert expected.status == 0 and "same place (2 dropped)" in expected.stdout, expected
        assert replayed(lab, file, "--expect-none", "-q").status == 3

        copy = file.with_name("copy.pcapng")
        copy.touch()
        copy.chmod(0o666)
        assert replayed(lab, file, "-w", str(copy), "-q").status == 0
        assert replayed(lab, copy, "-o", "json").stdout == result.stdout
        streamed = output_of(lab.binary, "-o", "json", "-r", "-", stdin=file.read_bytes())
        assert streamed == result.stdout


@case()
def killed_recording_has_what_was_written(lab: Lab) -> None:
    with lab.trace("-w", IN_NODE) as trace:
        lab.refused_dial()
        line = trace.wait_for_line()
        deadline = time.monotonic() + RECORD_S
        while line.strip().encode() not in lab.node.path(IN_NODE).read_bytes():
            assert time.monotonic() < deadline, "the drop is not written"
            time.sleep(STEP_S)
        trace.kill()
    with copied_out(lab) as file:
        whole = file.read_bytes()
        again = replayed(lab, file, "-o", "json")
        assert again.status == 0 and again.stdout.startswith(line), again
        assert "was not closed" in again.stderr, again
        file.write_bytes(whole[:-5])
        cut = replayed(lab, file, "-o", "json")
        assert cut.status == 0 and cut.drops() == [], cut
        assert "is cut: its last block" in cut.stderr, cut
        if shutil.which("capinfos"):
            file.write_bytes(whole)
            assert "has not been closed" in output_of("capinfos", file)


@case()
def recording_streams_into_a_reader(lab: Lab) -> None:
    need("tshark")
    shell = '"$@" | tshark -l -r - -T fields -e tcp.dstport -e frame.comment'
    trace = [str(lab.binary), "-q", "-w", "-", "--", *shell_dial(POD_B.ip, 8080)]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = lab.node.node_command(["bash", "-c", shell, "bash", *trace], **streams)
    stdout, stderr = process.communicate(timeout=60)
    assert b"8080\t" in stdout and b"SYN 1" in stdout, (stdout, stderr)


@case()
def terminal_gets_no_recording(lab: Lab) -> None:
    import os
    import pty

    ours, theirs = pty.openpty()
    try:
        result = lab.droptrace("-w", "-", "--duration", "1s", stdout=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert result.status == 2 and "terminal" in result.stderr, result


@case()
def full_disk_ends_the_recording_but_not_the_log(lab: Lab) -> None:
    lab.node.run("mkdir", "/run/small")
    lab.node.run("mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", "/run/small")
    with lab.trace("-w", "/run/small/drops.pcapng") as trace:
        for _ in range(12):
            lab.refused_dial()
            trace.wait_for_drop({})
        trace._process.send_signal(signal.SIGINT)
        result = trace.end()
    assert result.status == 1, result
    assert len(result.drops()) >= 12, result
    assert result.summary()["shown"] == len(result.drops())
    assert result.stderr.count("No space left on device") == 1, result.stderr
    missing = next(l for l in result.stderr.splitlines() if "not in the recording" in l)
    lost, kept = (int(word) for word in missing.split() if word.isdigit())
    assert lost > 0 and kept > 0 and lost + kept == len(result.drops()), missing
    lab.node.path(IN_NODE).write_bytes(lab.node.path("/run/small/drops.pcapng").read_bytes())
    with copied_out(lab) as file:
        again = replayed(lab, file, "-o", "json")
        assert again.stdout.splitlines()[:kept] == result.stdout.splitlines()[:kept]
        assert f"{lost} not recorded: No space left".encode() in file.read_bytes()


@case()
def files_of_others_are_refused(lab: Lab) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        file = Path(directory) / "other"
        for content, why in (
            (b"\xd4\xc3\xb2\xa1" + bytes(20), "a pcap file"),
            (b"hello, world\n", "neither pcapng"),
            (b"", "ends within its first block"),
        ):
            file.write_bytes(content)
            result = replayed(lab, file)
            assert result.status == 1 and result.stdout == "", result
            assert why in result.stderr and len(result.stderr.splitlines()) == 1, result
        assert replayed(lab, file, "--all").status == 2
