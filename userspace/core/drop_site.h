// SPDX-License-Identifier: GPL-2.0-only
// Where in the kernel a packet was dropped, in names: from the location and the stack of a record.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/decode.h"
#include "core/symbols.h"

namespace droptrace {

struct DropSite {
  std::string_view function;                // as the source names it; empty: no symbol
  std::span<const std::uint64_t> stack;     // from the location outwards; all of it if that is
                                            // not in it
  std::vector<std::string_view> functions;  // of the stack
};

// The function as the source names it: without what the compiler appends to a part of it (".cold").
// Empty if there is no symbol.
std::string_view function_at(const Symbols& symbols, std::uint64_t address);

// Valid as long as record and symbols are.
DropSite site_of(const Record& record, const Symbols& symbols);

// True if the function carries out the verdict on a packet from an NFQUEUE.
bool reinjects(std::string_view function);

// True if a listener's message about a packet is being handled: whoever else takes a packet out of
// its queue, a change of the rules or the end of the listener, has not judged it.
bool handles_verdict(const std::vector<std::string_view>& functions);

}  // namespace droptrace
