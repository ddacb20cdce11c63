# SPDX-License-Identifier: GPL-2.0-only
"""A real dockerd that the machine does not notice: in namespaces and a tmpfs of its own.

Docker's bridges, firewall rules and sysctls stay in a network namespace that ends with it, so do
its containers and files, even if this process is killed. Only empty cgroups can outlive that; the
next DockerHost removes them.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import mini_node
from contained import Contained
from patience import PATIENCE

HERE = Path(__file__).parent
TOOLS = ("dockerd", "docker", "containerd", "runc", "ip", "unshare", "setpriv")
START_S = 40 * PATIENCE
COMMAND_S = 60 * PATIENCE
CGROUP_S = 10 * PATIENCE
STEP_S = 0.05
STATE = "run/bed"  # dockerd.sh's
CGROUPS = Path("/sys/fs/cgroup")
CGROUP_PREFIX = "droptrace-bed-"


class Failed(RuntimeError):
    """A command of the bed failed; says which and what it said."""


def run(argv: Sequence[object], **options: object) -> str:
    """Runs a short command; returns its output, raises with what it said if it fails."""
    words = [str(word) for word in argv]
    streams = {"capture_output": True, "text": True, "timeout": COMMAND_S}
    if "input" not in options:
        streams["stdin"] = subprocess.DEVNULL
    done = subprocess.run(words, **{**streams, **options})
    if done.returncode:
        raise Failed(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {START_S:.0f} s")
        time.sleep(STEP_S)


def _remove_cgroups(name: str) -> bool:
    """Removes a cgroup in every hierarchy; returns whether some is left, as it is not empty yet."""
    tops = (*CGROUPS.glob(name), *CGROUPS.glob(f"*/{name}"))
    for top in tops:
        for directory, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
    return any(top.exists() for top in tops)


def _remove_orphaned_cgroups() -> None:
    tops = (*CGROUPS.glob(f"{CGROUP_PREFIX}*"), *CGROUPS.glob(f"*/{CGROUP_PREFIX}*"))
    for name in {top.name for top in tops}:
        if not Path("/proc", name.removeprefix(CGROUP_PREFIX)).exists():
            _remove_cgroups(name)


class DockerHost:
    """A context manager: dockerd is up once it is entered, and nothing is left once it is left."""

    def __enter__(self) -> "DockerHost":
        self._cgroup = f"{CGROUP_PREFIX}{os.getpid()}"
        self._contained: Contained | None = None
        _remove_orphaned_cgroups()
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        command = [str(HERE / "dockerd.sh"), f"/{self._cgroup}"]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
        self._contained = Contained(command, ("--net", "--ipc"), **pipes)
        if self._contained.process.stdout.readline() != "here\n":
            raise Failed(f"dockerd's namespaces cannot be made: {self._contained.errors()}")
        self._init = self._contained.init
        self._wait_for_dockerd()

    def _wait_for_dockerd(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.docker("version")
                return
            except Failed as error:
                if self._contained.process.poll() is not None or time.monotonic() > deadline:
                    log = self._path("dockerd.log")
                    said = log.read_text()[-3000:] if log.exists() else ""
                    raise Failed(f"dockerd does not start: {error}\n{said}") from error
            time.sleep(STEP_S)

    def close(self) -> None:
        with mini_node.signals_wait():
            if self._contained:
                self._contained.close(COMMAND_S)
            # The last process may still be on its way out of its cgroup.
            deadline = time.monotonic() + CGROUP_S
            while _remove_cgroups(self._cgroup) and time.monotonic() < deadline:
                time.sleep(STEP_S)

    @property
    def root(self) -> Path:
        """The files as dockerd sees them; its /proc has the processes by its own numbers."""
        return Path(f"/proc/{self._init}/root")

    @property
    def namespace(self) -> Path:
        """The network namespace with Docker's bridges: to a node's, the host."""
        return Path(f"/proc/{self._init}/ns/net")

    def _path(self, name: str) -> Path:
        return self.root / STATE / name

    def command(self, *arguments: object) -> list[str]:
        """The command line of a docker command for this dockerd."""
        return ["docker", "-H", f"unix://{self._path('docker.sock')}", *map(str, arguments)]

    def docker(self, *arguments: object, **options: object) -> str:
        return run(self.command(*arguments), **options)

    def load(self, tar: Path, name: str) -> None:
        self.docker("import", "--change", 'ENTRYPOINT ["/usr/local/bin/entrypoint"]', tar, name)
