// SPDX-License-Identifier: GPL-2.0-only
// The maps that say what is watched, which the programs of all objects share: namespaces and
// networks. They are there before any object is loaded, so that objects can be loaded side by side.
#pragma once

#include <cstdint>

#include "core/scope.h"
#include "kernel/unique_fd.h"

struct bpf_map;

namespace droptrace {

// Which packets are recorded in a namespace.
enum class Watch { kEvery, kCluster, kOwn };

class WatchMaps {
 public:
  // Throws Error (exit status 4 where the kernel or the privileges are the reason).
  WatchMaps();

  // Drops in this namespace are recorded from now on, or no longer. False if the map is full.
  bool watch_netns(std::uint32_t inum, Watch watch) const;
  void unwatch_netns(std::uint32_t inum) const;
  // False if the map is full.
  bool watch_prefix(const WatchedPrefix& prefix) const;

  // An object that is not loaded yet takes these in place of its own. Returns 0 or an errno value.
  int share(bpf_map* netns, bpf_map* cidrs4, bpf_map* cidrs6) const;

 private:
  UniqueFd netns_;
  UniqueFd cidrs4_;
  UniqueFd cidrs6_;
};

}  // namespace droptrace
