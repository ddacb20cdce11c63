#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# usage: check-static.sh BINARY
# Fails unless BINARY can be copied into any node and run: static, stripped, at most 4 MiB.
set -euo pipefail

readonly max_bytes=4194304
binary=${1:?usage: check-static.sh BINARY}
status=0

fail() {
  echo "check-static.sh: $binary: $1" >&2
  status=1
}

segments=$(readelf --wide --program-headers "$binary")
sections=$(readelf --wide --section-headers "$binary")
bytes=$(stat --dereference --format=%s "$binary")

[[ $segments == *LOAD* ]] || fail 'no program to load'
[[ $segments != *INTERP* ]] || fail 'has an interpreter'
[[ $segments != *DYNAMIC* && $sections != *' .dynamic '* ]] || fail 'has a dynamic section'
[[ $sections != *' .symtab '* && $sections != *' .debug_'* ]] || fail 'is not stripped'
((bytes <= max_bytes)) || fail "has $bytes bytes, more than $max_bytes"
exit "$status"
