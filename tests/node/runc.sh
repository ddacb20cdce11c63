#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# runc for the dockerd of these tests. What is privileged gets the capabilities that a current
# Docker grants, CAP_PERFMON and CAP_BPF among them (Docker 20.10 does not know them yet), but none
# that this machine itself lacks: with those runc would refuse to start.
set -euo pipefail

readonly sys_resource=24 perfmon=38 bpf=39 # include/uapi/linux/capability.h
bounding=$((16#$(sed -n 's/^CapBnd:\s*//p' /proc/self/status)))

has() {
  (((bounding >> $1) & 1))
}

edits=()
if has $perfmon && has $bpf; then
  edits+=(-e '/"CAP_BPF"/!s/"CAP_SYS_ADMIN"/&,"CAP_PERFMON","CAP_BPF"/g')
fi
has $sys_resource || edits+=(-e 's/,"CAP_SYS_RESOURCE"//g; s/"CAP_SYS_RESOURCE",//g')

if ((${#edits[@]})); then
  previous=
  for word in "$@"; do
    case $previous:$word in
      --bundle:* | -b:*) file=$word/config.json ;;
      --process:* | -p:*) file=$word ;;
      *:--bundle=*) file=${word#*=}/config.json ;;
      *:--process=*) file=${word#*=} ;;
      *) file= ;;
    esac
    [[ -z $file || ! -f $file ]] || sed -i "${edits[@]}" "$file"
    previous=$word
  done
fi
exec runc "$@"
