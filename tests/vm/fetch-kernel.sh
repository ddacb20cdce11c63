#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# usage: fetch-kernel.sh SERIES
# Prints a directory with Debian's newest kernel of SERIES (5.10, 6.1 or 6.12), unpacked. It is kept
# in ${XDG_CACHE_HOME:-/var/cache}/droptrace and used again until somebody removes it. The smaller
# cloud kernels lack 9p, the file system by which a virtual machine sees the files of this one.
#
# The packages come from the mirrors in the machine's own apt sources, of whichever Debian release
# has the series. apt works on lists of its own: neither /etc/apt nor the machine's lists change.
# Exits 77 with the reason if the kernel cannot be had.
set -euo pipefail

readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg

skip() {
  echo "fetch-kernel.sh: skipped: $*" >&2
  exit 77
}

series=${1-}
case $series in
  5.10) release=bullseye ;;
  6.1 | 6.12) release=bookworm ;;
  *)
    echo 'usage: fetch-kernel.sh 5.10|6.1|6.12' >&2
    exit 2
    ;;
esac

# "su" without "-" keeps a PATH that has no sbin.
PATH=$PATH:/usr/sbin:/sbin
cache=${XDG_CACHE_HOME:-/var/cache}/droptrace
kernel=$cache/linux-$series
if [[ -d $kernel ]]; then
  echo "$kernel"
  exit
fi

for tool in apt-get apt-cache dpkg-deb depmod; do
  [[ -n $(command -v "$tool") ]] || skip "not installed: $tool"
done
[[ -r $keyring ]] || skip "no $keyring"
mkdir -p "$cache" 2>/dev/null || skip "cannot write to $cache"
# Two virtual machines that want the same kernel start at once.
exec 9>"$cache/lock-$series"
flock 9
if [[ -d $kernel ]]; then
  echo "$kernel"
  exit
fi
# Beside its destination, so that moving it there is one step: nobody sees half a kernel.
work=$(mktemp -d "$cache/fetch.XXXXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

# Prints the machine's sources of its own release's main and security suites, as those of $release.
sources() {
  local uri suite component installed
  installed=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  # shellcheck disable=SC2016 # The names are for apt-get to replace.
  apt-get indextargets --no-release-info --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Identifier: Packages' | sort -u |
    while read -r uri suite component; do
      [[ $component == main && $suite =~ ^"$installed"(-security)?$ ]] || continue
      echo "deb [signed-by=$keyring] $uri $release${suite#"$installed"} main"
    done
}

mkdir -p "$work"/{lists,archives}/partial "$work/tree"
sources >"$work/sources.list"
[[ -s $work/sources.list ]] || skip "no source of this machine's Debian release in its apt sources"
# apt's own user could not look into $work.
cat >"$work/apt.conf" <<EOF
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$work/lists";
Dir::Cache "$work";
Acquire::Languages "none";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
APT::Sandbox::User "";
EOF
export APT_CONFIG=$work/apt.conf

echo "fetch-kernel.sh: looking for Linux $series in Debian $release" >&2
# One of the suites may be gone; what counts is whether the package is found.
apt-get --quiet=2 update >&2 || true
package=$(apt-cache search --names-only "^linux-image-${series//./\\.}\.[^-]*(-[0-9]+)?-amd64$" |
  cut -d ' ' -f 1 | sort --version-sort | tail -n 1)
[[ -n $package ]] || skip "found no package linux-image-$series.*-amd64"
echo "fetch-kernel.sh: downloading $package" >&2
(cd "$work" && apt-get --quiet=2 download "$package" >&2) || skip "cannot download $package"

dpkg-deb --extract "$work"/linux-image-*.deb "$work/tree"
modules=("$work"/tree/lib/modules/*)
depmod --basedir "$work/tree" "${modules[0]##*/}"
# It appears whole or not at all.
mv --no-target-directory "$work/tree" "$kernel"
echo "$kernel"
