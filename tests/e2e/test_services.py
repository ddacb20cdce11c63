# SPDX-License-Identifier: GPL-2.0-only
"""Services by name, from the rules of kube-proxy in each of its modes."""

import contextlib
import functools
import os
import socket
import time
import unittest.mock
from collections.abc import Callable, Sequence
from dataclasses import replace

import kube_nftables
import kube_rules
from cases import Lab, case
from droptrace_runner import Trace, Unexpected, check_fields, field
from kube_rules import Service
from mini_node import EMPTY, EMPTY6, KUBERNETES, NODE_IP, POD_B, WEB, WEB6

FAR = Service("shop/cart:http", "10.96.100.30", 80, node_port=30081, elsewhere=True)
LATE = Service("late/comer:api", "10.96.100.40", 8443)
UNNAMED = Service("default/plain", "10.96.100.50", 80)
SERVICES = (WEB, EMPTY, KUBERNETES, FAR, UNNAMED)

KNOWN_S = 10.0  # then the services must be known

Loader = Callable[[Lab, Sequence[Service]], None]


def load_iptables(lab: Lab, services: Sequence[Service]) -> None:
    rules = kube_rules.rules(services, kube_rules.IPV4)
    lab.node.run(f"iptables-{lab.node.backend}-restore", stdin=rules)


def load_nftables(lab: Lab, services: Sequence[Service]) -> None:
    lab.node.run("nft", "-f", "-", stdin=kube_nftables.table(services))


def each_mode(function: Callable[[Lab, Loader], None]) -> Callable[[Lab, Loader], None]:
    """Registers a case for each mode of kube-proxy; it is given what loads the rules of services."""

    @functools.wraps(function)
    def in_iptables_mode(lab: Lab) -> None:
        load_iptables(lab, SERVICES)
        function(lab, load_iptables)

    @functools.wraps(function)
    def in_nftables_mode(lab: Lab) -> None:
        lab.node.run("nft", "flush", "ruleset")
        load_nftables(lab, SERVICES)
        function(lab, load_nftables)

    in_nftables_mode.__name__ = f"{function.__name__}_in_nftables_mode"
    case("nft", "legacy")(in_iptables_mode)
    case("nft")(in_nftables_mode)
    return function


def drop_of(lab: Lab, trace: Trace, address: str, port: int, client: str = "podA") -> dict:
    with lab.dial(client, address, port) as dial:
        sport = dial.sport
        deadline = time.monotonic() + KNOWN_S
        while time.monotonic() < deadline:
            drop = trace.wait_for_drop({}, deadline - time.monotonic())
            # Behind masquerading the port may be another.
            if sport in (field(drop, "packet.sport"), field(drop, "original.sport")):
                return drop
    raise Unexpected(f"no drop of the connection to {address}:{port}")


def check_service(
    lab: Lab,
    trace: Trace,
    address: str,
    port: int,
    expected: dict[str, object],
    before: str | None = None,
    client: str = "podA",
) -> dict:
    """Dials until the service has the expected name; until then it has no name, or the one before."""
    deadline = time.monotonic() + KNOWN_S
    while True:
        drop = drop_of(lab, trace, address, port, client)
        if field(drop, "service") == expected["service"]:
            check_fields(drop, expected)
            return drop
        if field(drop, "service") not in (None, before) or time.monotonic() > deadline:
            check_fields(drop, expected)


@each_mode
def behind_nat_the_service_that_was_dialled(lab: Lab, _: Loader) -> None:
    with lab.trace() as trace:
        expected = {
            "service": WEB.name,
            "packet.dst": POD_B.ip,
            "original.dst": WEB.cluster_ip,
            "where": POD_B.where,
            "dst_name": f"p/{POD_B.full_name}",
        }
        check_service(lab, trace, WEB.cluster_ip, WEB.port, expected)
        trace.stop()


@each_mode
def before_nat_the_destination_is_the_service(lab: Lab, _: Loader) -> None:
    with lab.trace() as trace:
        expected = {
            "type": "reject",
            "service": EMPTY.name,
            "packet.dst": EMPTY.cluster_ip,
            "original": None,
            "dst_name": "s/default/empty",
        }
        check_service(lab, trace, EMPTY.cluster_ip, EMPTY.port, expected)
        expected |= {"service": UNNAMED.name, "packet.dst": UNNAMED.cluster_ip}
        expected["dst_name"] = "s/default/plain"
        check_service(lab, trace, UNNAMED.cluster_ip, UNNAMED.port, expected)
        trace.stop()


@each_mode
def without_an_endpoint_on_this_node(lab: Lab, _: Loader) -> None:
    with lab.trace("--all") as trace:
        expected = {"type": "drop", "service": FAR.name, "dst_name": "s/shop/cart"}
        check_service(lab, trace, FAR.cluster_ip, FAR.port, expected)
        expected = {"type": "drop", "service": FAR.name, "dst_name": f"node/{socket.gethostname()}"}
        check_service(lab, trace, NODE_IP, 30081, expected, client="ext")
        trace.stop()


@each_mode
def by_its_port_of_the_node(lab: Lab, _: Loader) -> None:
    with lab.trace() as trace:
        expected = {
            "service": WEB.name,
            "packet.dst": POD_B.ip,
            "original.dst": NODE_IP,
            "original.dport": 30080,
            "dst_name": f"p/{POD_B.full_name}",
        }
        check_service(lab, trace, NODE_IP, 30080, expected, client="ext")
        trace.stop()


@each_mode
def a_port_that_the_service_does_not_have(lab: Lab, _: Loader) -> None:
    stop = "type filter hook forward priority 10; ip daddr 10.96.0.0/16 drop"
    lab.node.run("nft", f"table ip stop {{ chain forward {{ {stop}; }}; }}")
    with lab.trace() as trace:
        check_service(lab, trace, EMPTY.cluster_ip, 80, {"service": EMPTY.name})
        drop = drop_of(lab, trace, WEB.cluster_ip, 81)
        check_fields(drop, {"service": None, "dst_name": "s/default/web"})
        trace.stop()


@each_mode
def services_that_come_change_their_name_and_go(lab: Lab, load: Loader) -> None:
    stop = "type filter hook forward priority 10; ip daddr 10.96.0.0/16 drop"
    lab.node.run("nft", f"table ip stop {{ chain forward {{ {stop}; }}; }}")
    address, port = LATE.cluster_ip, LATE.port
    with lab.trace() as trace:
        check_service(lab, trace, EMPTY.cluster_ip, 80, {"service": EMPTY.name})
        nothing = {"service": None, "dst_name": None}
        check_fields(drop_of(lab, trace, address, port), nothing)

        load(lab, (*SERVICES, LATE))
        check_service(lab, trace, address, port, {"service": LATE.name, "dst_name": "s/late/comer"})

        renamed = replace(LATE, name="late/other:api")
        load(lab, (*SERVICES, renamed))
        expected = {"service": renamed.name, "dst_name": "s/late/other"}
        check_service(lab, trace, address, port, expected, before=LATE.name)

        load(lab, SERVICES)
        check_service(lab, trace, address, port, nothing, before=renamed.name)
        trace.stop()


@case("nft", "legacy")
def ipv6(lab: Lab) -> None:
    with lab.trace() as trace:
        expected = {"service": EMPTY6.name, "dst_name": "s/default/empty"}
        check_service(lab, trace, EMPTY6.cluster_ip, EMPTY6.port, expected)
        dst_name = f"p/{POD_B.full_name}"
        expected = {"service": WEB6.name, "packet.dst": POD_B.ip6, "dst_name": dst_name}
        check_service(lab, trace, WEB6.cluster_ip, WEB6.port, expected)
        trace.stop()


@case("nft", "legacy")
def names_are_not_looked_up_where_they_are_not_wanted(lab: Lab) -> None:
    with lab.trace("-n") as trace:
        drop = drop_of(lab, trace, EMPTY.cluster_ip, EMPTY.port)
        check_fields(drop, {"service": None, "dst_name": None})
        trace.stop()


@case()
def without_the_tools_drops_are_shown_as_they_are(lab: Lab) -> None:
    tools = lab.node.path("/run/tools")
    tools.mkdir()
    for name in ("iptables-nft-save", "ip6tables-nft-save", "nft"):
        (tools / name).symlink_to("/bin/false")
    with contextlib.ExitStack() as stack:
        with unittest.mock.patch.dict(os.environ, PATH=f"/run/tools:{os.environ['PATH']}"):
            trace = stack.enter_context(lab.trace())
        drop = drop_of(lab, trace, EMPTY.cluster_ip, EMPTY.port)
        check_fields(drop, {"packet.dst": EMPTY.cluster_ip, "service": None, "dst_name": None})
        trace.stop()
