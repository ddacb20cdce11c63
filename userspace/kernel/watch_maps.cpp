// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/watch_maps.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "droptrace/event.h"

#include "kernel/privileges.h"

namespace droptrace {

namespace {

UniqueFd create(bpf_map_type type, const char* name, std::uint32_t key_size, std::uint32_t entries,
                std::uint32_t flags) {
  bpf_map_create_opts options{};
  options.sz = sizeof(options);
  options.map_flags = flags;
  UniqueFd map(bpf_map_create(type, name, key_size, sizeof(std::uint8_t), entries, &options));
  if (!map.valid()) refuse_bpf("make the maps of what is watched", errno);
  return map;
}

template <typename Key>
bool add_prefix(int map, const WatchedPrefix& prefix) {
  Key key{};
  key.prefix_length = prefix.cidr.prefix_length;
  std::memcpy(key.addr, prefix.cidr.network.bytes.data(), sizeof(key.addr));
  const auto watched = static_cast<std::uint8_t>((prefix.cluster ? DT_WATCH_CLUSTER : 0) |
                                                 (prefix.own ? DT_WATCH_OWN : 0));
  return bpf_map_update_elem(map, &key, &watched, BPF_ANY) == 0;
}

std::uint8_t abi_watch(Watch watch) {
  switch (watch) {
    case Watch::kEvery:
      return 0;
    case Watch::kCluster:
      return DT_WATCH_CLUSTER;
    case Watch::kOwn:
      return DT_WATCH_OWN;
  }
  return 0;
}

}  // namespace

// As bpf/common.bpf.h has them.
WatchMaps::WatchMaps()
    : netns_(create(BPF_MAP_TYPE_HASH, "dt_netns", sizeof(std::uint32_t), DT_NETNS_MAX,
                    BPF_F_NO_PREALLOC)),
      cidrs4_(create(BPF_MAP_TYPE_LPM_TRIE, "dt_cidrs4", sizeof(dt_cidr4), DT_CIDRS_MAX,
                     BPF_F_NO_PREALLOC)),
      cidrs6_(create(BPF_MAP_TYPE_LPM_TRIE, "dt_cidrs6", sizeof(dt_cidr6), DT_CIDRS_MAX,
                     BPF_F_NO_PREALLOC)) {}

int WatchMaps::share(bpf_map* netns, bpf_map* cidrs4, bpf_map* cidrs6) const {
  for (const auto& [map, fd] : {std::pair{netns, netns_.get()}, std::pair{cidrs4, cidrs4_.get()},
                                std::pair{cidrs6, cidrs6_.get()}}) {
    if (const int error = bpf_map__reuse_fd(map, fd)) return -error;
    bpf_map__set_autocreate(map, true);
  }
  return 0;
}

bool WatchMaps::watch_prefix(const WatchedPrefix& prefix) const {
  return prefix.cidr.network.v6 ? add_prefix<dt_cidr6>(cidrs6_.get(), prefix)
                                : add_prefix<dt_cidr4>(cidrs4_.get(), prefix);
}

bool WatchMaps::watch_netns(std::uint32_t inum, Watch watch) const {
  const std::uint8_t watched = abi_watch(watch);
  return bpf_map_update_elem(netns_.get(), &inum, &watched, BPF_ANY) == 0;
}

void WatchMaps::unwatch_netns(std::uint32_t inum) const {
  bpf_map_delete_elem(netns_.get(), &inum);
}

}  // namespace droptrace
