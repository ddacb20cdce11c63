# SPDX-License-Identifier: GPL-2.0-only
"""What a namespace's own tools list as its rules: what droptrace must agree with."""

import contextlib
import json
import os
import shlex
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mini_node import MiniNode

ENGINES = "DROPTRACE_ENGINES"  # the engines that droptrace may use, for its tests


def uses_hook() -> bool:
    """Rules are to be noted at their verdict, not read off nft_do_chain's frame."""
    return os.environ.get(ENGINES, "frame") in ("fentry", "kprobe")


def as_found() -> dict[str, object]:
    """The JSON fields that say how a rule or policy was found."""
    # Which function frees the packet is what the engines differ by.
    how = {"netfilter.method": "hook"}
    if not uses_hook():
        how = {"netfilter.method": "frame", "function": "nft_do_chain"}
    return how | {"netfilter.confidence": "exact"}


@dataclass(frozen=True)
class Rule:
    family: str
    table: str
    chain: str
    handle: int
    number: int  # 1-based position in its chain
    text: str
    comment: str | None

    def fields(self, *jumps: str) -> dict[str, object]:
        """The JSON fields that lead to this rule, which was reached by jumps from these chains."""
        return {
            "reason": "NETFILTER_DROP",
            "netfilter.backend": "nf_tables",
            "netfilter.family": self.family,
            "netfilter.table": self.table,
            "netfilter.chain": self.chain,
            "netfilter.rule_handle": self.handle,
            "netfilter.rule_number": self.number,
            "netfilter.rule": self.text,
            "netfilter.comment": self.comment,
            "netfilter.path": [*jumps, self.chain],
            "netfilter.policy": None,
            "netfilter.queue": None,
            "netfilter.queue_owner": None,
        } | as_found()


def _handle_and_text(line: str) -> tuple[int, str]:
    text, _, handle = line.strip().rpartition(" # handle ")
    return int(handle), text


def _native_texts(listing: str) -> dict[tuple[str, str, int], str]:
    """By family, table and handle. Rules stand behind two tabs, and so does what has no handle."""
    texts = {}
    family = table = ""
    for line in listing.splitlines():
        if line.startswith("table "):
            family, table = line.split()[1:3]
        elif line.startswith("\t\t") and " # handle " in line:
            handle, text = _handle_and_text(line)
            texts[family, table, handle] = text
    return texts


def _iptables_texts(family: str, saved: str) -> dict[tuple[str, str, str, int], str]:
    """By family, table, chain and number."""
    texts = {}
    table = ""
    numbers: Counter[str] = Counter()
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
            numbers.clear()
        elif line.startswith("-A "):
            chain = line.split()[1]
            numbers[chain] += 1
            texts[family, table, chain, numbers[chain]] = line
    return texts


def _comment(text: str) -> str | None:
    """It is a word of its own, behind iptables' option or nft's keyword."""
    option = "--comment" if text.startswith("-A ") else "comment"
    words = shlex.split(text)
    return words[words.index(option) + 1] if option in words else None


def list_rules(node: MiniNode, namespace: str = "node") -> list[Rule]:
    """All rules of nf_tables in a namespace; iptables-nft's as iptables-nft-save has them."""
    listing = json.loads(node.run_in(namespace, "nft", "-j", "-a", "list", "ruleset"))
    native = _native_texts(node.run_in(namespace, "nft", "-a", "list", "ruleset"))
    saved = _iptables_texts("ip", node.run_in(namespace, "iptables-nft-save"))
    saved |= _iptables_texts("ip6", node.run_in(namespace, "ip6tables-nft-save"))
    rules = []
    numbers: Counter[tuple[str, str, str]] = Counter()
    for item in listing["nftables"]:
        if "rule" not in item:
            continue
        family, table, chain, handle = (
            item["rule"][key] for key in ("family", "table", "chain", "handle")
        )
        numbers[family, table, chain] += 1
        number = numbers[family, table, chain]
        text = saved.get((family, table, chain, number)) or native[family, table, handle]
        rules.append(Rule(family, table, chain, handle, number, text, _comment(text)))
    return rules


def find_rule(
    node: MiniNode, words: str, namespace: str = "node", family: str | None = None
) -> Rule:
    """The only rule whose text has these words."""
    (rule,) = (
        rule
        for rule in list_rules(node, namespace)
        if words in rule.text and family in (None, rule.family)
    )
    return rule


@contextlib.contextmanager
def repeating(action: Callable[[], object]) -> Iterator[None]:
    """Does something over and over, once at least, in a thread of its own."""
    ending = threading.Event()
    problems: list[Exception] = []

    def work() -> None:
        try:
            action()
            while not ending.is_set():
                action()
        except Exception as problem:
            problems.append(problem)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
    if problems:
        raise problems[0]
