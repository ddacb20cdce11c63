#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Writes the files of this directory: what libcni and containerd keep of a pod, by version.

Hand-made after the types that write them: libcni's cachedInfo and the CNI results of pkg/types,
containerd's pkg/cri (annotations) and the OCI runtime specification, without what nobody here reads.
"""

import json
from pathlib import Path

SANDBOX = "0b1f" * 16
CONTAINER = "c0de" * 16
UID = "6f0c9a34-3a56-4d7e-9a53-0d7a1d3c5e11"
MOUNT = "/var/run/netns/cni-7a1f6c9e-2b0d-4f0a-9c64-1f5f4f0f7b11"
ARGUMENTS = [
    ["IgnoreUnknown", "1"],
    ["K8S_POD_NAMESPACE", "data-platform"],
    ["K8S_POD_NAME", "iceberg-0"],
    ["K8S_POD_INFRA_CONTAINER_ID", SANDBOX],
    ["K8S_POD_UID", UID],
]


def interfaces(*, bridge: bool = False) -> list[dict]:
    host = [{"name": "vethb2b2b2b2", "mac": "3a:1f:00:00:00:01"}]
    pod = [{"name": "eth0", "mac": "3a:1f:00:00:00:02", "sandbox": MOUNT}]
    return [{"name": "cni0", "mac": "3a:1f:00:00:00:03"}] * bridge + host + pod


def cache(result: dict, **more: object) -> dict:
    """libcni's cachedInfo."""
    return {
        "kind": "cniCacheV1",
        "containerId": SANDBOX,
        "config": "eyJuYW1lIjoia2luZG5ldCJ9",
        "ifName": "eth0",
        "networkName": "kindnet",
        "cniArgs": ARGUMENTS,
        "capabilityArgs": {
            "dns": {"Searches": ["svc.cluster.local"], "Servers": ["10.96.0.10"]},
            "io.kubernetes.cri.pod-annotations": {"kubernetes.io/config.source": "api"},
            "portMappings": [
                {"HostPort": 8443, "ContainerPort": 8181, "Protocol": "tcp", "HostIP": ""},
                {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "172.18.0.2"},
                {"HostPort": 70000, "ContainerPort": 1, "Protocol": "tcp"},
            ],
        },
        "result": result,
        **more,
    }


def ip(version: str, address: str, gateway: str) -> dict:
    return {"version": version, "interface": 1, "address": address, "gateway": gateway}


IPV4 = ip("4", "10.244.0.6/24", "10.244.0.1")
IPV6 = ip("6", "fd00:10:244::6/64", "fd00:10:244::1")


def annotations(kind: str, *, uid: bool) -> dict:
    texts = {
        "container-type": kind,
        "sandbox-id": SANDBOX,
        "sandbox-name": "iceberg-0",
        "sandbox-namespace": "data-platform",
    }
    if uid:
        texts["sandbox-uid"] = UID
    if kind == "container":
        texts |= {"container-name": "iceberg", "image-name": "docker.io/library/iceberg:1"}
    return {f"io.kubernetes.cri.{key}": value for key, value in texts.items()}


def bundle(kind: str, netns: str | None, *, version: str, uid: bool = True) -> dict:
    """config.json of a runtime bundle. A pod on the node's network has no network namespace."""
    spaces = [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}]
    if netns:
        spaces.append({"type": "network", "path": netns})
    return {
        "ociVersion": version,
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/pause"], "cwd": "/"},
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "iceberg-0",
        "annotations": annotations(kind, uid=uid),
        "linux": {"namespaces": spaces, "cgroupsPath": f"kubelet-pod.slice:cri-containerd:{SANDBOX}"},
    }


FILES = {
    "cni-0.2.0": cache({"cniVersion": "0.2.0", "ip4": {"ip": "10.244.0.6/24"}, "dns": {}}),
    "cni-0.3.1": cache(
        {"cniVersion": "0.3.1", "interfaces": interfaces(), "ips": [IPV4], "dns": {}}
    ),
    "cni-0.4.0-bridge": cache(
        {"cniVersion": "0.4.0", "interfaces": interfaces(bridge=True), "ips": [IPV4], "dns": {}}
    ),
    "cni-1.0.0": cache(
        {
            "cniVersion": "1.0.0",
            "interfaces": interfaces(),
            "ips": [{k: v for k, v in one.items() if k != "version"} for one in (IPV4, IPV6)],
            "dns": {},
        },
        netns=MOUNT,
    ),
    "containerd-1.6-sandbox": bundle("sandbox", MOUNT, version="1.0.2-dev", uid=False),
    "containerd-1.7-sandbox": bundle("sandbox", MOUNT, version="1.1.0"),
    "containerd-1.7-container": bundle("container", "/proc/4711/ns/net", version="1.1.0"),
    "containerd-1.7-host-network": bundle("sandbox", None, version="1.1.0"),
    "containerd-2.1-sandbox": bundle("sandbox", MOUNT.removeprefix("/var"), version="1.2.1"),
}

if __name__ == "__main__":
    for name, content in FILES.items():
        path = Path(__file__).with_name(f"{name}.json")
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
