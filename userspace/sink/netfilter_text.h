// SPDX-License-Identifier: GPL-2.0-only
// Netfilter's part in a drop, in words for the text log. Nothing is escaped yet; what is not known
// is empty. room: bytes that there is room for.
#pragma once

#include <cstddef>
#include <string>

#include "core/drop.h"

namespace droptrace {

// "ip filter FORWARD → KUBE-FORWARD #1", "policy of ip filter FORWARD"; handles where names are not
// known.
std::string rule_text(const NetfilterFacts& facts);

// "conntrack: ipv4_conntrack_in refused it (table full?)"
std::string function_text(const NetfilterFacts& facts);

// "NFQUEUE 100 verdict by kindnetd"
std::string queue_text(const NetfilterFacts& facts);

// "one of 3 rules: ip filter FORWARD #2: -A FORWARD …"; JSON has the others.
std::string candidates_text(const NetfilterFacts& facts, std::size_t room);

// What the rule is for, in its author's words; without them the rule itself (JSON has all of it).
std::string remark(const RuleFacts& rule, std::size_t room);

// "[tcp dport 6001 : drop]": the element of the set or map that the packet has.
std::string element_text(const RuleFacts& rule, std::size_t room);

}  // namespace droptrace
