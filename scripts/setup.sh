#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Installs what droptrace needs to build, to run its demo or to test, on Debian 12: only what is
# missing. Where packages cannot be installed it names them and is content if the commands exist.
set -euo pipefail

readonly usage='usage: setup.sh build|demo|node|test   (each includes build; test includes all)'

packages=(
  g++ cmake ninja-build pkg-config libc6-dev linux-libc-dev
  clang bpftool libbpf-dev libelf-dev zlib1g-dev
  libfmt-dev libcli11-dev nlohmann-json3-dev
  libpcap-dev
  doctest-dev python3 # the default build includes the tests
)
commands=(gcc g++ cmake ninja pkg-config clang bpftool python3)

# For tests/node: Docker, and what makes the image of a node. A Docker of the machine's own serves too.
node_packages=(iproute2 util-linux mmdebstrap curl)
[[ -n $(PATH=$PATH:/usr/sbin command -v dockerd) ]] || node_packages+=(docker.io)

case "${1-}" in
  build) ;;
  demo)
    packages+=(iproute2 iptables)
    commands+=(ip iptables)
    ;;
  node)
    packages+=("${node_packages[@]}")
    commands+=(docker dockerd runc mmdebstrap curl ip nsenter setpriv)
    ;;
  test)
    packages+=(
      "${node_packages[@]}" # else tests/node is skipped
      python3-jsonschema iproute2 nftables iptables ethtool util-linux binutils
      clang-format clang-tidy shellcheck man-db zsh fish
      clang-16 libclang-rt-16-dev # for the fuzzers
      tshark tcpdump prometheus # tshark brings capinfos, prometheus promtool
      chromium                  # looks at reports
      qemu-system-x86 busybox-static kmod cpio xz-utils # else tests/vm is skipped
    )
    commands+=(ip nft iptables ethtool nsenter readelf tshark tcpdump clang-format clang-tidy shellcheck)
    ;;
  *)
    echo "$usage" >&2
    exit 2
    ;;
esac
[[ $# -eq 1 ]] || { echo "$usage" >&2; exit 2; }

# Users other than root, and "su" without "-", have no sbin in their PATH.
PATH=$PATH:/usr/sbin:/sbin

say() {
  echo "setup.sh: $*" >&2
}

has() {
  command -v "$1" >/dev/null
}

is_installed() {
  [[ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]
}

# Nothing can be installed ($1: why). The libraries are left for CMake to find or to miss.
go_on_without_packages() {
  local absent=() name
  say "$1"
  say "the packages, by their Debian 12 names: ${missing[*]}"
  for name in "${commands[@]}"; do
    has "$name" || absent+=("$name")
  done
  if ((${#absent[@]})); then
    say "commands not found: ${absent[*]}"
    exit 1
  fi
  say 'all commands are there: going on'
  exit 0
}

missing=()
if has dpkg-query; then
  for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then
    say 'everything is installed'
    exit 0
  fi
else
  missing=("${packages[@]}")
fi

has apt-get || go_on_without_packages 'installs nothing: this is not Debian (no apt-get)'
((EUID == 0)) || go_on_without_packages 'installs nothing: needs root'

# A package that brings a service starts it, and a dockerd here would change this machine's network
# and firewall: tests/node starts its own, in namespaces of its own. Debian's policy is asked first.
readonly policy=/usr/sbin/policy-rc.d
start_no_services() {
  [[ -e $policy ]] && return
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' HUP TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
}

# Nor shall it come up at the next boot.
disable_docker() {
  [[ -d /run/systemd/system ]] || return 0
  systemctl --quiet disable docker.service docker.socket containerd.service || true
}

say "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# A machine that has just booted may still hold the lock for its own updates.
apt=(apt-get --yes -o DPkg::Lock::Timeout=120)
"${apt[@]}" update || say 'the package lists could not be updated: trying with those at hand'
if [[ " ${missing[*]} " == *' docker.io '* ]]; then
  start_no_services
  "${apt[@]}" install --no-install-recommends "${missing[@]}"
  disable_docker
else
  "${apt[@]}" install --no-install-recommends "${missing[@]}"
fi
