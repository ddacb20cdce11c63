# SPDX-License-Identifier: GPL-2.0-only
"""scripts/k8s: what the manifest permits is enough, and what the dashboard asks for exists."""

import json
import re

from cases import Lab, case
from droptrace_runner import REPOSITORY, RECORD_S, run
from mini_node import POD_A, POD_B
from traffic import shell_dial

K8S = REPOSITORY / "scripts" / "k8s"


@case()
def capabilities_of_the_manifest_suffice(lab: Lab) -> None:
    text = (K8S / "droptrace.yaml").read_text()
    capabilities = re.findall(r"^ +- ([A-Z_]+) #", text, re.MULTILINE)
    assert "BPF" in capabilities and "drop: [ALL]" in text, capabilities
    bounds = "-all," + ",".join(f"+{name.lower()}" for name in capabilities)
    lab.node.run("iptables-nft", "-A", "FORWARD", "-d", POD_B.ip, "-j", "REJECT")
    limited = ["setpriv", "--bounding-set", bounds, "--no-new-privs"]
    trace = [str(lab.binary), "-o", "json", "--duration", f"{int(RECORD_S)}s", "-c", "1", "--ready-file", "/run/ready"]
    # The pod dials from a shell that has left for its namespace before the capabilities go.
    enter = ["nsenter", f"--net=/run/netns/{POD_A.netns}", "--"]
    dial = 'until [ -e /run/ready ]; do sleep 0.05; done; exec "$@"'
    dialler = lab.node.node_command(["sh", "-c", dial, "sh", *enter, *shell_dial(POD_B.ip, 8080)])
    result = run(lab.node, [*limited, *trace])
    dialler.wait(RECORD_S)
    assert result.status == 0, result
    drop = result.drops()[0]
    assert drop["peer"] == f"pod:{POD_A.full_name}/eth0", drop
    assert drop["src_name"] == f"p/{POD_A.full_name}", drop
    assert drop["netfilter"]["chain"] == "FORWARD", drop
    assert "REJECT" in drop["netfilter"]["rule"], drop


@case()
def dashboard_asks_for_metrics_that_exist(lab: Lab) -> None:
    dashboard = (K8S / "grafana-dashboard.json").read_text()
    json.loads(dashboard)
    source = (REPOSITORY / "userspace" / "report" / "metrics.cpp").read_text()
    names = set(re.findall(r"droptrace_[a-z_]+", dashboard))
    assert names and all(f'"{name}"' in source for name in names), names
