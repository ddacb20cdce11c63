# SPDX-License-Identifier: GPL-2.0-only
"""Speaks to containerd as kubelet does (CRI v1), as far as pods are made and removed.

gRPC needs no library for that: the few messages are put together by hand (field numbers are those
of k8s.io/cri-api/pkg/apis/runtime/v1/api.proto), and curl speaks HTTP/2 on the socket.
"""

import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from patience import PATIENCE

CALL_S = 40 * PATIENCE
VARINT, BYTES = 0, 2  # wire types
FIXED = {1: 8, 5: 4}

POD, CONTAINER, NODE = 0, 1, 2  # NamespaceMode

Value = int | str | bytes | Mapping[str, str] | Sequence[str]


class Refused(RuntimeError):
    """containerd did not do what it was asked; says what and why."""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def message(fields: Mapping[int, Value]) -> bytes:
    """Encodes a message; as in proto3, a zero or empty value is left out."""
    out = b""
    for number, value in fields.items():
        if isinstance(value, int):
            if value:
                out += _varint(number << 3 | VARINT) + _varint(value)
            continue
        if isinstance(value, Mapping):
            parts = [message({1: key, 2: text}) for key, text in value.items()]
        elif isinstance(value, (str, bytes)):
            parts = [value] if value else []
        else:
            parts = list(value)
        for part in parts:
            content = part.encode() if isinstance(part, str) else part
            out += _varint(number << 3 | BYTES) + _varint(len(content)) + content
    return out


def fields(data: bytes) -> dict[int, list[int | bytes]]:
    """Decodes a message: the values of each field in their order."""
    out: dict[int, list[int | bytes]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while at < len(data):
        key = varint()
        wire = key & 7
        if wire == VARINT:
            out.setdefault(key >> 3, []).append(varint())
            continue
        length = varint() if wire == BYTES else FIXED[wire]
        out.setdefault(key >> 3, []).append(data[at : at + length])
        at += length
    return out


@dataclass(frozen=True)
class Sandbox:
    """What kubelet knows of a pod when it asks for its sandbox."""

    namespace: str
    name: str
    uid: str
    host_network: bool = False
    attempt: int = 0
    id: str = ""

    @property
    def log_directory(self) -> str:
        return f"/var/log/pods/{self.namespace}_{self.name}_{self.uid}"

    def labels(self) -> dict[str, str]:
        keys = {"name": self.name, "namespace": self.namespace, "uid": self.uid}
        return {f"io.kubernetes.pod.{key}": value for key, value in keys.items()}

    def security(self) -> bytes:
        """The message {Linux…SecurityContext}.namespace_options."""
        return message({1: NODE if self.host_network else POD, 2: CONTAINER})

    def config(self) -> bytes:
        metadata = message({1: self.name, 2: self.uid, 3: self.namespace, 4: self.attempt})
        linux = {
            1: f"/kubelet/kubepods/besteffort/pod{self.uid}",
            2: message({1: self.security()}),
        }
        return message(
            {
                1: metadata,
                2: "" if self.host_network else self.name,
                3: self.log_directory,
                6: self.labels(),
                7: {"kubernetes.io/config.source": "api"},
                8: message(linux),
            }
        )


class Runtime:
    """The containerd behind a socket, a path of less than 108 bytes."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def _call(self, method: str, request: bytes) -> dict[int, list[int | bytes]]:
        # One frame: not compressed, length, message.
        body = b"\0" + struct.pack("!I", len(request)) + request
        command = ["curl", "--silent", "--show-error", "--http2-prior-knowledge"]
        command += ["--max-time", str(CALL_S), "--unix-socket", str(self._socket)]
        command += ["--dump-header", "/proc/self/fd/2", "--data-binary", "@-"]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        command.append(f"http://cri/runtime.v1.RuntimeService/{method}")
        done = subprocess.run(command, input=body, capture_output=True)
        lines = done.stderr.decode(errors="replace").splitlines()
        headers = [line.partition(":") for line in lines if line.startswith("grpc-")]
        answers = {name: text.strip() for name, _, text in headers}
        if done.returncode or answers.get("grpc-status") != "0":
            why = answers.get("grpc-message") or " ".join(lines) or "no answer"
            raise Refused(f"{method}: {why}")
        return fields(done.stdout[5:])

    def version(self) -> str:
        return self._call("Version", b"")[3][0].decode()

    def run(self, sandbox: Sandbox) -> Sandbox:
        """Makes a sandbox with its network; returns it with its ID."""
        answer = self._call("RunPodSandbox", message({1: sandbox.config()}))
        return replace(sandbox, id=answer[1][0].decode())

    def address(self, sandbox: Sandbox) -> str:
        status = fields(self._call("PodSandboxStatus", message({1: sandbox.id}))[1][0])
        return fields(status[5][0])[1][0].decode()

    def start(
        self, sandbox: Sandbox, name: str, image: str, *arguments: str, admin: bool = False
    ) -> str:
        """Starts a container in a sandbox; admin: it may change the network."""
        labels = sandbox.labels() | {"io.kubernetes.container.name": name}
        capabilities = message({1: ["NET_ADMIN", "NET_RAW"]}) if admin else b""
        security = message({1: capabilities, 3: sandbox.security()})
        config = {
            1: message({1: name}),
            2: message({1: image}),
            4: list(arguments),
            9: labels,
            11: f"{name}/0.log",
            15: message({2: security}),
        }
        request = message({1: sandbox.id, 2: message(config), 3: sandbox.config()})
        container = self._call("CreateContainer", request)[1][0].decode()
        self._call("StartContainer", message({1: container}))
        return container

    def stop_container(self, container: str) -> None:
        self._call("StopContainer", message({1: container}))
        self._call("RemoveContainer", message({1: container}))

    def remove(self, sandbox: Sandbox) -> None:
        self._call("StopPodSandbox", message({1: sandbox.id}))
        self._call("RemovePodSandbox", message({1: sandbox.id}))
