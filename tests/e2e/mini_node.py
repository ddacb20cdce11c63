# SPDX-License-Identifier: GPL-2.0-only
"""A Kind node in miniature: network namespaces wired as kindnet does it, with kube-proxy's rules.

    podA podB podC          pods of the node: eth0 10.244.0.5, .6, .7, routed through the node
      |    |    |
     veth veth veth         each carries the gateway address 10.244.0.1
         node               eth0 172.18.0.2; kube-proxy's and kindnetd's iptables rules
          |
         host               br-kind 172.18.0.1, the Docker side
          |
         ext                eth0 172.18.0.9, somebody else on the Docker network

The node has mount and PID namespaces of its own as well, so that programs started in it see what
they would see in the container: its pods under /run/netns, its processes under /proc, its
/kind/kubeadm.conf. Nothing has a name outside: when this process ends, however it ends, the kernel
takes everything back.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import kube_rules
import namespaces
from kube_rules import Service
from patience import PATIENCE
from pod_state import PodState

NODE_INIT = Path(__file__).with_name("node_init.sh")

TOOLS = ("ip", "iptables-nft-restore", "nsenter", "pivot_root", "setpriv", "unshare")
COMMAND_S = 20 * PATIENCE  # bounds a hang

ENDING_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

# Says that it is there, and keeps the namespaces it is in alive.
HOLD = ("sh", "-c", "echo here; exec sleep infinity")

GATEWAY, GATEWAY6 = "10.244.0.1", "fd00:10:244::1"
HOST_IP, NODE_IP, EXT_IP = "172.18.0.1", "172.18.0.2", "172.18.0.9"
DOCKER_NET6 = "fc00:f853:ccd:e793"  # the IPv6 network that kind makes, with the same last parts


@dataclass(frozen=True)
class Pod:
    name: str  # in this lab
    number: int  # the last part of its addresses
    veth: str  # its interface in the node
    kubernetes: str = ""  # NAMESPACE/NAME, if that matters

    @property
    def ip(self) -> str:
        return f"10.244.0.{self.number}"

    @property
    def ip6(self) -> str:
        return f"fd00:10:244::{self.number}"

    @property
    def netns(self) -> str:
        """The name of its namespace in the node."""
        return f"cni-{self.name}"

    @property
    def full_name(self) -> str:
        return self.kubernetes or f"default/{self.name}"

    @property
    def where(self) -> str:
        """Its namespace, as droptrace calls it."""
        return f"pod:{self.full_name}"

    @property
    def state(self) -> PodState:
        space, name = self.full_name.split("/")
        return PodState(space, name, (self.ip, self.ip6), self.veth, self.netns)


POD_A = Pod("podA", 5, "vetha1a1a1a1", "data-platform/web-7f")
POD_B = Pod("podB", 6, "vethb2b2b2b2", "default/web-0")
POD_C = Pod("podC", 7, "vethc3c3c3c3", "monitoring/prometheus-0")
# For cases that add pods.
POD_D = Pod("podD", 8, "vethd4d4d4d4")
POD_E = Pod("podE", 9, "vethe5e5e5e5")

WEB = Service("default/web:http", "10.96.100.10", 80, ((POD_B.ip, 8080),), node_port=30080)
EMPTY = Service("default/empty:http", "10.96.100.20", 80)
WEB6 = Service("default/web:http", "fd00:10:96::6410", 80, ((POD_B.ip6, 8080),), node_port=30080)
EMPTY6 = Service("default/empty:http", "fd00:10:96::6420", 80)
KUBERNETES = Service("default/kubernetes:https", "10.96.0.1", 443, ((NODE_IP, 6443),))

# What kind writes into every node, as far as it names the cluster's addresses.
KUBEADM_CONF = """\
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
networking:
  podSubnet: 10.244.0.0/16,fd00:10:244::/56
  serviceSubnet: 10.96.0.0/16,fd00:10:96::/112
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
"""

# Addresses are usable at once: no duplicate address detection to wait for.
NO_DELAYS = {
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.default.accept_ra": "0",
}
ROUTER = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv4.conf.all.route_localnet": "1",
}


def missing_prerequisite(*more_tools: str) -> str | None:
    """Why there can be no mini node here; None if there can."""
    if os.geteuid() != 0:
        return "network namespaces and BPF need root"
    missing = [tool for tool in (*TOOLS, *more_tools) if not shutil.which(tool)]
    return f"not installed: {', '.join(missing)}" if missing else None


def clean_up_on_signals() -> None:
    """Signals that end the program become exceptions, so that every with block cleans up."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    for number in ENDING_SIGNALS:
        signal.signal(number, leave)


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Nothing interrupts a clean-up: signals that would end the program arrive after it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_PIPES = {
    "stdin": subprocess.PIPE,
    "stdout": subprocess.PIPE,
    "stderr": subprocess.PIPE,
    "text": True,
}


def _finish(process: subprocess.Popen, stdin: str | None) -> str:
    output, errors = process.communicate(stdin, timeout=COMMAND_S)
    if process.returncode:
        raise RuntimeError(f"{' '.join(process.args)}: {errors.strip()}")
    return output


def _first_line(process: subprocess.Popen) -> str:
    readable, _, _ = select.select([process.stdout], [], [], COMMAND_S)
    line = process.stdout.readline() if readable else ""
    if not line:
        process.kill()
        raise RuntimeError(f"{' '.join(process.args)}: {process.stderr.read().strip()}")
    return line


class MiniNode:
    """A context manager. backend says which iptables holds the node's rules: "nft" or "legacy"."""

    def __init__(self, backend: str = "nft") -> None:
        self.backend = backend
        self._processes: list[subprocess.Popen] = []
        self._pids: dict[str, int] = {}  # a process in each network namespace

    def __enter__(self) -> "MiniNode":
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process of the node and waits for that; what was theirs goes with them."""
        with signals_wait():
            init = os.pidfd_open(self._pids["node"]) if "node" in self._pids else None
            for process in self._processes:
                process.kill()
            for process in self._processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(COMMAND_S)
                for stream in (process.stdin, process.stdout, process.stderr):
                    if stream:
                        stream.close()
            if init is not None:
                select.select([init], [], [], 10)
                os.close(init)
            self._processes.clear()
            self._pids.clear()

    def namespace(self, name: str) -> Path:
        """The network namespace of node, host, ext or a pod, as a file."""
        return Path(f"/proc/{self._pids[name]}/ns/net")

    def pid(self, name: str) -> int:
        """A process in that namespace, which stands for it in commands of ip."""
        return self._pids[name]

    def inum(self, name: str) -> int:
        return self.namespace(name).stat().st_ino

    def path(self, path: str) -> Path:
        """A file of the node, seen from outside."""
        return Path(f"/proc/{self._pids['node']}/root") / path.lstrip("/")

    def node_command(self, argv: Sequence[str], **popen: object) -> subprocess.Popen:
        """Starts a program in the node: it sees the node's files, processes and network."""
        self._processes = [p for p in self._processes if p.poll() is None]
        process = namespaces.popen_in(self._pids["node"], argv, **popen)
        self._processes.append(process)
        return process

    def run(self, *argv: str, stdin: str | None = None) -> str:
        """Runs a short command in the node; returns its output, raises if it fails."""
        return _finish(self.node_command(argv, **_PIPES), stdin)

    def run_in(self, name: str, *argv: str, stdin: str | None = None) -> str:
        """The same with a command of the machine that only goes to another network namespace."""
        enter = ["nsenter", f"--net={self.namespace(name)}", "--"]
        return _finish(subprocess.Popen([*enter, *argv], **_PIPES), stdin)

    def ip(self, name: str, *commands: str) -> None:
        """Runs iproute2 commands in one of the network namespaces."""
        self.run_in(name, "ip", "-batch", "-", stdin="\n".join(commands))

    def write_sysctl(self, name: str, key: str, value: str) -> None:
        """Sets net.… in one of the network namespaces."""
        with namespaces.network(self.namespace(name)):
            Path("/proc/sys", *key.split(".")).write_text(value)

    def _build(self) -> None:
        for name in ("host", "ext"):
            holder = self._start_outside("unshare", "--net", "--", *HOLD)
            _first_line(holder)
            self._pids[name] = holder.pid
        own = ("--net", "--mount", "--pid", "--fork", "--kill-child")
        node = self._start_outside("unshare", *own, "--", str(NODE_INIT))
        self._pids["node"] = int(_first_line(node))
        self.path("/kind/kubeadm.conf").write_text(KUBEADM_CONF)

        self._prepare_namespace("host", NO_DELAYS | ROUTER)
        self._prepare_namespace("ext", NO_DELAYS)
        self._prepare_namespace("node", NO_DELAYS | ROUTER)
        self._wire_docker_network()
        for pod in (POD_A, POD_B, POD_C):
            self.add_pod(pod)
        rules = kube_rules.rules((WEB, EMPTY, KUBERNETES), kube_rules.IPV4)
        self.run(f"iptables-{self.backend}-restore", stdin=rules)
        rules = kube_rules.rules((WEB6, EMPTY6), kube_rules.IPV6)
        self.run(f"ip6tables-{self.backend}-restore", stdin=rules)

    def _start_outside(self, *argv: str) -> subprocess.Popen:
        """A process that dies with this one, even if this one is killed."""
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *argv], **_PIPES)
        self._processes.append(process)
        return process

    def _prepare_namespace(self, name: str, sysctls: Mapping[str, str]) -> None:
        for key, value in sysctls.items():
            self.write_sysctl(name, key, value)
        self.ip(name, "link set lo up")

    def _wire_docker_network(self) -> None:
        self.ip(
            "host",
            "link add br-kind type bridge",
            f"addr add {HOST_IP}/16 dev br-kind",
            f"addr add {DOCKER_NET6}::1/64 dev br-kind nodad",
            "link set br-kind up",
        )
        for name, address in (("node", NODE_IP), ("ext", EXT_IP)):
            port = f"v{name}"
            self.ip(
                "host",
                f"link add {port} type veth peer name eth0 netns {self._pids[name]}",
                f"link set {port} master br-kind up",
            )
            self.ip(
                name,
                f"addr add {address}/16 dev eth0",
                f"addr add {DOCKER_NET6}::{address.rsplit('.')[-1]}/64 dev eth0 nodad",
                "link set eth0 up",
                f"route add default via {HOST_IP}",
                f"route add default via {DOCKER_NET6}::1",
            )

    def add_pod(self, pod: Pod) -> None:
        """Does what containerd and the CNI plugin ptp do for a new pod."""
        self.run("ip", "netns", "add", pod.netns)
        enter = ("nsenter", f"--net=/run/netns/{pod.netns}", "--")
        pause = self.node_command([*enter, *HOLD], **_PIPES)
        _first_line(pause)
        self._pids[pod.name] = pause.pid
        self._prepare_namespace(pod.name, NO_DELAYS)
        self.ip(
            "node",
            f"link add {pod.veth} type veth peer name eth0 netns {self._pids[pod.name]}",
            f"addr add {GATEWAY}/32 dev {pod.veth}",
            f"addr add {GATEWAY6}/128 dev {pod.veth} nodad",
            f"link set {pod.veth} up",
        )
        # The connected route goes, so that even pods of one node talk through the node.
        self.ip(
            pod.name,
            "link set eth0 up",
            f"addr add {pod.ip}/24 dev eth0",
            "route del 10.244.0.0/24 dev eth0",
            f"route add {GATEWAY} dev eth0 scope link src {pod.ip}",
            f"route add 10.244.0.0/24 via {GATEWAY} src {pod.ip}",
            f"route add default via {GATEWAY}",
            f"addr add {pod.ip6}/64 dev eth0 nodad noprefixroute",
            f"route add {GATEWAY6} dev eth0",
            f"route add default via {GATEWAY6}",
        )
        self.ip(
            "node",
            f"route add {pod.ip}/32 dev {pod.veth}",
            f"route add {pod.ip6}/128 dev {pod.veth}",
        )
        pod.state.write(self.path("/"))

    def remove_pod(self, pod: Pod) -> None:
        """Does what kubelet, the CNI plugin and containerd do when a pod is deleted."""
        pid = self._pids.pop(pod.name)
        pause = next(process for process in self._processes if process.pid == pid)
        self.ip("node", f"link del {pod.veth}")
        pod.state.remove(self.path("/"))
        pause.kill()
        pause.wait(COMMAND_S)
        self.run("ip", "netns", "del", pod.netns)
