// SPDX-License-Identifier: GPL-2.0-only
// Why an attempt got no answer although nothing was seen to drop it: what can be told from where it
// was seen last, and from that namespace's counters. Nothing is claimed without evidence.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/cause.h"
#include "core/net_counters.h"
#include "core/path.h"
#include "core/world.h"

namespace droptrace {

// Counters of a namespace while the attempt was under way.
struct CounterChange {
  NetCounters before;
  NetCounters after;

  std::uint64_t grown(const std::string& name) const;
};

// The namespace whose counters may tell; 0: none.
std::uint32_t suspect_netns(const Attempted& attempt);

// change: of the suspect; nullptr if it could not be read.
Cause cause_of(const Attempted& attempt, const World& world, const CounterChange* change);

// The attempt has left the node by an interface that leads to no pod, although its destination is
// in a service's or pod's network and no other node has it.
std::optional<Cause> leak_of(const Attempted& attempt, const World& world);

// True if any address on its way is in a service's or pod's network.
bool touches_cluster(const Attempted& attempt, const World& world);

}  // namespace droptrace
