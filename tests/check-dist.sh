#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# usage: check-dist.sh BINARY
# Fails unless the man page and the completions are what --help says, and work.
set -euo pipefail

binary=${1:?usage: check-dist.sh BINARY}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dist=$root/scripts/dist
status=0

fail() {
  echo "check-dist.sh: $*" >&2
  status=1
}

# What bash offers for the words given, of which the last is being typed.
bash_offers() {
  bash -c '
    source "$1"; shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _droptrace
    printf "%s\n" "${COMPREPLY[@]}"' bash "$dist/droptrace.bash" "$@"
}

expect_offer() {
  local offer=$1
  shift
  grep -qx -- "$offer" < <(bash_offers "$@") || fail "bash does not offer $offer for: $*"
}

"$root/scripts/update-dist.py" --check "$binary" || fail 'scripts/dist is stale'

bash -n "$dist/droptrace.bash" || fail 'bash does not take the completion'
expect_offer --syn droptrace --s
expect_offer report droptrace re
expect_offer json droptrace -o j
expect_offer md droptrace diff -o m
expect_offer --report droptrace report --r
if command -v zsh >/dev/null; then
  zsh -n "$dist/_droptrace" || fail 'zsh does not take the completion'
fi
if command -v fish >/dev/null; then
  offers=$(fish -c "source $dist/droptrace.fish; complete -C 'droptrace --expect-'") ||
    fail 'fish does not take the completion'
  [[ $offers == *--expect-none* ]] || fail "fish offers: $offers"
fi
warnings=$(man --warnings=all --local-file "$dist/droptrace.8" 2>&1 >/dev/null) || fail 'man fails'
[[ -z $warnings ]] || fail "man says: $warnings"
exit "$status"
