# SPDX-License-Identifier: GPL-2.0-only
"""Restarts, of containerd and of the whole node. The last cases: the pods are new after them."""

from node_lab import Lab, case
from pods import PodSpec

LATE = PodSpec("batch/after-restart-0")


@case
def containerd_restarts_while_droptrace_runs(lab: Lab) -> None:
    with lab.trace() as trace:
        lab.check_names(trace)
        lab.node.run("systemctl", "restart", "containerd")
        lab.node.wait_for_containerd()
        lab.check_names(trace)
        lab.check_pod(trace, lab.node.add_pod(LATE))
        lab.node.remove_pod(LATE)
        trace.stop()


@case
def droptrace_starts_after_a_restart_of_containerd(lab: Lab) -> None:
    lab.node.run("systemctl", "restart", "containerd")
    lab.node.wait_for_containerd()
    with lab.trace() as trace:
        lab.check_names(trace)
        trace.stop()


@case
def the_node_restarts(lab: Lab) -> None:
    before = {pod.ip: name for name, pod in lab.node.pods.items() if pod.netns}
    lab.node.restart()
    # /var has outlived it: files there still give each address to the pod that had it before.
    results = lab.node.path("/var/lib/cni/results")
    assert len(list(results.glob("kindnet-*"))) == len(before), before
    with lab.trace() as trace:
        lab.node.restart_pods()
        lab.node.set_proxy("nft")
        now = {pod.ip: name for name, pod in lab.node.pods.items() if pod.netns}
        assert [ip for ip in now if before.get(ip, now[ip]) != now[ip]], (now, before)
        lab.check_names(trace)
        trace.stop()
    with lab.trace() as trace:
        lab.check_names(trace)
        trace.stop()
