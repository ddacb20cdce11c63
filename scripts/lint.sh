#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Checks the form of all sources; "lint.sh tidy" checks C++ with clang-tidy, which takes minutes.
set -euo pipefail

readonly usage='usage: lint.sh                  format, shell, licence lines, lengths, Python syntax
       lint.sh tidy [FILE...]  clang-tidy on userspace/ or on FILEs; needs a configured build/'
readonly max_lines=400

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
status=0

fail() {
  echo "lint.sh: $*" >&2
  status=1
}

# Prints, NUL-terminated, the project's files that match the arguments (an expression of find).
sources() {
  find .ci bpf include scripts tests userspace vmlinux CMakeLists.txt \
    -name __pycache__ -prune -o -type f \( "$@" \) -print0
}

# The nearest .clang-format applies: C++ or the kernel's style.
check_format() {
  local files
  mapfile -d '' files < <(sources -name '*.c' -o -name '*.cpp' -o -name '*.h')
  clang-format --dry-run -Werror "${files[@]}" || fail 'clang-format would change the above'
}

# Scripts by their first line: not all have a suffix.
check_shell() {
  local scripts
  mapfile -d '' scripts < <(
    sources -perm -u+x -o -name '*.sh' | xargs -0 grep --null -lE '^#!.*\b(ba)?sh$'
  )
  shellcheck "${scripts[@]}" || fail 'shellcheck has found the above'
}

check_python() {
  local files cache
  mapfile -d '' files < <(sources -name '*.py')
  cache=$(mktemp -d)
  PYTHONPYCACHEPREFIX=$cache python3 -m py_compile "${files[@]}" ||
    fail 'Python cannot compile the above'
  rm -rf "$cache"
}

check_licence() {
  local file
  while IFS= read -r -d '' file; do
    head -n 2 "$file" | grep -q 'SPDX-License-Identifier: GPL-2\.0-only' ||
      fail "$file: the first or second line is not the SPDX licence line"
  done < <(
    sources -perm -u+x -o -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.py' \
      -o -name '*.sh' -o -name '*.cmake' -o -name CMakeLists.txt
  )
}

check_length() {
  local file lines
  while IFS= read -r -d '' file; do
    lines=$(wc -l <"$file")
    ((lines <= max_lines)) || fail "$file: $lines lines, more than $max_lines"
  done < <(sources -not -path 'tests/data/*' -not -path 'tests/golden/*' -not -path 'vmlinux/*')
}

check_tidy() {
  local files=("$@")
  if [[ ! -e $root/build/compile_commands.json ]]; then
    echo 'lint.sh: no build/compile_commands.json: run scripts/build.sh first' >&2
    exit 1
  fi
  ((${#files[@]})) || mapfile -d '' files < <(find "$root/userspace" -name '*.cpp' -print0)
  # The commands are those of g++: clang does not know all of its warnings.
  printf '%s\0' "${files[@]}" |
    xargs -0 -n 1 -P 2 clang-tidy --quiet -p "$root/build" --extra-arg=-Wno-unknown-warning-option ||
    fail 'clang-tidy has found the above'
}

case "${1-}" in
  '')
    cd "$root"
    check_format
    check_shell
    check_python
    check_licence
    check_length
    ;;
  tidy)
    check_tidy "${@:2}"
    ;;
  *)
    echo "$usage" >&2
    exit 2
    ;;
esac
exit "$status"
