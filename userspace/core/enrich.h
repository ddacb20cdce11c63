// SPDX-License-Identifier: GPL-2.0-only
// Record + what is known = Drop. A pure function: the same record and world give the same drop.
#pragma once

#include <cstdint>

#include "core/attempts.h"
#include "core/decode.h"
#include "core/drop.h"
#include "core/drop_reason.h"
#include "core/symbols.h"
#include "core/world.h"

namespace droptrace {

// Names that the running kernel gives to its numbers and addresses.
struct KernelNames {
  DropReasons reasons;
  Symbols symbols;
};

struct EnrichOptions {
  std::int64_t realtime_offset_ns = 0;  // CLOCK_REALTIME minus CLOCK_BOOTTIME
  bool stack = false;                   // keep the whole stack in Drop::stack
  bool nft_frees = false;  // nf_tables frees what it drops itself: nf_hook_slow frees for others
};

// Everything but Drop::attempt, which depends on earlier drops.
Drop enrich(Record record, const World& world, const KernelNames& names,
            const EnrichOptions& options);

// Adds the drop to its attempt and sets Drop::attempt, if it is a connection attempt's SYN.
void count_attempt(Drop& drop, Attempts& attempts, const World& world);

}  // namespace droptrace
