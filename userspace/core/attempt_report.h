// SPDX-License-Identifier: GPL-2.0-only
// What became of an attempt, as the sinks show it.
#pragma once

#include <string>
#include <vector>

#include "core/drop.h"
#include "core/enrich.h"
#include "core/path.h"
#include "core/silent_cause.h"

namespace droptrace {

struct AttemptReport {
  Outcome outcome = Outcome::kUnanswered;
  Drop drop;  // where the packet was seen last; nothing dropped it
  std::vector<HopView> path;
  Cause cause;  // without an id: of an attempt that was answered
};

// Its hops in words, in the order of time, and what NAT has changed between them.
std::vector<HopView> describe_hops(const Attempted& attempt, const World& world);

// change: counters of suspect_netns(); nullptr if they are not known.
AttemptReport report_of(const Attempted& attempt, const World& world, const KernelNames& names,
                        const EnrichOptions& options, const CounterChange* change);

}  // namespace droptrace
