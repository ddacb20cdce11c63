# SPDX-License-Identifier: GPL-2.0-only
"""What kindnetd does for network policies: its table, its queue, and itself as the judge."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import node_image
from docker_host import Failed, wait_until
from pods import Pod

if TYPE_CHECKING:
    from kind_node import KindNode

QUEUE = 100
TABLE = "inet kube-network-policies"  # kind 0.24; "queue" stands for what the kernel may lack
RULES = """\
table inet kube-network-policies {{
	set podips-v4 {{ type ipv4_addr; elements = {{ {pods} }}; }}
	set podips-v6 {{ type ipv6_addr; }}
	chain postrouting {{
		type filter hook postrouting priority srcnat - 5; policy accept;
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
		meta skuid 0 accept
		ct state established,related accept
		{queue}
	}}
}}
"""
COMMENT = "process IPv{ip} traffic with network policy enforcement"
QUEUE_RULES = "\n".join(
    f'{family} {side}addr @podips-v{ip} queue num {QUEUE} bypass comment "{COMMENT.format(ip=ip)}"'
    for family, ip in (("ip", 4), ("ip6", 6))
    for side in ("s", "d")
)


class NetworkPolicy:
    """The policies of one node."""

    def __init__(self, node: "KindNode") -> None:
        self._node = node
        self._by_xtables = False

    @contextlib.contextmanager
    def deny_ingress(
        self, pods: Sequence[Pod], agent: Pod, allowed: Sequence[Pod] = ()
    ) -> Iterator[None]:
        """A default deny policy selects these pods; what comes from the allowed ones may pass.

        The agent is the pod that kindnetd runs in.
        """
        runtime = self._node.runtime
        sources = [pod.ip for pod in allowed]
        container = runtime.start(
            agent.sandbox, "kindnet-cni", node_image.KINDNETD, str(QUEUE), *sources, admin=True
        )
        try:
            self._wait_until_bound()
            self._load([pod.ip for pod in pods])
            yield
        finally:
            self._unload()
            runtime.stop_container(container)

    def _wait_until_bound(self) -> None:
        def is_bound() -> bool:
            queues = self._node.run("cat", "/proc/net/netfilter/nfnetlink_queue")
            return any(line.split()[0] == str(QUEUE) for line in queues.splitlines())

        wait_until(is_bound, "kindnetd's queue")

    def _load(self, addresses: Sequence[str]) -> None:
        pods = ", ".join(addresses)
        self._by_xtables = False
        try:
            self._node.run("nft", "-f", "-", stdin=RULES.format(pods=pods, queue=QUEUE_RULES))
        except Failed as error:
            if "No such file or directory" not in str(error):
                raise
            # This kernel's nf_tables cannot queue, but its xtables can: beside the same table.
            self._by_xtables = True
            self._node.run("nft", "-f", "-", stdin=RULES.format(pods=pods, queue=""))
            self._node.run("iptables-nft-restore", "--noflush", stdin=self._xtables(addresses))

    @staticmethod
    def _xtables(addresses: Sequence[str]) -> str:
        comment = COMMENT.format(ip=4)
        rest = f'-m comment --comment "{comment}" -j NFQUEUE --queue-num {QUEUE} --queue-bypass'
        lines = ["*mangle", ":POSTROUTING ACCEPT [0:0]"]
        lines.append("-A POSTROUTING -m owner --uid-owner 0 -j ACCEPT")
        lines.append("-A POSTROUTING -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
        for address in addresses:
            lines += [f"-A POSTROUTING {side} {address}/32 {rest}" for side in ("-s", "-d")]
        return "\n".join([*lines, "COMMIT\n"])

    def _unload(self) -> None:
        self._node.run("sh", "-c", f"nft delete table {TABLE} 2>/dev/null || true")
        if self._by_xtables:
            self._node.run("iptables-nft", "-t", "mangle", "-F", "POSTROUTING")
