#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# usage: run.sh SERIES [--] CMD ARG...
# Boots Debian's kernel of SERIES in QEMU and runs CMD there as root, in the project's directory.
# CMD sees this machine's files; what it writes is gone afterwards. Its output is shown as it comes,
# standard error included, and its exit status is that of run.sh.
#
# Plain emulation (TCG): it works on every machine, and its timings mean nothing. Nothing is left
# behind but the kernel, see fetch-kernel.sh. DROPTRACE_VM_TIMEOUT (seconds) bounds the run;
# DROPTRACE_VM_CPUS is how many CPUs there are (1).
# Exits 77 with the reason if QEMU or the kernel cannot be had, 124 if the time is up.
set -euo pipefail

readonly usage='usage: run.sh SERIES [--] CMD ARG...'
readonly timeout_s=${DROPTRACE_VM_TIMEOUT:-300}
readonly cpus=${DROPTRACE_VM_CPUS:-1}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
# "su" without "-" keeps a PATH that has no sbin.
PATH=$PATH:/usr/sbin:/sbin

fail() {
  echo "run.sh: $2" >&2
  exit "$1"
}

series=${1-}
[[ -n $series ]] || fail 2 "$usage"
shift
[[ ${1-} != -- ]] || shift
(($#)) || fail 2 "$usage"

for tool in qemu-system-x86_64 busybox cpio modprobe xz; do
  [[ -n $(command -v "$tool") ]] || fail 77 "skipped: not installed: $tool"
done
# Anything that needs a library is of no use in the first root file system.
busybox=$(command -v busybox)
[[ $(ldd "$busybox" 2>&1 || true) != *'=>'* ]] ||
  fail 77 "skipped: $busybox is not that of the package busybox-static"
kernel=$("$here/fetch-kernel.sh" "$series")
kernel=$(realpath "$kernel")
modules=("$kernel"/lib/modules/*)
version=${modules[0]##*/}

work=$(mktemp -d)
qemu=
# shellcheck disable=SC2317 # The trap calls it.
clean_up() {
  [[ -z $qemu ]] || kill "$qemu" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

# Prints the files of modules and of what they need, in the order in which they load.
module_files() {
  local module
  for module in "$@"; do
    modprobe --dirname "$kernel" --set-version "$version" --show-depends "$module"
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# The first root file system: what is needed to see the files of this machine.
make_initramfs() {
  local tree=$work/initramfs number=10 files file name
  files=$(module_files virtio_pci 9pnet_virtio 9p overlay)
  mkdir -p "$tree"/{bin,dev,modules,proc,root,sys}
  cp "$busybox" "$tree/bin/busybox"
  cp "$here/init" "$tree/init"
  printf '%s\n' "$kernel" >"$tree/kernel"
  printf 'cd %q || exit\n%s\n' "$root" "${*@Q}" >"$tree/command"
  while read -r file; do
    name=$((number++))-$(basename "$file" .xz)
    case $file in
      *.xz) xz --decompress --stdout "$file" >"$tree/modules/$name" ;;
      *) cp "$file" "$tree/modules/$name" ;;
    esac
  done <<<"$files"
  (cd "$tree" && find . | cpio --quiet --create --format=newc --owner=0:0) >"$work/initramfs.cpio"
}

make_initramfs "$@"
# On a busy machine the emulated timer is too late for the kernel's test of it.
options=(console=ttyS0 quiet panic=-1 oops=panic mitigations=off no_timer_check)
# One serial line is the console, the other carries the exit status.
timeout --kill-after=10 "$timeout_s" qemu-system-x86_64 \
  -accel tcg,thread=multi -cpu max -smp "$cpus" -m 1024 \
  -nodefaults -no-user-config -display none -no-reboot -nic none \
  -serial stdio -serial "file:$work/status" \
  -kernel "$kernel/boot/vmlinuz-$version" -initrd "$work/initramfs.cpio" \
  -append "${options[*]}" \
  -fsdev local,id=machine,path=/,security_model=none,readonly=on,multidevs=remap \
  -device virtio-9p-pci,fsdev=machine,mount_tag=machine </dev/null &
qemu=$!
status=0
wait "$qemu" || status=$?
qemu=
((status != 124)) || fail 124 "Linux $version: time is up after $timeout_s s"
((status == 0)) || fail 1 "QEMU ended with $status"
[[ -s $work/status ]] || fail 1 "Linux $version ended without an exit status of the command"
read -r status <"$work/status"
exit "$status"
