#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Shows that droptrace works on the running kernel: it starts, and explains a blocked connection.

For a virtual machine (see run.sh): what is made here is not taken away. The end-to-end cases would
take minutes there, and some rely on timing.

    client 10.244.0.5 -- router: a service's DNAT and a rule in FORWARD -- 10.244.1.6, nobody
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from droptrace_runner import check_fields, field, parse_lines

CLIENT, SERVER, SERVICE = "10.244.0.5", "10.244.1.6", "10.96.0.10"
READY_FILE, OUTPUT, ERRORS = (Path("/run", name) for name in ("ready", "drops", "errors"))
TRACEPOINT = Path("/sys/kernel/tracing/events/skb/kfree_skb/format")
TOPOLOGY = f"""\
netns add client
netns add router
link add eth0 netns client type veth peer name west netns router
link add east netns router type veth peer name nobody netns router
-n client addr add {CLIENT}/24 dev eth0
-n client link set eth0 up
-n client route add default via 10.244.0.1
-n router addr add 10.244.0.1/24 dev west
-n router addr add 10.244.1.1/24 dev east
-n router link set west up
-n router link set east up
-n router link set nobody up
"""
# Since Linux 6.7 nft_do_chain frees what nftables drops (e0d4593140b0, "netfilter: make nftables
# drops visible in net dropmonitor"); some stable kernels have that, too.
BACKENDS = {"nft": "nf_tables", "legacy": "ip_tables"}
FREED_BY = {"nft": ("nft_do_chain", "nf_hook_slow"), "legacy": ("nf_hook_slow",)}


def run(*argv: str) -> None:
    subprocess.run(argv, check=True)


def in_router(*argv: str) -> None:
    run("ip", "netns", "exec", "router", *argv)


def build_network() -> None:
    for command in TOPOLOGY.splitlines():
        run("ip", *command.split())
    in_router("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    in_router(
        *"iptables-nft -t nat -A PREROUTING -p tcp --dport 80".split(),
        *f"-d {SERVICE} -j DNAT --to-destination {SERVER}:8080".split(),
    )


def blocked_syns(
    binary: str, count: int, *destinations: str, more_options: tuple[str, ...] = ()
) -> list[dict]:
    """The drops of clients that dial and try again until droptrace saw enough."""
    READY_FILE.unlink(missing_ok=True)
    options = ["--netns", "router", "-o", "json", "--ready-file", str(READY_FILE)]
    options += ["-c", str(count), "--duration", "60s"]  # the latter bounds a failure
    options += more_options
    with OUTPUT.open("w") as output, ERRORS.open("w") as errors:
        droptrace = subprocess.Popen([binary, *options], stdout=output, stderr=errors)
    while not READY_FILE.exists():
        if droptrace.poll() is not None:
            sys.exit(f"droptrace ended with {droptrace.returncode}: {ERRORS.read_text()}")
        time.sleep(0.05)
    dial = ["ip", "netns", "exec", "client", "bash", "-c"]
    clients = [subprocess.Popen([*dial, f"exec 3<>/dev/tcp/{each}"]) for each in destinations]
    status = droptrace.wait()
    for client in clients:
        client.kill()
        client.wait()
    print(ERRORS.read_text(), OUTPUT.read_text(), sep="", end="", flush=True)
    assert status == 0, f"droptrace ended with {status}"
    *drops, summary = parse_lines(OUTPUT.read_text())
    check_fields(summary, {"type": "summary", "lost": 0})
    assert len(drops) == count, f"{len(drops)} drops, not {count}"
    return drops


def check_backend(binary: str, backend: str, count: int) -> None:
    rule = "FORWARD -p tcp --dport 8080 -j DROP".split()
    in_router(f"iptables-{backend}", "-A", *rule)
    has_reasons = "reason" in TRACEPOINT.read_text()
    expected = {
        "type": "drop",
        "reason": "NETFILTER_DROP" if has_reasons else "NO_REASON",
        "netfilter.hook": "forward",
        "netfilter.verdict": "drop",
        "ifname": "west",
        "packet.src": CLIENT,
        "packet.dst": SERVER,
        "packet.dport": 8080,
        "packet.tcp_flags": "S",
        "original.dst": SERVICE,
        "original.dport": 80,
    }
    drops = blocked_syns(binary, count, f"{SERVICE}/80")
    for number, drop in enumerate(drops, start=1):
        check_fields(drop, expected | {"attempt.syn": number, "attempt.dropped": number})
        assert field(drop, "function") in FREED_BY[backend], drop["location"]
        assert field(drop, "netfilter.backend") in (BACKENDS[backend], "other"), drop
    in_router(f"iptables-{backend}", "-D", *rule)
    print(f"passed: dropped by iptables-{backend}", flush=True)


def check_clash(binary: str) -> None:
    """Two connections get the same source: conntrack does not take the second one."""
    in_router(
        *"iptables-nft -t nat -A POSTROUTING -p tcp --dport 81 -j SNAT".split(),
        *"--to-source 10.244.1.1:5000".split(),
    )
    (drop,) = blocked_syns(binary, 1, f"{SERVER}/81", f"{SERVER}/81")
    check_fields(drop, {"netfilter.hook": "postrouting", "packet.dport": 81})
    # One for all families since Linux 6.3.
    confirms = {"ipv4_confirm", "nf_confirm"}
    if function := field(drop, "netfilter.function"):
        assert function in confirms, drop
        check_fields(drop, {"netfilter.backend": "conntrack", "netfilter.confidence": "exact"})
    else:  # a kernel where the self-test cannot have a packet dropped in nf_hook_slow
        assert confirms.intersection(field(drop, "netfilter.functions")), drop
        check_fields(drop, {"netfilter.confidence": "candidate"})
    print("passed: not confirmed by conntrack", flush=True)


def check_tracing(binary: str) -> None:
    """The first drop starts the tracing; the rule of a later one is named."""
    rule = "FORWARD -p tcp --dport 8080 -j DROP".split()
    in_router("iptables-nft", "-A", *rule)
    os.environ["DROPTRACE_ENGINES"] = "trace"
    # The filter: the clash's connection still looks for its neighbour, and dies of that by and by.
    tracing = ("--allow-system-changes", "dst port 8080")
    drop = blocked_syns(binary, 3, f"{SERVICE}/80", more_options=tracing)[-1]
    del os.environ["DROPTRACE_ENGINES"]
    expected = {
        "netfilter.backend": "nf_tables",
        "netfilter.table": "filter",
        "netfilter.chain": "FORWARD",
        "netfilter.hook": "forward",
        "netfilter.method": "trace",
        "netfilter.confidence": "exact",
    }
    check_fields(drop, expected)
    assert field(drop, "netfilter.rule_handle"), drop
    tables = subprocess.run(
        ["ip", "netns", "exec", "router", "nft", "list", "tables"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "droptrace" not in tables.stdout, tables.stdout
    in_router("iptables-nft", "-D", *rule)
    print("passed: traced", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("droptrace", help="the binary under test")
    parser.add_argument("skeleton_tests", help="the tests of its BPF object")
    arguments = parser.parse_args()
    # Netfilter's modules are not loaded yet: droptrace has to do without their types.
    run(arguments.skeleton_tests, "--no-colors", "--test-suite=load")
    run(arguments.droptrace, "-q", "--duration", "100ms")
    build_network()
    check_backend(arguments.droptrace, "nft", 3)
    check_backend(arguments.droptrace, "legacy", 1)
    check_clash(arguments.droptrace)
    check_tracing(arguments.droptrace)


if __name__ == "__main__":
    main()
