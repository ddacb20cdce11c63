// SPDX-License-Identifier: GPL-2.0-only
// Counters of namespaces in which attempts came to nothing, as they were before and after.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "core/net_counters.h"
#include "core/silent_cause.h"
#include "kernel/netns.h"

namespace droptrace {

class CounterBook {
 public:
  using Live = std::map<std::uint32_t, NetnsRef>;

  // From now on, these namespaces are compared with what they are now, or were when they were first
  // named. At most room of them anew: what does not fit comes with the next call.
  void watch(const std::set<std::uint32_t>& namespaces, const Live& live, std::size_t room = 8);

  // What has changed in it since. nullopt if it cannot be entered, or was not watched.
  std::optional<CounterChange> change(std::uint32_t netns, const Live& live) const;

 private:
  std::optional<NetCounters> read(std::uint32_t netns, const Live& live) const;

  NetnsSwitch switch_;
  std::map<std::uint32_t, NetCounters> before_;
};

}  // namespace droptrace
