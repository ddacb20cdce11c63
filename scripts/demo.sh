#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# usage: demo.sh [--docker] [ARGUMENT...]
#
# Builds droptrace and shows it at work on traffic of its own making: in network namespaces of its
# own, or with --docker in a real node container of a Docker of its own. Arguments are passed to
# tests/e2e/demo.py or tests/node/policy_demo.py. Needs root.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if ((EUID != 0)); then
  echo 'demo.sh: needs root, to load BPF programs and to make network namespaces: use sudo' >&2
  exit 1
fi
# "su" without "-" keeps a PATH that has no sbin.
PATH=$PATH:/usr/sbin:/sbin

packages=demo demo=$root/tests/e2e/demo.py
if [[ ${1-} == --docker ]]; then
  packages=node demo=$root/tests/node/policy_demo.py
  shift
fi

bash "$root/scripts/setup.sh" "$packages"
DROPTRACE_TARGET=droptrace bash "$root/scripts/build.sh"
exec /usr/bin/python3 "$demo" --droptrace "$root/build/droptrace" "$@"
