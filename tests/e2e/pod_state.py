# SPDX-License-Identifier: GPL-2.0-only
"""The files that containerd, libcni and kindnet's IPAM plugin keep of a pod, as far as they name it."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

RESULTS = "var/lib/cni/results"
LEASES = "run/cni-ipam-state/kindnet"
TASKS = "run/containerd/io.containerd.runtime.v2.task/k8s.io"
LOGS = "var/log/pods"


@dataclass(frozen=True)
class PodState:
    space: str  # Kubernetes namespace
    name: str
    addresses: tuple[str, ...]
    veth: str
    netns: str  # name under /run/netns

    @property
    def sandbox(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()

    @property
    def uid(self) -> str:
        return f"{self.sandbox[:8]}-0000-4000-8000-{self.sandbox[8:20]}"

    def write(self, root: Path) -> None:
        """root: the node's. In the order in which they come into being."""
        for address in self.addresses:
            _write(root / LEASES / address, f"{self.sandbox}\r\neth0")
        _write(root / RESULTS / f"kindnet-{self.sandbox}-eth0", json.dumps(self._cache()))
        loopback = self._cache() | {"ifName": "lo", "networkName": "cni-loopback"}
        _write(root / RESULTS / f"cni-loopback-{self.sandbox}-lo", json.dumps(loopback))
        _write(root / TASKS / self.sandbox / "config.json", json.dumps(self._bundle()))
        self._log_directory(root).mkdir(parents=True, exist_ok=True)

    def remove(self, root: Path) -> None:
        """What the deletion of the pod takes away at once; the logs are left for later."""
        self.remove_attachment(root)
        shutil.rmtree(root / TASKS / self.sandbox)

    def remove_attachment(self, root: Path) -> None:
        """The CNI plugins' part of it, which comes first."""
        for address in self.addresses:
            (root / LEASES / address).unlink()
        for name in (f"kindnet-{self.sandbox}-eth0", f"cni-loopback-{self.sandbox}-lo"):
            (root / RESULTS / name).unlink()

    def _log_directory(self, root: Path) -> Path:
        return root / LOGS / f"{self.space}_{self.name}_{self.uid}"

    def _cache(self) -> dict:
        path = f"/var/run/netns/{self.netns}"
        arguments = {
            "IgnoreUnknown": "1",
            "K8S_POD_NAMESPACE": self.space,
            "K8S_POD_NAME": self.name,
            "K8S_POD_INFRA_CONTAINER_ID": self.sandbox,
            "K8S_POD_UID": self.uid,
        }
        ips = [
            {"version": "6", "interface": 1, "address": f"{address}/64"}
            if ":" in address
            else {"version": "4", "interface": 1, "address": f"{address}/24"}
            for address in self.addresses
        ]
        interfaces = [{"name": self.veth}, {"name": "eth0", "sandbox": path}]
        return {
            "kind": "cniCacheV1",
            "containerId": self.sandbox,
            "ifName": "eth0",
            "networkName": "kindnet",
            "cniArgs": list(arguments.items()),
            "capabilityArgs": {"portMappings": []},
            "result": {"cniVersion": "0.3.1", "interfaces": interfaces, "ips": ips, "dns": {}},
        }

    def _bundle(self) -> dict:
        facts = {
            "container-type": "sandbox",
            "sandbox-id": self.sandbox,
            "sandbox-namespace": self.space,
            "sandbox-name": self.name,
            "sandbox-uid": self.uid,
        }
        network = {"type": "network", "path": f"/var/run/netns/{self.netns}"}
        return {
            "ociVersion": "1.1.0",
            "annotations": {f"io.kubernetes.cri.{key}": text for key, text in facts.items()},
            "linux": {"namespaces": [{"type": "mount"}, network]},
        }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
