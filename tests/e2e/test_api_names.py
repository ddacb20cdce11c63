# SPDX-License-Identifier: GPL-2.0-only
"""Names that only the API server tells, by a kubectl of ours that says what a cluster's would."""

import contextlib
import os
import time
from collections.abc import Iterator

from cases import Lab, case
from droptrace_runner import Trace, check_fields
from patience import PATIENCE
from test_pods import forbid_forwarding

FAR_IP, FAR = "10.244.1.6", "p/data/db-0"
NOTICED_S = 10.0 * PATIENCE  # bounds a failure
KUBECTL = f"""#!/bin/sh
case "$*" in
  "--kubeconfig /kind/admin.conf "*" get --all-namespaces pods "*) echo '{FAR_IP} data db-0 worker2' ;;
  "--kubeconfig /kind/admin.conf "*" get --all-namespaces endpointslices "*) echo '{FAR_IP} data db' ;;
  *) exit 1 ;;
esac
"""


@contextlib.contextmanager
def kubectl(lab: Lab, script: str) -> Iterator[tuple[str, ...]]:
    """What has the node's kubectl be this script."""
    program = lab.node.path("/kind/bin/kubectl")
    program.parent.mkdir()
    program.write_text(script)
    program.chmod(0o755)
    lab.node.path("/kind/admin.conf").write_text("")
    before = os.environ["PATH"]
    os.environ["PATH"] = f"/kind/bin:{before}"
    try:
        yield ("--kubeconfig", "/kind/admin.conf")
    finally:
        os.environ["PATH"] = before


def drop_at(lab: Lab, trace: Trace, address: str) -> dict:
    with lab.dial("podA", address, 8080) as dial:
        return trace.wait_for_drop({"packet.sport": dial.sport, "attempt.syn": 1})


@case()
def a_pod_of_another_node_and_its_headless_service_are_named(lab: Lab) -> None:
    forbid_forwarding(lab)
    with kubectl(lab, KUBECTL) as options, lab.trace(*options) as trace:
        deadline = time.monotonic() + NOTICED_S
        drop = drop_at(lab, trace, FAR_IP)
        while "dst_name" not in drop and time.monotonic() < deadline:
            drop = drop_at(lab, trace, FAR_IP)
        check_fields(drop, {"dst_name": FAR, "service": "data/db"})
        check_fields(drop_at(lab, trace, "10.244.1.7"), {"dst_name": None, "service": None})


@case()
def text_says_on_which_node_the_pod_is(lab: Lab) -> None:
    forbid_forwarding(lab)
    shown = f" → data/db → db-0 {FAR_IP}:8080 (node/worker2)"
    with kubectl(lab, KUBECTL) as options, lab.trace(*options, output="text") as trace:
        deadline = time.monotonic() + NOTICED_S
        line = ""
        while shown not in line and time.monotonic() < deadline:
            with lab.dial("podA", FAR_IP, 8080):
                line = trace.wait_for_line() + trace.wait_for_line()
        assert shown in line, line


@case()
def an_api_server_that_does_not_answer_costs_a_status_line(lab: Lab) -> None:
    forbid_forwarding(lab)
    with kubectl(lab, "#!/bin/sh\nexit 1\n") as options, lab.trace(*options) as trace:
        check_fields(drop_at(lab, trace, FAR_IP), {"dst_name": None})
        deadline = time.monotonic() + NOTICED_S
        while "kubectl got no answer with /kind/admin.conf" not in trace.stderr():
            assert time.monotonic() < deadline, trace.stderr()
            drop_at(lab, trace, FAR_IP)


@case()
def what_contradicts_itself_is_refused(lab: Lab) -> None:
    for options, said in (
        (("--kubeconfig", "/kind/nowhere"), "File does not exist: /kind/nowhere"),
        (("--kubeconfig", "/kind/kubeadm.conf", "--no-api"), "contradicts --kubeconfig"),
    ):
        result = lab.droptrace(*options)
        assert result.status == 2 and said in result.stderr, result
