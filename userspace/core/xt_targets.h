// SPDX-License-Identifier: GPL-2.0-only
// What the target extensions of iptables do with a packet, by their names.
#pragma once

#include <string_view>

#include "core/rule_match.h"

namespace droptrace {

// Gives the rule the verdict of its target: "REJECT", "MARK", "DNAT". A target that we do not know
// may do anything.
void add_xt_target(std::string_view target, RuleLogic& logic);

}  // namespace droptrace
