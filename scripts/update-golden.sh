#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Rewrites tests/golden with what the sinks print now. This is the only way the files change: read
# the differences before you commit them. DROPTRACE_BUILD_DIR (default: build) says where to build.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tests=$root/${DROPTRACE_BUILD_DIR:-build}/droptrace_unit_tests

DROPTRACE_TARGET=droptrace_unit_tests bash "$root/scripts/build.sh" -DDROPTRACE_TESTS=ON
DROPTRACE_UPDATE_GOLDEN=1 "$tests" --test-case='*golden*'
/usr/bin/python3 "$root/tests/unit/schema_test.py" || (($? == 77))
git -C "$root" --no-pager diff --stat -- tests/golden
