#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Builds a fuzzer with clang, has it try the inputs in tests/fuzz/corpus, which hold what has once
# crashed, and lets it look for new ones. What it finds is left in the build directory.
# DROPTRACE_FUZZ_SEED makes it look in the same places each time (default: elsewhere each time).
set -euo pipefail

readonly usage='usage: fuzz.sh pcapng|decode|packet|rules [SECONDS]   (default: 60)'
readonly input_most=16384

name=${1-} seconds=${2-${DROPTRACE_FUZZ_SECONDS-60}}
case "$name" in
  pcapng | decode | packet | rules) ;;
  *)
    echo "$usage" >&2
    exit 2
    ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=$root/build-fuzz

# New inputs go to the first directory.
mkdir -p "$build_dir/corpus/$name" "$build_dir/found"
# One at a time: the tests run several fuzzers at once.
(
  flock 9
  # clang 14, which builds the kernel side, does not compile ranges of the headers of g++ 12.
  CC=clang-16 CXX=clang++-16 cmake -G Ninja -S "$root" -B "$build_dir" -DCMAKE_BUILD_TYPE=None \
    -DDROPTRACE_FUZZ=ON -DDROPTRACE_STATIC=OFF -DDROPTRACE_TESTS=OFF
  cmake --build "$build_dir" --target fuzzers
) 9>"$build_dir/lock"
"$build_dir/fuzz_$name" -seed="${DROPTRACE_FUZZ_SEED:-0}" \
  -max_total_time="$seconds" -max_len=$input_most -timeout=10 -rss_limit_mb=2048 \
  -print_final_stats=1 -verbosity=0 -artifact_prefix="$build_dir/found/$name-" \
  "$build_dir/corpus/$name" "$root/tests/fuzz/corpus/$name"
