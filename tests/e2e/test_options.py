# SPDX-License-Identifier: GPL-2.0-only
"""What the options of the live log do to what is shown and to when it ends."""

from cases import Lab, case
from droptrace_runner import check_fields
from mini_node import POD_A, POD_B, WEB
from traffic import ACK, RST, send_segment, shell_dial

# A command for behind "--" that causes one drop: nothing listens in podB.
REFUSED_DIAL = shell_dial(POD_B.ip, 8080)


def check_filter(lab: Lab, expression: str, matches: bool) -> None:
    """A SYN to the service default/web dies in the node, already on its way to podB."""
    with lab.trace(*expression.split()) as trace:
        lab.refused_dial(WEB.cluster_ip, WEB.port)
        result = trace.stop()
    assert len(result.drops()) == matches, (expression, result.drops())
    assert matches or result.summary()["filtered"] >= 1, (expression, result.summary())


@case()
def filter_matches_the_packet_as_dropped_or_as_dialled(lab: Lab) -> None:
    lab.node.run("iptables-nft", "-A", "FORWARD", "-d", POD_B.ip, "-j", "REJECT")
    check_filter(lab, f"host {POD_B.ip}", matches=True)
    check_filter(lab, f"dst host {WEB.cluster_ip} and dst port {WEB.port}", matches=True)
    check_filter(lab, "port 8080 and tcp[tcpflags] & tcp-syn != 0", matches=True)
    check_filter(lab, f"src host {POD_B.ip}", matches=False)
    check_filter(lab, "udp", matches=False)


@case()
def syn_hides_what_is_no_connection_attempt(lab: Lab) -> None:
    lab.node.write_sysctl("node", "net.netfilter.nf_conntrack_tcp_loose", "0")
    with lab.trace("--syn") as trace:
        send_segment(lab.node.namespace("podA"), (POD_A.ip, 40002), (POD_B.ip, 8080), ACK)
        sport = lab.refused_dial()
        trace.wait_for_drop({"packet.sport": sport, "packet.tcp_flags": "S"})
        check_fields(trace.stop().summary(), {"shown": 1, "filtered": 1})


@case()
def count_ends_the_trace(lab: Lab) -> None:
    with lab.trace("-c", "2") as trace:
        for _ in range(3):
            lab.refused_dial()
        result = trace.end()
    assert result.status == 0, result
    assert len(result.drops()) == 2, result.drops()
    check_fields(result.summary(), {"shown": 2})


@case()
def duration_ends_the_trace(lab: Lab) -> None:
    result = lab.droptrace("-o", "json", "--duration", "300ms")
    assert result.status == 0, result
    check_fields(result.summary(), {"shown": 0, "lost": 0})


@case()
def exit_status_is_that_of_the_command(lab: Lab) -> None:
    for command, status in (
        (("true",), 0),
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -TERM $$"), 128 + 15),
    ):
        result = lab.droptrace("-q", "--", *command)
        assert result.status == status, (command, result)
    result = lab.droptrace("--", "no-such-command")
    assert result.status == 1 and "no-such-command" in result.stderr, result


@case()
def command_does_not_write_into_the_log(lab: Lab) -> None:
    result = lab.droptrace("-o", "json", "--", "echo", "hello")
    assert "hello" in result.stderr and "hello" not in result.stdout, result
    result.summary()


@case()
def command_is_traced_from_its_first_packet(lab: Lab) -> None:
    result = lab.droptrace("-o", "json", "--", *REFUSED_DIAL)
    assert result.status == 0, result
    assert len(result.drops()) == 1, result.drops()
    check_fields(result.drops()[0], {"reason": "NO_SOCKET", "packet.dst": POD_B.ip})


@case()
def expected_drop_decides_the_exit_status(lab: Lab) -> None:
    for expectations, status in (
        (("reason=NO_SOCKET",), 0),
        (("reason=NO_SOCKET", f"packet.dst={POD_B.ip}", "packet.dport=8080"), 0),
        (("reason=NETFILTER_DROP",), 3),
        (("reason=NO_SOCKET", f"packet.dst={POD_A.ip}"), 3),
    ):
        options = [word for text in expectations for word in ("--expect-drop", text)]
        result = lab.droptrace(*options, "--", *REFUSED_DIAL)
        assert result.status == status, (expectations, result)


@case()
def expected_silence_decides_the_exit_status(lab: Lab) -> None:
    assert lab.droptrace("--expect-none", "--", "true").status == 0
    result = lab.droptrace("--expect-none", "--", *REFUSED_DIAL)
    assert result.status == 3, result


@case()
def noise_is_counted_and_shown_on_demand(lab: Lab) -> None:
    # The reset of a connection that podB does not know.
    reset = (lab.node.namespace("podB"), (POD_B.ip, 40003), (POD_B.ip, 8080), RST)
    with lab.trace() as trace:
        send_segment(*reset)
        trace.wait_for_drop({"packet.sport": lab.refused_dial()})
        check_fields(trace.stop().summary(), {"shown": 1, "noise": 1})
    with lab.trace("--noise") as trace:
        send_segment(*reset)
        drop = trace.wait_for_drop({"packet.sport": 40003})
        check_fields(drop, {"noise": True, "reason": "NO_SOCKET", "packet.tcp_flags": "R"})
        check_fields(trace.stop().summary(), {"shown": 1, "noise": 0})


@case()
def stack_leads_from_the_location_outwards(lab: Lab) -> None:
    with lab.trace("--stack") as trace:
        drop = trace.wait_for_drop({"packet.sport": lab.refused_dial()})
    functions = [frame.split("+")[0] for frame in drop["stack"]]
    assert drop["stack"][0] == drop["location"], drop
    assert "ip_local_deliver_finish" in functions or "ip_rcv" in functions, functions

    with lab.trace() as trace:
        drop = trace.wait_for_drop({"packet.sport": lab.refused_dial()})
    assert "stack" not in drop, drop


@case()
def quiet_says_nothing_beside_the_log(lab: Lab) -> None:
    with lab.trace("-q") as trace:
        lab.refused_dial()
        result = trace.stop()
    assert result.stderr == "", result.stderr
    assert len(result.drops()) == 1, result.drops()


@case()
def no_names_calls_namespaces_by_number(lab: Lab) -> None:
    with lab.trace("-n") as trace:
        drop = trace.wait_for_drop({"packet.sport": lab.refused_dial()})
        check_fields(drop, {"where": f"netns:{lab.node.inum('podB')}"})
