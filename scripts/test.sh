#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Installs what is missing, builds, and runs every test: the unit tests under the sanitizers, then
# all tests with the static binary. Needs root.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if ((EUID != 0)); then
  echo 'test.sh: needs root, to load BPF programs and to make network namespaces: use sudo' >&2
  exit 1
fi
# "su" without "-" keeps a PATH that has no sbin.
PATH=$PATH:/usr/sbin:/sbin

run_ctest() {
  ctest --output-on-failure --no-tests=error --parallel "$(nproc)" "$@"
}

bash "$root/scripts/setup.sh" test

DROPTRACE_BUILD_DIR=build-sanitize DROPTRACE_TARGET=droptrace_unit_tests \
  bash "$root/scripts/build.sh" -DCMAKE_BUILD_TYPE=Debug -DDROPTRACE_WERROR=ON \
  -DDROPTRACE_TESTS=ON -DDROPTRACE_STATIC=OFF -DDROPTRACE_SANITIZE=ON
bash "$root/scripts/build.sh" -DDROPTRACE_WERROR=ON -DDROPTRACE_TESTS=ON -DDROPTRACE_STATIC=ON

failed=()
echo '== unit tests with AddressSanitizer and UndefinedBehaviorSanitizer'
run_ctest --test-dir "$root/build-sanitize" -R '^unit' || failed+=('unit tests with sanitizers')
# Last, so that the closing lines of the output are its figures.
echo '== all tests'
run_ctest --test-dir "$root/build" || failed+=('tests')

if ((${#failed[@]})); then
  printf 'test.sh: failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
