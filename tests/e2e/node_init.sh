#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# First process of the mini node: gives it what the container of a Kind node has, then keeps it alive.
#
# Runs in new mount, PID and network namespaces. The node's root is a tmpfs that shows the machine's
# directories, so that /kind, /run, /proc and /sys are the node's own and the machine is not touched.
# Prints its process id outside the PID namespace once all is in place.
set -euo pipefail

# The machine's /proc is still mounted here and knows this shell by its outer number.
read -r outer_pid _ </proc/self/stat

# show INTO FROM NAME...: a directory of the node's own that has what the machine's has, without NAMEs.
show() {
  local into=$1 from=$2 entry
  shift 2
  mkdir -p "$into"
  for entry in "$from"/*; do
    [[ " $* " != *" ${entry##*/} "* ]] || continue
    if [[ -L $entry ]]; then
      cp -P "$entry" "$into/${entry##*/}"
    elif [[ -d $entry ]]; then
      mkdir "$into/${entry##*/}"
      mount --rbind "$entry" "$into/${entry##*/}"
    fi
  done
}

# Any directory will do to mount the new root on; the machine's /sys is not wanted in it.
root=/sys
mount -t tmpfs -o mode=755 root "$root"
show "$root" '' proc sys run kind var
# Pods that the machine itself may have are no part of the node.
show "$root/var" /var lib log
show "$root/var/lib" /var/lib cni kubelet
mkdir "$root"/{proc,sys,run,kind,machine,var/log}
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 run "$root/run"
pivot_root "$root" "$root/machine"
umount -l /machine
rmdir /machine

# A cluster that the machine itself may belong to is no part of the node.
for foreign in /etc/kubernetes /etc/cni; do
  [[ ! -d $foreign ]] || mount -t tmpfs tmpfs "$foreign"
done

echo "$outer_pid"
# Process 1 stays to adopt what other processes leave behind, until it is killed.
sleep infinity &
wait
