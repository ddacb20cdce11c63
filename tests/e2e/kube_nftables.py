# SPDX-License-Identifier: GPL-2.0-only
"""The table that kube-proxy keeps in nftables mode, for the services it is given, as input of nft."""

import base64
import hashlib
from collections.abc import Iterator, Sequence

from kube_rules import Service

NODE_IPS = "172.18.0.2"
POD_CIDR = "10.244.0.0/16"

HOOKS = """\
	chain services {
		ip daddr . meta l4proto . th dport vmap @service-ips
		ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
	}
	chain endpoints-check {
		ip daddr . meta l4proto . th dport vmap @no-endpoint-services
		ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
	}
	chain filter-input { type filter hook input priority 0; ct state new jump endpoints-check; }
	chain filter-forward { type filter hook forward priority 0; ct state new jump endpoints-check; }
	chain filter-output { type filter hook output priority 0; ct state new jump endpoints-check; }
	chain nat-prerouting { type nat hook prerouting priority -100; jump services; }
	chain nat-output { type nat hook output priority -100; jump services; }
	chain nat-postrouting { type nat hook postrouting priority 100; jump masquerading; }
"""


def _hashed(name: str) -> str:
    digest = hashlib.sha256(name.encode()).digest()
    return f"{base64.b32encode(digest).decode()[:8]}-{name}"


def _path(service: Service) -> str:
    """NAMESPACE/SERVICE/PROTOCOL/PORTNAME."""
    name, _, port = service.name.partition(":")
    return f"{name}/tcp/{port}"


def _chains(service: Service) -> Iterator[str]:
    path = _path(service)
    own = f"service-{_hashed(path)}"
    endpoints = {
        f"endpoint-{_hashed(f'{path}__{address}/{port}')}": (address, port)
        for address, port in service.endpoints
    }
    for chain, (address, port) in endpoints.items():
        yield f"chain {chain} {{ ip saddr {address} jump mark-for-masquerade; "
        yield f"meta l4proto tcp dnat to {address}:{port}; }}\n"
    choices = ", ".join(f"{number} : goto {chain}" for number, chain in enumerate(endpoints))
    yield f"chain {own} {{ ip daddr {service.cluster_ip} ip saddr != {POD_CIDR} "
    yield f"jump mark-for-masquerade; numgen random mod {len(endpoints)} vmap {{ {choices} }}; }}\n"
    if service.node_port is not None:
        yield f"chain external-{_hashed(path)} {{ jump mark-for-masquerade; goto {own}; }}\n"


def _map(name: str, type_: str, elements: Sequence[str]) -> str:
    listed = f"elements = {{ {', '.join(elements)} }}\n" if elements else ""
    return f"map {name} {{ type {type_} : verdict\n {listed} }}\n"


def table(services: Sequence[Service], node_ips: str = NODE_IPS) -> str:
    """Input for nft -f, which replaces the table as a whole. IPv4 only."""
    ips, ports, no_ips, no_ports = [], [], [], []
    for service in services:
        key = f"{service.cluster_ip} . tcp . {service.port}"
        if service.endpoints:
            ips.append(f"{key} : goto service-{_hashed(_path(service))}")
            if service.node_port is not None:
                external = f"goto external-{_hashed(_path(service))}"
                ports.append(f"tcp . {service.node_port} : {external}")
            continue
        verdict = "drop" if service.elsewhere else "goto reject-chain"
        no_ips.append(f'{key} comment "{service.name}" : {verdict}')
        if service.node_port is not None:
            no_ports.append(f'tcp . {service.node_port} comment "{service.name}" : {verdict}')
    address_key, port_key = "ipv4_addr . inet_proto . inet_service", "inet_proto . inet_service"
    cluster_ips = ", ".join(dict.fromkeys(service.cluster_ip for service in services))
    return (
        "add table ip kube-proxy\ndelete table ip kube-proxy\ntable ip kube-proxy {\n"
        f"set cluster-ips {{ type ipv4_addr; elements = {{ {cluster_ips} }}\n }}\n"
        f"set nodeport-ips {{ type ipv4_addr; elements = {{ {node_ips} }}\n }}\n"
        "chain reject-chain { reject; }\n"
        "chain mark-for-masquerade { mark set mark or 0x4000; }\n"
        "chain masquerading { mark and 0x4000 == 0 return; mark set mark xor 0x4000; masquerade; }\n"
        + "".join(line for service in services if service.endpoints for line in _chains(service))
        + _map("service-ips", address_key, ips)
        + _map("service-nodeports", port_key, ports)
        + _map("no-endpoint-services", address_key, no_ips)
        + _map("no-endpoint-nodeports", port_key, no_ports)
        + HOOKS
        + "}\n"
    )
