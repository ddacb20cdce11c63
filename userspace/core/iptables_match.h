// SPDX-License-Identifier: GPL-2.0-only
// A rule as iptables-save prints it as what it asks of a packet. What is not understood becomes a
// match of which nothing is known.
#pragma once

#include <span>
#include <string_view>

#include "core/rule_match.h"

namespace droptrace {

// The words behind "-A CHAIN"; those in quotes have them. A target that is not known counts as a
// chain until somebody who knows the chains says otherwise: logic.verdict is kJump then.
RuleLogic iptables_logic(std::span<const std::string_view> words);

}  // namespace droptrace
