# SPDX-License-Identifier: GPL-2.0-only
"""The cluster of the bed: its pods and services, as kubelet and kube-proxy know them."""

import uuid
from dataclasses import dataclass
from pathlib import Path

from cri import Sandbox
from kube_rules import Service

POD_SUBNET, SERVICE_SUBNET = "10.244.0.0/16", "10.96.0.0/12"
API_PORT = 6443


@dataclass(frozen=True)
class Pod:
    """A pod that runs: its sandbox, and where its network is."""

    sandbox: Sandbox
    ip: str
    netns: Path | None = None  # as this process sees it; none of its own with hostNetwork

    @property
    def name(self) -> str:
        return f"{self.sandbox.namespace}/{self.sandbox.name}"

    @property
    def where(self) -> str:
        """Its namespace, as droptrace calls it."""
        return f"pod:{self.name}"

    @property
    def workload(self) -> str:
        """Its name in droptrace's JSON."""
        return f"p/{self.name}"


@dataclass(frozen=True)
class PodSpec:
    """NAMESPACE/NAME as somebody has written it into a manifest."""

    name: str
    host_network: bool = False
    service: str = ""  # NAMESPACE/SERVICE:PORTNAME that leads to it
    cluster_ip: str = ""
    port: int = 0  # of the service
    target_port: int = 0
    node_port: int | None = None

    def sandbox(self) -> Sandbox:
        namespace, name = self.name.split("/")
        return Sandbox(namespace, name, str(uuid.uuid4()), self.host_network)


WEB = PodSpec("data-platform/web-7f")
ICEBERG = PodSpec(
    "data-platform/iceberg-0",
    service="data-platform/iceberg-rest:http",
    cluster_ip="10.96.12.7",
    port=8181,
    target_port=8181,
)
TRINO = PodSpec(
    "data-platform/trino-0",
    service="data-platform/trino:http",
    cluster_ip="10.96.12.8",
    port=80,
    target_port=8080,
    node_port=30080,
)
DNS = PodSpec(
    "kube-system/coredns-6f6b679f8f-x2x7p",
    service="kube-system/kube-dns:dns-tcp",
    cluster_ip="10.96.0.10",
    port=53,
    target_port=53,
)
PROMETHEUS = PodSpec(
    "monitoring/prometheus-0",
    service="monitoring/prometheus:web",
    cluster_ip="10.96.200.30",
    port=9090,
    target_port=9090,
)
KINDNET = PodSpec("kube-system/kindnet-k7m9c", host_network=True)
KUBE_PROXY = PodSpec("kube-system/kube-proxy-9w4zt", host_network=True)

CONTROL_PLANE_PODS = (WEB, ICEBERG, TRINO, DNS, PROMETHEUS, KINDNET, KUBE_PROXY)
WORKER_PODS = (
    PodSpec("data-platform/spark-0"),
    PodSpec("batch/report-28743"),
    PodSpec("kube-system/kindnet-p4d2v", host_network=True),
)

EMPTY = Service("data-platform/hive-metastore:thrift", "10.96.12.9", 9083)


def service_of(spec: PodSpec, ip: str) -> Service:
    """The service that a pod is the only endpoint of."""
    endpoints = ((ip, spec.target_port),)
    return Service(spec.service, spec.cluster_ip, spec.port, endpoints, spec.node_port)


def kubernetes_service(node_ip: str) -> Service:
    return Service("default/kubernetes:https", "10.96.0.1", 443, ((node_ip, API_PORT),))
