# SPDX-License-Identifier: GPL-2.0-only
"""One container that is a Kind node: what kind, kubelet, kube-proxy and kindnetd do in it."""

import contextlib
import ipaddress
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cri
import kube_nftables
import kube_rules
import network_policy
import node_image
from docker_host import DockerHost, Failed, wait_until
from pods import (
    EMPTY,
    POD_SUBNET,
    SERVICE_SUBNET,
    Pod,
    PodSpec,
    kubernetes_service,
    service_of,
)

IMAGE = "droptrace.test/node:1"
NETWORK, DOCKER_SUBNET = "kind", "172.19.0.0/16"
CLUSTER = "dev-cluster"

# The flags that kind itself gives to "docker run".
KIND_FLAGS = f"""
    --detach --tty --pull=never --net {NETWORK} --restart=on-failure:1 --init=false
    --cgroupns=private --privileged --security-opt seccomp=unconfined
    --security-opt apparmor=unconfined --tmpfs /tmp --tmpfs /run --volume /var
    --env container=docker --stop-signal SIGRTMIN+3 --label io.x-k8s.kind.cluster={CLUSTER}
""".split()

# As kind does; where there are none, Docker would make the directory on the machine.
LIB_MODULES = "/lib/modules"
MODULES = ("--volume", f"{LIB_MODULES}:{LIB_MODULES}:ro") if Path(LIB_MODULES).exists() else ()

KUBEADM_CONF = """\
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
networking:
  podSubnet: {pods}
  serviceSubnet: {services}
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: {mode}
"""

# How the rules of kube-proxy are loaded in each of its modes, and by what they are taken away.
LOAD = {
    "nft": ("iptables-nft-restore",),
    "legacy": ("iptables-legacy-restore",),
    "nftables": ("nft", "-f", "-"),
}
FLUSH = {
    "nft": "for t in filter nat mangle; do nft delete table ip $t 2>/dev/null || true; done",
    "legacy": "for t in filter nat mangle; do iptables-legacy -t $t -F; iptables-legacy -t $t -X;"
    " done",
    "nftables": "nft delete table ip kube-proxy",
}


@dataclass(frozen=True)
class Place:
    """Where a node is in its cluster."""

    name: str
    ip: str
    pod_cidr: str
    role: str = "worker"


CONTROL_PLANE = Place(f"{CLUSTER}-control-plane", "172.19.0.2", "10.244.0.0/24", "control-plane")
WORKER = Place(f"{CLUSTER}-worker", "172.19.0.3", "10.244.1.0/24")


class KindNode:
    """A started node; its pods come with add_pod(), its services with set_proxy()."""

    def __init__(self, host: DockerHost, place: Place, others: Sequence[Place] = ()) -> None:
        self.host, self.place = host, place
        self._others = others  # kindnetd has routes to their pods
        self.pods: dict[str, Pod] = {}
        self.specs: dict[str, PodSpec] = {}
        self.mode = "nft"
        self.policy = network_policy.NetworkPolicy(self)
        flags = ["--name", place.name, "--hostname", place.name, "--ip", place.ip]
        flags += ["--label", f"io.x-k8s.kind.role={place.role}", *MODULES]
        host.docker("run", *KIND_FLAGS, *flags, IMAGE)
        self._come_up()

    # Docker's side

    def _come_up(self) -> None:
        """From the start of the container to a node that is Ready."""
        state = self.host.docker("inspect", "--format", "{{.State.Pid}}", self.place.name)
        self._pid = int(state)
        self._write_cluster_files()
        self.wait_for_containerd()
        for other in self._others:
            self.run("ip", "route", "replace", other.pod_cidr, "via", other.ip)
        self.run("ctr", "-n", "k8s.io", "images", "import", node_image.POD_IMAGES)

    def restart(self) -> None:
        """docker restart: /run is new, /var is not, and so is every namespace."""
        self.host.docker("restart", "--time", "0", self.place.name)
        self._come_up()

    def wait_for_containerd(self) -> None:
        """Until it answers: systemd has to start it first."""

        def answers() -> bool:
            with contextlib.suppress(cri.Refused):
                return bool(self.runtime.version())
            return False

        try:
            wait_until(answers, f"containerd in {self.place.name}")
        except Failed as error:
            said = self.host.docker("logs", "--tail", "30", self.place.name)
            raise Failed(f"{error}: the node says:\n{said}") from error

    def exec(self, *argv: object, privileged: bool = True, flags: Sequence[str] = ()) -> list[str]:
        """The command line of a docker exec."""
        more = (*flags, "--privileged") if privileged else flags
        return self.host.command("exec", *more, self.place.name, *argv)

    def run(self, *argv: object, stdin: str | None = None) -> str:
        """Runs a short command in the node; returns its output, raises if it fails."""
        if stdin is None:
            return self.host.docker("exec", "--privileged", self.place.name, *argv)
        arguments = ("exec", "--privileged", "--interactive", self.place.name, *argv)
        return self.host.docker(*arguments, input=stdin)

    def copy(self, source: Path, destination: str) -> None:
        self.host.docker("cp", source, f"{self.place.name}:{destination}")

    def path(self, path: str) -> Path:
        """A file of the node, as this process sees it."""
        return self.host.root / f"proc/{self._pid}/root" / path.lstrip("/")

    @property
    def namespace(self) -> Path:
        return self.host.root / f"proc/{self._pid}/ns/net"

    @property
    def runtime(self) -> cri.Runtime:
        return cri.Runtime(self.path("/run/containerd/containerd.sock"))

    # kindnetd's and kubelet's side

    def _write_cluster_files(self) -> None:
        mode = "nftables" if self.mode == "nftables" else "iptables"
        text = KUBEADM_CONF.format(pods=POD_SUBNET, services=SERVICE_SUBNET, mode=mode)
        self.path("/kind/kubeadm.conf").write_text(text)
        ipam = {
            "type": "host-local",
            "dataDir": "/run/cni-ipam-state",
            "routes": [{"dst": "0.0.0.0/0"}],
            "ranges": [[{"subnet": self.place.pod_cidr}]],
        }
        plugins = [
            {"type": "ptp", "ipMasq": False, "mtu": 1500, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ]
        conflist = {"cniVersion": "0.3.1", "name": "kindnet", "plugins": plugins}
        self.path("/etc/cni/net.d/10-kindnet.conflist").write_text(json.dumps(conflist))

    def add_pod(self, spec: PodSpec, sandbox: cri.Sandbox | None = None) -> Pod:
        """A new pod, or a new sandbox of one that had one before."""
        wanted = sandbox or spec.sandbox()
        self.path(wanted.log_directory).mkdir(parents=True, exist_ok=True)
        made = self.runtime.run(wanted)
        if spec.host_network:
            pod = Pod(made, self.place.ip)
        else:
            results = self.path(f"/var/lib/cni/results/kindnet-{made.id}-eth0")
            result = json.loads(results.read_text())["result"]
            netns = result["interfaces"][1]["sandbox"].replace("/var/run/", "/run/")
            ip = result["ips"][0]["address"].partition("/")[0]
            pod = Pod(made, ip, self.path(netns))
        self.pods[spec.name], self.specs[spec.name] = pod, spec
        return pod

    def remove_pod(self, spec: PodSpec) -> Pod:
        pod = self.pods.pop(spec.name)
        self.runtime.remove(pod.sandbox)
        return pod

    def restart_pods(self) -> None:
        """New sandboxes for the pods that the node had before it was restarted, in no order that
        would give each the address that it had."""
        for name, pod in reversed(list(self.pods.items())):
            sandbox = replace(pod.sandbox, id="", attempt=pod.sandbox.attempt + 1)
            self.add_pod(self.specs[name], sandbox)

    def give_next(self, ip: str) -> None:
        """The next pod is to get this address, if it is free."""
        before = str(ipaddress.ip_address(ip) - 1)
        self.path("/run/cni-ipam-state/kindnet/last_reserved_ip.0").write_text(before)

    # kube-proxy's side

    def services(self) -> list[kube_rules.Service]:
        known = [
            service_of(spec, self.pods[name].ip)
            for name, spec in self.specs.items()
            if spec.service and name in self.pods
        ]
        return [*known, EMPTY, kubernetes_service(self.place.ip)]

    def set_proxy(self, mode: str) -> None:
        """kube-proxy's rules of its iptables mode ("nft", "legacy") or its "nftables" mode."""
        if mode == "nftables":
            rules = kube_nftables.table(self.services(), self.place.ip)
        else:
            rules = kube_rules.rules(self.services(), kube_rules.IPV4)
        if mode != self.mode:
            self.run("sh", "-c", FLUSH[self.mode])
            self.mode = mode
        self.run(*LOAD[mode], stdin=rules)

    def popen(self, argv: Sequence[str], **options: object) -> subprocess.Popen:
        return subprocess.Popen(self.exec(*argv), **options)
