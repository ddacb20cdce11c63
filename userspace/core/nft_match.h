// SPDX-License-Identifier: GPL-2.0-only
// The statements, sets and maps of `nft -j list ruleset` as what they ask of a packet. What is not
// understood becomes a match of which nothing is known.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include <nlohmann/json_fwd.hpp>

#include "core/rule_match.h"

namespace droptrace {

// The sets and maps of a table, by name.
using NftSets = std::unordered_map<std::string, std::shared_ptr<ElementSet>>;

// A rule's statements. Marks those of the sets that it changes.
RuleLogic nft_logic(std::span<const nlohmann::json> statements, const NftSets& sets);

// A "set" or "map" item of the dump.
std::shared_ptr<ElementSet> nft_set(const nlohmann::json& described);

}  // namespace droptrace
