# SPDX-License-Identifier: GPL-2.0-only
"""Which rule dropped it, by construction: each rule owns a port. Of thousands, none is wrong."""

import contextlib
import json
import random
import socket
import threading
from collections import Counter
from dataclasses import dataclass

import namespaces
from cases import Lab, case
from droptrace_runner import DROPS, Trace, Unexpected, field
from mini_node import POD_B
from node_rules import Rule, list_rules, repeating
from patience import PATIENCE
from rule_checks import NAMES, PLACE, check_not_wrong, iptables

SEED = 20
CHAINS = 40
RULES = 600
MANY_RULES = 3000
FIRST_PORT = 20000
CLIENTS = ("podA", "podC")
TRACE = ("--ring-size", "64M", "udp and portrange 20000-22999")
WARM_UP_MAX = round(100 * PATIENCE)
LINE_S = 5.0 * PATIENCE  # nothing more comes if nothing has come for so long
TARGETS = ("DROP", "REJECT", "REJECT --reject-with icmp-admin-prohibited")


@dataclass
class Maze:
    """Chains that jump at random, always to later ones, and rules that own one port each."""

    ports: range
    chains: dict[str, list[str]]  # the options of the rules, in order
    paths: dict[int, list[str]]  # by port: the chains that a datagram walks through

    def lines(self) -> list[str]:
        """For iptables(): makes the chains anew."""
        rules = [f"-A {chain} {rule}" for chain, rules in self.chains.items() for rule in rules]
        return [*(f":{chain}" for chain in self.chains), *rules]


def owner_of(rule: str) -> int | None:
    """The port that a rule owns; None if it is a jump."""
    words = rule.split()
    return int(words[words.index("--dport") + 1]) if "--dport" in words else None


def walk(chains: dict[str, list[str]], path: list[str], paths: dict[int, list[str]]) -> None:
    """Notes for each port where the first rule on the way that owns it is reached from."""
    for rule in chains[path[-1]]:
        port = owner_of(rule)
        if port is None:
            walk(chains, [*path, rule.removeprefix("-j ")], paths)
        else:
            paths.setdefault(port, path)


def make_maze(seed: int, rules: int) -> Maze:
    ports = range(FIRST_PORT, FIRST_PORT + rules)
    rng = random.Random(seed)
    names = [f"MAZE-{index}" for index in range(CHAINS)]
    chains: dict[str, list[str]] = {name: [] for name in names}
    for port in ports:
        rule = f"-p udp -m udp --dport {port} -j {rng.choice(TARGETS)}"
        chains[rng.choice(names)].append(rule)
    depth = {names[0]: 1}
    for index, name in enumerate(names[1:], start=1):
        # A chain may be reached from two others; not so deep that the path is not read any more.
        above = [chain for chain in names[:index] if depth[chain] < 6]
        callers = rng.sample(above, k=min(len(above), rng.choice((1, 1, 2))))
        depth[name] = 1 + max(depth[caller] for caller in callers)
        for caller in callers:
            chains[caller].append(f"-j {name}")
    for options in chains.values():
        rng.shuffle(options)
    paths: dict[int, list[str]] = {}
    walk(chains, ["FORWARD", names[0]], paths)
    return Maze(ports, chains, paths)


def load_maze(lab: Lab, rules: int = RULES) -> Maze:
    maze = make_maze(SEED, rules)
    iptables(lab, *maze.lines(), "-A FORWARD -j MAZE-0")
    return maze


def reordered(maze: Maze, rng: random.Random) -> Maze:
    """The same walks with the rules that own ports in another order."""
    chains = {}
    for name, rules in maze.chains.items():
        owners = [rule for rule in rules if owner_of(rule)]
        rng.shuffle(owners)
        chains[name] = [owners.pop() if owner_of(rule) else rule for rule in rules]
    return Maze(maze.ports, chains, maze.paths)


def send_all(lab: Lab, maze: Maze, client: str, seed: int) -> None:
    """A datagram to each port, in some order. What is not yet dropped fills the socket's buffer,
    so that no more of them are under way than the node can queue."""
    with namespaces.network(lab.node.namespace(client)):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        for port in random.Random(seed).sample(maze.ports, k=len(maze.ports)):
            sender.sendto(b"", (POD_B.ip, port))


def send(lab: Lab, maze: Maze, rounds: int) -> int:
    """From all clients at once; returns how many to each port."""

    def work(client: str) -> None:
        for seed in range(rounds):
            send_all(lab, maze, client, seed)

    threads = [threading.Thread(target=work, args=(client,)) for client in CLIENTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rounds * len(CLIENTS)


def warm_up(lab: Lab, *traces: Trace) -> int:
    """Until the text of the rules has been read; returns how many datagrams that took."""
    with namespaces.network(lab.node.namespace("podA")):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        for count in range(1, WARM_UP_MAX):
            sender.sendto(b"", (POD_B.ip, FIRST_PORT))
            drops = [trace.wait_for_drop({}) for trace in traces]
            if all(field(drop, "netfilter.rule") for drop in drops):
                return count
    raise Unexpected("the text of the rules does not come")


def collect(trace: Trace, maze: Maze, count: int, before: int = 0) -> list[dict]:
    """The drops of so many datagrams to each port, once all are there; none may be lost."""
    with contextlib.suppress(Unexpected):  # what is missing is found below
        for _ in range(count * len(maze.ports)):
            trace.wait_for_line(LINE_S)
    *lines, summary = map(json.loads, trace.stop().stdout.splitlines())
    drops = [line for line in lines if line["type"] in DROPS][before:]
    assert summary["lost"] == 0, summary
    ports = Counter(drop["packet"]["dport"] for drop in drops)
    wrong_count = {port: ports[port] for port in maze.ports if ports[port] != count}
    assert not wrong_count, f"of {count} drops each: {wrong_count}"
    return drops


def listed(lab: Lab) -> dict[int, Rule]:
    """The maze's rules by their handles, as the node's tools list them."""
    rules = list_rules(lab.node)
    return {rule.handle: rule for rule in rules if rule.chain.startswith("MAZE-")}


def check_records(
    drops: list[dict], rules: dict[int, Rule], maze: Maze, optional: frozenset[str] = frozenset()
) -> None:
    """Every field of every record must be right, and there if it is not optional."""
    for drop in drops:
        port = drop["packet"]["dport"]
        rule = rules[drop["netfilter"]["rule_handle"]]
        *jumps, chain = maze.paths[port]
        assert (owner_of(rule.text), rule.chain) == (port, chain), (drop, rule)
        missing = check_not_wrong(drop, rule.fields(*jumps) | {"netfilter.hook": "forward"})
        assert optional.issuperset(missing), (missing, drop)


@case()
def all_rules_are_named_right(lab: Lab) -> None:
    maze = load_maze(lab, MANY_RULES)
    rules = listed(lab)
    with lab.trace(*TRACE) as trace:
        before = warm_up(lab, trace)
        drops = collect(trace, maze, send(lab, maze, rounds=1), before)
    check_records(drops, rules, maze)


@case()
def all_rules_are_named_right_while_other_chains_are_rewritten(lab: Lab) -> None:
    maze = load_maze(lab)
    rules = listed(lab)
    service = "-A KUBE-CHURN -d 10.96.0.9 -j REJECT"
    with lab.trace(*TRACE) as trace:
        before = warm_up(lab, trace)
        with repeating(lambda: iptables(lab, ":KUBE-CHURN", service)):
            count = send(lab, maze, rounds=2)
        drops = collect(trace, maze, count, before)
    check_records(drops, rules, maze, optional=PLACE)


@case()
def all_rules_are_named_right_by_each_of_several_tracers(lab: Lab) -> None:
    maze = load_maze(lab)
    rules = listed(lab)
    with lab.trace(*TRACE) as first, lab.trace(*TRACE) as second:
        before = warm_up(lab, first, second)
        count = send(lab, maze, rounds=1)
        drops = [collect(trace, maze, count, before) for trace in (first, second)]
    for each in drops:
        check_records(each, rules, maze)


@case()
def no_rule_is_named_wrong_while_the_chains_themselves_are_rewritten(lab: Lab) -> None:
    # Each time the rules come in another order: what was read at one moment and what was read at
    # another do not fit together. A rule that is gone before it is looked up has no name.
    maze = load_maze(lab)
    rules = listed(lab)
    rng = random.Random(SEED)

    def rewrite() -> None:
        iptables(lab, *reordered(maze, rng).lines())
        rules.update(listed(lab))

    with lab.trace(*TRACE) as trace:
        with repeating(rewrite):
            count = send(lab, maze, rounds=2)
        drops = collect(trace, maze, count)
    check_records(drops, rules, maze, optional=frozenset(NAMES))
    assert any("chain" in drop["netfilter"] for drop in drops), "no rule is named at all"
