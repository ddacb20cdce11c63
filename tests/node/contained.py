# SPDX-License-Identifier: GPL-2.0-only
"""Runs a program whose processes and mounts all end with it, or with this process."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

OWN_NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


class Contained:
    """A program as the first process of namespaces of its own; more says of which kinds besides."""

    def __init__(self, argv: Sequence[str], more: Sequence[str] = (), **popen: object) -> None:
        # A file, not a pipe: nobody reads what it says until it has failed.
        self._errors = tempfile.TemporaryFile(mode="w+")
        command = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", *OWN_NAMESPACES, *more, "--"]
        self.process = subprocess.Popen([*command, *argv], text=True, stderr=self._errors, **popen)

    @property
    def init(self) -> int | None:
        """The program's process, as this one counts; unshare is its parent and waits for it."""
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return None
        return int(children[0]) if children else None

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read().strip()

    def close(self, timeout: float) -> None:
        """Kills what still runs; returns when everything is gone: the first process goes last."""
        init = self.init
        if init is None:
            self.process.kill()
        else:
            os.kill(init, signal.SIGKILL)  # not reaped yet: its parent is still waited for
        self.process.wait(timeout)
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream:
                stream.close()
