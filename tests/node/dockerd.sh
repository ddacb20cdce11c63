#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# usage: dockerd.sh CGROUP
#
# The first process of namespaces of its own (docker_host.py makes them): starts a dockerd whose
# files are all in a tmpfs that nobody outside sees. When this process ends, the kernel
# ends whatever Docker has started, takes the network back and forgets the files.
set -euo pipefail

cgroup=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Docker's shims have their sockets in /run whatever dockerd is told.
mount -t tmpfs -o mode=755,size=6g tmpfs /run
readonly state=/run/bed
mkdir "$state"
echo '{}' >"$state/daemon.json" # not the machine's own in /etc/docker
ip link set lo up

options=(
  --config-file "$state/daemon.json"
  --data-root "$state/docker"
  --exec-root "$state/exec"
  --pidfile "$state/docker.pid"
  --host "unix://$state/docker.sock"
  --storage-driver overlay2
  --cgroup-parent "$cgroup"
  --bip 172.17.0.1/16
  --add-runtime "bed=$here/runc.sh"
  --default-runtime bed
)
# Not exec: this shell is init here, and buries what Docker's shims leave behind.
trap 'kill -TERM "$daemon" 2>/dev/null || true' TERM
dockerd "${options[@]}" >"$state/dockerd.log" 2>&1 &
daemon=$!
echo here
wait "$daemon" || wait "$daemon" || true
