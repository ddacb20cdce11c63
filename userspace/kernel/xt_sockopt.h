// SPDX-License-Identifier: GPL-2.0-only
// The tables of ip_tables and ip6_tables as the kernel hands them out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/ruleset.h"

namespace droptrace {

struct XtBlob {
  XtLayout layout;
  std::uint32_t number = 0;  // of entries
  std::vector<std::byte> entries;
};

// A table of the namespace that the thread is in; nullopt if the kernel does not give it. Asking
// for a table that is not there creates it: only ask for one that is known to be. family: kIp,
// kIp6.
std::optional<XtBlob> read_xt_table(NfFamily family, const std::string& name);

// What the kernel says of a table without its entries: bytes that change when rules come or go.
// Conditions as above.
std::optional<std::string> read_xt_info(NfFamily family, const std::string& name);

// Where an entry of that family counts, from its start.
std::uint32_t xt_counters_offset(NfFamily family);

// True if the table was not replaced between the two looks, as far as they tell: the rules are the
// same, and none has counted backwards.
bool same_table(const XtBlob& before, const XtBlob& after, NfFamily family);

}  // namespace droptrace
