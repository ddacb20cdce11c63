#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Configures and builds droptrace. Arguments are passed to CMake's configuration.
# DROPTRACE_BUILD_DIR (default: build) says where, DROPTRACE_TARGET (default: all) what.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=$root/${DROPTRACE_BUILD_DIR:-build}

cmake -G Ninja -S "$root" -B "$build_dir" -DCMAKE_BUILD_TYPE=Release "$@"
cmake --build "$build_dir" --target "${DROPTRACE_TARGET:-all}"
