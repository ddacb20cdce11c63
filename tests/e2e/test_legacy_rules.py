# SPDX-License-Identifier: GPL-2.0-only
"""Rules of iptables-legacy: the one that dropped is named, or nothing is said, but never another."""

import contextlib
import itertools
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

import namespaces
from cases import Lab, case
from droptrace_runner import Trace, Unexpected, check_fields, field, parse_line
from mini_node import EMPTY, POD_B, WEB

PORT = 8081
MATCH = f"-p tcp -m tcp --dport {PORT}"
TEXT_S = 10.0  # a rule's text is read in the background
DATAGRAM = b"x" * 20

# By construction: each rule owns a port.
CHAINS = 20
RULES = 400
FIRST_PORT = 30000
PORTS = range(FIRST_PORT, FIRST_PORT + RULES)
FILTER = f"udp and portrange {PORTS[0]}-{PORTS[-1]}"
ROUNDS = 3
REPLACEMENTS = 30
LINE_S = 3.0  # nothing more comes if nothing has come for so long

Place = tuple[str, int]  # chain and position


def iptables(lab: Lab, *commands: str, version: str = "") -> None:
    for command in commands:
        lab.node.run(f"ip{version}tables-legacy", *command.split())


def length(lab: Lab, chain: str, version: str = "") -> int:
    """How many rules the chain has, as iptables itself lists them."""
    listing = lab.node.run(f"ip{version}tables-legacy", "-S", chain)
    return sum(line.startswith("-A ") for line in listing.splitlines())


def rule(chain: str, number: int | None, *jumps: str, **other: object) -> dict[str, object]:
    """The JSON fields that lead to a rule; but for other ones, it is in filter, at forward."""
    facts = {
        "backend": "ip_tables",
        "family": "ip",
        "hook": "forward",
        "table": "filter",
        "chain": chain,
        "rule_number": number,
        "rule_handle": None,
        "path": [*jumps, chain],
        "policy": None,
        "method": "counter",
        "confidence": "exact",
    }
    return {f"netfilter.{key}": value for key, value in (facts | other).items()}


def check_rule(
    lab: Lab,
    trace: Trace,
    expected: dict[str, object],
    address: str = POD_B.ip,
    port: int = PORT,
    client: str = "podA",
) -> None:
    """Dials and checks the drop of the SYN; again as long as its rule's text is not known."""
    without_text = {key: value for key, value in expected.items() if key != "netfilter.rule"}
    deadline = time.monotonic() + TEXT_S
    while True:
        with lab.dial(client, address, port) as dial:
            drop = trace.wait_for_drop({"packet.sport": dial.sport})
        check_fields(drop, without_text)
        if field(drop, "netfilter.rule") is not None or time.monotonic() > deadline:
            return check_fields(drop, expected)


@case("legacy")
def rule_in_forward(lab: Lab) -> None:
    text = f"-A FORWARD -d {POD_B.ip}/32 {MATCH} -m comment --comment shut -j DROP"
    iptables(lab, text)
    expected = rule("FORWARD", length(lab, "FORWARD"), rule=text, comment="shut")
    with lab.trace() as trace:
        check_rule(lab, trace, expected | {"where": "node", "function": "nf_hook_slow"})
        trace.stop()


@case("legacy")
def rule_in_forward_as_text(lab: Lab) -> None:
    text = f"-A FORWARD -d {POD_B.ip}/32 {MATCH} -j DROP"
    iptables(lab, text)
    with lab.trace(output="text") as trace, lab.dial("podA", POD_B.ip, PORT):
        shown = trace.wait_for_line() + trace.wait_for_line()
        assert f"ip filter FORWARD #{length(lab, 'FORWARD')}" in shown, shown
        trace.stop()


@case("legacy")
def policy_of_forward(lab: Lab) -> None:
    iptables(lab, "-P FORWARD DROP")
    with lab.trace() as trace, lab.dial("podA", POD_B.ip, PORT) as dial:
        drop = trace.wait_for_drop({"packet.sport": dial.sport})
        check_fields(drop, rule("FORWARD", None, policy=True, rule=None))
        trace.stop()


@case("legacy")
def three_jumps_deep(lab: Lab) -> None:
    iptables(lab, "-N ONE", "-N TWO", "-N THREE")
    iptables(lab, f"-A FORWARD {MATCH} -j ONE", "-A ONE -p udp -j DROP", "-A ONE -j TWO")
    iptables(lab, "-A TWO -j THREE", "-A THREE -p udp -j DROP", "-A THREE -p tcp -j DROP")
    with lab.trace() as trace:
        text = "-A THREE -p tcp -j DROP"
        check_rule(lab, trace, rule("THREE", 2, "FORWARD", "ONE", "TWO", rule=text))
        trace.stop()


@case("legacy")
def goto_leaves_no_path(lab: Lab) -> None:
    iptables(lab, "-N ASIDE", f"-A FORWARD {MATCH} -g ASIDE", "-A ASIDE -j DROP")
    with lab.trace() as trace:
        check_rule(lab, trace, rule("ASIDE", 1, path=None, rule="-A ASIDE -j DROP"))
        trace.stop()


@case("legacy")
def service_without_endpoints(lab: Lab) -> None:
    with lab.trace() as trace:
        sport = lab.refused_dial(EMPTY.cluster_ip, EMPTY.port)
        drop = next(each for each in refusals(trace) if field(each, "packet.sport") == sport)
        expected = rule("KUBE-SERVICES", 1, comment=f"{EMPTY.name} has no endpoints")
        # The answer passed the output hook, over the same jump stack.
        assert field(drop, "netfilter.path") in (None, ["FORWARD", "KUBE-SERVICES"]), drop
        check_fields(drop, {k: v for k, v in expected.items() if k != "netfilter.path"})
        trace.stop()


@case("legacy")
def mangle_and_raw(lab: Lab) -> None:
    iptables(lab, f"-t mangle -A FORWARD {MATCH} -j DROP")
    iptables(lab, f"-t raw -A PREROUTING -p tcp -m tcp --dport {PORT + 1} -j DROP")
    with lab.trace() as trace:
        check_rule(lab, trace, rule("FORWARD", 1, table="mangle"))
        raw = rule("PREROUTING", 1, table="raw", hook="prerouting")
        check_rule(lab, trace, raw, port=PORT + 1)
        trace.stop()


@case("legacy")
def ipv6(lab: Lab) -> None:
    text = f"-A FORWARD -d {POD_B.ip6}/128 {MATCH} -j DROP"
    iptables(lab, text, version="6")
    with lab.trace() as trace:
        expected = rule("FORWARD", length(lab, "FORWARD", "6"), family="ip6", rule=text)
        check_rule(lab, trace, expected, POD_B.ip6)
        trace.stop()


@case("legacy")
def output_of_a_process_on_the_node(lab: Lab) -> None:
    iptables(lab, f"-A OUTPUT {MATCH} -j DROP")
    with lab.trace() as trace:
        expected = rule("OUTPUT", length(lab, "OUTPUT"), hook="output")
        check_rule(lab, trace, expected, client="node")
        trace.stop()


@case("legacy")
def firewall_that_appears_in_a_pod(lab: Lab) -> None:
    text = f"-A INPUT {MATCH} -j DROP"
    with lab.trace() as trace:
        lab.node.run_in("podB", "iptables-legacy", *text.split())
        place = {"where": POD_B.where}
        # What has just appeared may not be known: then nothing is said of it.
        with lab.dial("podA", POD_B.ip, PORT) as dial:
            drop = trace.wait_for_drop({"packet.sport": dial.sport} | place)
            known = field(drop, "netfilter.method") != "none"
            assert known or field(drop, "netfilter.table") is None, drop
        deadline = time.monotonic() + TEXT_S
        while not known and time.monotonic() < deadline:
            with lab.dial("podA", POD_B.ip, PORT) as dial:
                drop = trace.wait_for_drop({"packet.sport": dial.sport})
                known = field(drop, "netfilter.method") != "none"
        check_rule(lab, trace, rule("INPUT", 1, hook="input", rule=text) | place)
        trace.stop()


@case("legacy")
def drops_that_are_not_recorded_confuse_nothing(lab: Lab) -> None:
    iptables(lab, f"-I FORWARD -p udp -m udp --dport {PORT} -j DROP")
    iptables(lab, "-I FORWARD -p tcp -m tcp --dport 8080 -j DROP")
    watched = ("--pod-cidr", "192.0.2.0/24", "--service-cidr", f"{WEB.cluster_ip}/32")
    with lab.trace(*watched) as trace:
        for _ in range(3):
            send(lab, [PORT] * 3)  # moves a counter, but touches no watched address
            with lab.dial("podA", WEB.cluster_ip, WEB.port) as dial:
                drop = trace.wait_for_drop({"packet.sport": dial.sport})
                check_fields(drop, rule("FORWARD", 1))
        trace.stop()


def send(lab: Lab, ports: list[int]) -> None:
    """Datagrams from podA to podB."""
    with namespaces.network(lab.node.namespace("podA")):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        for port in ports:
            with contextlib.suppress(OSError):  # the answer to one before
                sender.sendto(DATAGRAM, (POD_B.ip, port))


def refusals(trace: Trace) -> Iterator[dict]:
    """What was dropped or rejected, until nothing more comes."""
    with contextlib.suppress(Unexpected):
        while True:
            record = parse_line(trace.wait_for_line(LINE_S))
            if record["type"] in ("drop", "reject"):
                yield record


def maze(seed: int) -> str:
    """Rules for iptables-legacy-restore, each with a port, in chains that jump to later ones."""
    chance = random.Random(seed)
    names = ["FORWARD", *(f"C{number}" for number in range(CHAINS))]
    chains: dict[str, list[str]] = {name: [] for name in names}
    for port in PORTS:
        target = "DROP" if port % 3 else "REJECT"
        chains[chance.choice(names)].append(f"-p udp -m udp --dport {port} -j {target}")
    for index, name in enumerate(names[1:], 1):
        chains[chance.choice(names[:index])].append(f"-j {name}")
    lines = ["*filter", ":FORWARD ACCEPT [0:0]", *(f":{name} - [0:0]" for name in names[1:])]
    for name, rules in chains.items():
        chance.shuffle(rules)
        lines += [f"-A {name} {options}" for options in rules]
    return "\n".join([*lines, "COMMIT\n"])


def owners(rules: str) -> dict[int, Place]:
    """Where the rule of each port is."""
    lengths: Counter[str] = Counter()
    places = {}
    for chain, options in re.findall(r"^-A (\S+) (.*)$", rules, re.MULTILINE):
        lengths[chain] += 1
        if port := re.search(r"--dport (\d+)", options):
            places[int(port[1])] = (chain, lengths[chain])
    return places


def judge(drop: dict, *tables: dict[int, Place]) -> str:
    """Whether the drop leads to the rule that owns its port, in one of the tables there were."""
    if field(drop, "netfilter.method") == "none":
        return "unknown"
    port = field(drop, "packet.dport")
    place = (field(drop, "netfilter.chain"), field(drop, "netfilter.rule_number"))
    text = field(drop, "netfilter.rule")
    is_text_right = text is None or f"--dport {port} " in text
    is_right = is_text_right and place in [places[port] for places in tables]
    return "right" if is_right else f"wrong: {drop}"


@case("legacy")
def each_of_400_rules_in_20_chains(lab: Lab) -> None:
    rules = maze(seed=1)
    lab.node.run("iptables-legacy-restore", stdin=rules)
    with lab.trace(FILTER) as trace:
        for _ in range(ROUNDS):
            send(lab, random.sample(PORTS, RULES))
        verdicts = Counter(judge(drop, owners(rules)) for drop in refusals(trace))
        trace.stop()
    assert verdicts == {"right": ROUNDS * RULES}, verdicts


@contextlib.contextmanager
def traffic(lab: Lab) -> Iterator[None]:
    ended = threading.Event()

    def keep_sending() -> None:
        ports = itertools.cycle(PORTS)
        while not ended.wait(0.005):
            send(lab, [next(ports) for _ in range(10)])

    sender = threading.Thread(target=keep_sending)
    sender.start()
    try:
        yield
    finally:
        ended.set()
        sender.join()


@case("legacy")
def table_that_is_replaced_while_traffic_flows(lab: Lab) -> None:
    # Of the same size: the kernel may put a table right where the one before the last was.
    rules = maze(seed=1), maze(seed=2)
    lab.node.run("iptables-legacy-restore", stdin=rules[1])
    with lab.trace("--ring-size", "64M", FILTER) as trace:
        with traffic(lab):
            for _ in range(REPLACEMENTS):
                for text in rules:
                    lab.node.run("iptables-legacy-restore", stdin=text)
        places = [owners(text) for text in rules]
        verdicts = Counter(judge(drop, *places) for drop in refusals(trace))
        assert set(verdicts) <= {"right", "unknown"} and verdicts["right"], verdicts
        # Once it stays as it is, all is known again.
        send(lab, list(PORTS))
        verdicts = Counter(judge(drop, places[1]) for drop in refusals(trace))
        assert verdicts == {"right": RULES}, verdicts
        trace.stop()
