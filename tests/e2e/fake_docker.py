#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""As much of docker's command line as droptrace-kind uses; its containers are mini nodes.

FAKE_DOCKER_NODES holds NAME=PID of each, PID being a process in it.
"""

import os
import shutil
import sys
from pathlib import Path

CLUSTER = "mini"


def main() -> None:
    nodes = dict(item.split("=") for item in os.environ["FAKE_DOCKER_NODES"].split())
    command, *words = sys.argv[1:]
    flags = [word for word in words if word.startswith("-")]
    if command == "ps":
        form = words[words.index("--format") + 1]
        labels = {"io.x-k8s.kind.cluster": CLUSTER, "io.x-k8s.kind.role": "worker"}
        for name in sorted(nodes):
            line = form.replace("{{.Names}}", name)
            for label, value in labels.items():
                line = line.replace(f'{{{{.Label "{label}"}}}}', value)
            print(line)
    elif command == "exec":
        words = words[1:] if flags[:1] == ["--privileged"] else words
        target = ["-t", nodes[words[0]], "-m", "-p", "-n", "-r", "-w"]
        os.execvp("nsenter", ["nsenter", *target, "--", *words[1:]])
    elif command == "cp":
        paths = [word for word in words if not word.startswith("-")]
        resolved = []
        for path in paths:
            name, colon, inside = path.partition(":")
            root = Path(f"/proc/{nodes[name]}/root") if colon else Path()
            resolved.append(root / inside.lstrip("/") if colon else Path(path))
        shutil.copy(*resolved)
    else:
        sys.exit(f"fake docker: {command}")


if __name__ == "__main__":
    main()
