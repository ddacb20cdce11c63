// SPDX-License-Identifier: GPL-2.0-only
// Learns where nf_hook_slow's frame tells which function of a hook point it calls, by trying: drops
// packets in a namespace of our own by a function whose index is known.
#pragma once

#include <string>

#include "core/symbols.h"
#include "kernel/bpf_object.h"
#include "kernel/test_packet.h"

namespace droptrace {

struct EntryReport {
  bool known = false;   // drops tell the function that dropped
  std::string refusal;  // why not; empty if they do
  double duration_ms = 0;
};

// Calibrates the kernel side, which has been told where its functions are (test_engines). The
// namespace is gone when it returns; nothing outside it was touched.
EntryReport test_entries(BpfObject& bpf, const Symbols& symbols, const OtherRecords& other);

}  // namespace droptrace
