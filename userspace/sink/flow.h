// SPDX-License-Identifier: GPL-2.0-only
// Between whom a dropped packet was, in words: the client, the service it dialled, the endpoint
// that was to answer.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/drop.h"
#include "sink/style.h"

namespace droptrace {

// One end of a flow. The name gives way where room is short, the address never does.
struct FlowEnd {
  std::string before;  // the name
  std::string name;    // escaped already; empty: not known
  std::string after;
  Style style = Style::kPlain;
};

// In the direction of the packet; empty if the packet names no addresses. brief: without what an
// earlier line about the same attempt has said.
std::vector<FlowEnd> flow_ends(const Drop& drop, bool brief);

// Shortens the longest names, as far as is bearable, until the ends with arrows between them take
// so many columns at most.
void fit(std::vector<FlowEnd>& ends, std::size_t columns);

// The end, ready for the terminal.
std::string to_string(const FlowEnd& end);

// How long names may be so that together with fixed columns they take no more than columns; not
// less than shortest. names: how many columns each of them takes.
std::size_t name_limit(std::span<const std::size_t> names, std::size_t fixed, std::size_t columns,
                       std::size_t shortest);

// A name, escaped already, with its middle replaced by "…" if it takes more columns than that; of
// "NAMESPACE/NAME" both parts.
std::string shortened(const std::string& text, std::size_t columns);

}  // namespace droptrace
