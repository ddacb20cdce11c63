// SPDX-License-Identifier: GPL-2.0-only
// What a rule that rejects sends to the sender, from its text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace droptrace {

// "rst" or "icmp TYPE/CODE" for a rule that iptables-save (-j REJECT) or nft (reject) prints; v6
// says which ICMP. nullopt if the rule does not reject, or with something unknown.
std::optional<std::string> answer_of_rule(std::string_view rule, bool v6);

}  // namespace droptrace
