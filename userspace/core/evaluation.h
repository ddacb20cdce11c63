// SPDX-License-Identifier: GPL-2.0-only
// Drops whose rule the kernel side could not observe: what to ask of the rules, and what their
// answer says. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/attribution.h"
#include "core/decode.h"
#include "core/drop_site.h"
#include "core/rule_walk.h"
#include "core/world.h"

namespace droptrace {

// How much of the kernel's doing is known.
struct EvaluationScope {
  bool conntrack_is_read = false;  // a packet without an entry has none
  bool nft_frees = false;          // rules of nf_tables drop in nft_do_chain, and nowhere else
};

struct Inquiry {
  std::uint32_t netns = 0;
  Question question;
  bool any_hook = false;    // question.hook is not known
  bool by_rule = false;     // nothing but a rule or a policy can have done it
  bool wants_rule = false;  // no: the rule is known, and what it has looked up is not
};

// nullopt if netfilter's rules have nothing to do with the drop, or too little is known of it.
std::optional<Inquiry> inquiry_of(const Record& record, const DropSite& site, const World& world,
                                  const EvaluationScope& scope);

// nullopt if no rule can have done it, or the rules cannot be followed.
std::optional<EvaluatedRules> evaluate_rules(const RuleWalker& rules, const Inquiry& inquiry);

// The element of a verdict map or a named set that made the rule match: "10.0.0.1 . 80 : drop".
// Empty if it looks up nothing or what it has found is not known.
std::string matched_element(const Rule& rule, const PacketFacts& packet);

}  // namespace droptrace
