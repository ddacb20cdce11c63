# SPDX-License-Identifier: GPL-2.0-only
"""The iptables rules that kube-proxy (iptables mode) and kindnetd keep on a Kind node.

rules() writes them as iptables-restore input: same chains, same hooks, same comments and the same
chain hashes as the real programs, for the services it is given.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MASQUERADE_MARK = "0x4000/0x4000"


@dataclass(frozen=True)
class Family:
    """What differs between the two runs of kube-proxy, one for each IP version."""

    pod_cidr: str
    host_prefix: int  # length of the prefix that is one address
    unreachable: str  # REJECT's answer to a service without endpoints
    guard_localnet: bool  # KUBE-FIREWALL's rule exists for IPv4 only


IPV4 = Family("10.244.0.0/16", 32, "icmp-port-unreachable", guard_localnet=True)
IPV6 = Family("fd00:10:244::/56", 128, "icmp6-port-unreachable", guard_localnet=False)


@dataclass(frozen=True)
class Service:
    """One TCP port of a service, in one IP version."""

    name: str  # NAMESPACE/SERVICE:PORTNAME
    cluster_ip: str
    port: int
    endpoints: tuple[tuple[str, int], ...] = ()
    node_port: int | None = None
    elsewhere: bool = False  # has endpoints on other nodes only, and its traffic policies are Local

    def chain(self, kind: str, endpoint: str = "") -> str:
        """KUBE-SVC-…, KUBE-SEP-… or KUBE-EXT-…, hashed as kube-proxy does."""
        digest = hashlib.sha256(f"{self.name}tcp{endpoint}".encode()).digest()
        return f"KUBE-{kind}-{base64.b32encode(digest).decode()[:16]}"


def _endpoint_text(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _comment(text: str) -> str:
    return f'-m comment --comment "{text}"'


def _table(name: str, builtin: Sequence[str], own: Sequence[str], lines: Sequence[str]) -> str:
    """A table; own are the chains that no rule names, the others are found in the rules."""
    chains = dict.fromkeys(own)
    for line in lines:
        words = line.split()
        targets = [target for option, target in zip(words, words[1:]) if option in ("-A", "-j")]
        chains.update(dict.fromkeys(t for t in targets if t.startswith(("KUBE-", "KIND-"))))
    return "\n".join(
        [
            f"*{name}",
            *(f":{chain} ACCEPT [0:0]" for chain in builtin),
            *(f":{chain} - [0:0]" for chain in chains),
            *lines,
            "COMMIT\n",
        ]
    )


def _service_nat(service: Service, family: Family) -> Iterator[str]:
    svc = service.chain("SVC")
    destination = f"-d {service.cluster_ip}/{family.host_prefix} -p tcp"
    dialled = f"{_comment(f'{service.name} cluster IP')} -m tcp --dport {service.port}"
    yield f"-A KUBE-SERVICES {destination} {dialled} -j {svc}"
    yield f"-A {svc} ! -s {family.pod_cidr} {destination} {dialled} -j KUBE-MARK-MASQ"
    for index, (address, port) in enumerate(service.endpoints):
        target = _endpoint_text(address, port)
        sep = service.chain("SEP", target)
        left = len(service.endpoints) - index
        chance = f" -m statistic --mode random --probability {1 / left:.11f}" if left > 1 else ""
        yield f"-A {svc} {_comment(f'{service.name} -> {target}')}{chance} -j {sep}"
        hairpin = f"-s {address}/{family.host_prefix} {_comment(service.name)}"
        yield f"-A {sep} {hairpin} -j KUBE-MARK-MASQ"
        yield f"-A {sep} -p tcp {_comment(service.name)} -m tcp -j DNAT --to-destination {target}"
    if service.node_port is not None:
        ext = service.chain("EXT")
        external = _comment(f"masquerade traffic for {service.name} external destinations")
        match = f"-p tcp {_comment(service.name)} -m tcp --dport {service.node_port}"
        yield f"-A KUBE-NODEPORTS {match} -j {ext}"
        yield f"-A {ext} {external} -j KUBE-MARK-MASQ"
        yield f"-A {ext} -j {svc}"


def _nat(services: Sequence[Service], family: Family) -> Iterator[str]:
    portals = _comment("kubernetes service portals")
    yield f"-A PREROUTING {portals} -j KUBE-SERVICES"
    yield f"-A OUTPUT {portals} -j KUBE-SERVICES"
    yield f"-A POSTROUTING {_comment('kubernetes postrouting rules')} -j KUBE-POSTROUTING"
    masquerade = _comment(
        "kind-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination traffic to our"
        " custom KIND-MASQ-AGENT chain"
    )
    yield f"-A POSTROUTING -m addrtype ! --dst-type LOCAL {masquerade} -j KIND-MASQ-AGENT"
    for service in services:
        if service.endpoints:
            yield from _service_nat(service, family)
    last = _comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain")
    yield f"-A KUBE-SERVICES {last} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
    yield f"-A KUBE-MARK-MASQ -j MARK --set-xmark {MASQUERADE_MARK}"
    yield f"-A KUBE-POSTROUTING -m mark ! --mark {MASQUERADE_MARK} -j RETURN"
    yield "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0"
    snat = _comment("kubernetes service traffic requiring SNAT")
    yield f"-A KUBE-POSTROUTING {snat} -j MASQUERADE --random-fully"
    local = _comment("kind-masq-agent: local traffic is not subject to MASQUERADE")
    yield f"-A KIND-MASQ-AGENT -d {family.pod_cidr} {local} -j RETURN"
    outbound = _comment(
        "kind-masq-agent: outbound traffic is subject to MASQUERADE (must be last in chain)"
    )
    yield f"-A KIND-MASQ-AGENT {outbound} -j MASQUERADE"


def _filter(services: Sequence[Service], family: Family) -> Iterator[str]:
    new = "-m conntrack --ctstate NEW"
    firewall = _comment("kubernetes load balancer firewall")
    external = _comment("kubernetes externally-visible service portals")
    portals = _comment("kubernetes service portals")
    health = _comment("kubernetes health check service ports")
    for chain in ("INPUT", "FORWARD", "OUTPUT"):
        yield f"-A {chain} {new} {firewall} -j KUBE-PROXY-FIREWALL"
        if chain == "INPUT":
            yield f"-A {chain} {health} -j KUBE-NODEPORTS"
        if chain == "FORWARD":
            yield f"-A {chain} {_comment('kubernetes forwarding rules')} -j KUBE-FORWARD"
        if chain != "INPUT":
            yield f"-A {chain} {new} {portals} -j KUBE-SERVICES"
        if chain != "OUTPUT":
            yield f"-A {chain} {new} {external} -j KUBE-EXTERNAL-SERVICES"
        if chain != "FORWARD":
            yield f"-A {chain} -j KUBE-FIREWALL"
    if family.guard_localnet:
        localnet = _comment("block incoming localnet connections")
        yield (
            f"-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 {localnet}"
            " -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
        )
    yield "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP"
    forwarding = _comment("kubernetes forwarding rules")
    yield f"-A KUBE-FORWARD {forwarding} -m mark --mark {MASQUERADE_MARK} -j ACCEPT"
    known = _comment("kubernetes forwarding conntrack rule")
    yield f"-A KUBE-FORWARD {known} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    for service in services:
        if not service.endpoints:
            destination = f"-d {service.cluster_ip}/{family.host_prefix} -p tcp"
            why = _comment(f"{service.name} has no endpoints")
            answer = f"-j REJECT --reject-with {family.unreachable}"
            if service.elsewhere:
                why, answer = _comment(f"{service.name} has no local endpoints"), "-j DROP"
            yield f"-A KUBE-SERVICES {destination} {why} -m tcp --dport {service.port} {answer}"
            if service.node_port is not None:
                local = f"-m addrtype --dst-type LOCAL -m tcp --dport {service.node_port}"
                yield f"-A KUBE-EXTERNAL-SERVICES -p tcp {why} {local} {answer}"


def rules(services: Sequence[Service], family: Family) -> str:
    """Input for (ip|ip6)tables-(nft|legacy)-restore."""
    canaries = ("KUBE-KUBELET-CANARY", "KUBE-PROXY-CANARY")
    hooks = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
    return (
        _table("mangle", hooks, ("KUBE-IPTABLES-HINT", *canaries), ())
        + _table("filter", hooks[1:4], canaries, [*_filter(services, family)])
        + _table("nat", (*hooks[:2], *hooks[3:]), canaries, [*_nat(services, family)])
    )
