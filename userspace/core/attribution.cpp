// SPDX-License-Identifier: GPL-2.0-only
#include "core/attribution.h"

#include <algorithm>

namespace droptrace {
namespace {

// The rule that made a jump: the one in front of the rule where the packet would have gone on.
const Rule* jumping_rule(const Chain& chain, std::uint64_t next_rule) {
  if (chain.rules.empty()) return nullptr;
  if (next_rule == 0) return &chain.rules.back();
  const auto next = std::ranges::find(chain.rules, next_rule, &Rule::handle);
  if (next == chain.rules.end() || next == chain.rules.begin()) return nullptr;
  return &*std::prev(next);
}

RuleFacts describe(const Table& table, const Chain& chain) {
  RuleFacts facts;
  facts.table = table.name;
  facts.chain = chain.name;
  return facts;
}

// The jump stack does not show a goto, and what an earlier packet left on it could pass for the way
// of this one.
bool reached_without_jump(const Table& table, const Chain& target) {
  return std::ranges::any_of(table.chains, [&](const Chain& chain) {
    return std::ranges::any_of(chain.rules, [&](const Rule& rule) {
      return rule.verdict_map || (rule.is_goto && rule.target == target.name);
    });
  });
}

const Table* find_table(const Ruleset& ruleset, const NetfilterRecord& record) {
  const auto table = std::ranges::find_if(ruleset.nft, [&](const Table& each) {
    return each.handle == record.table && each.family == record.family;
  });
  return table == ruleset.nft.end() ? nullptr : &*table;
}

bool leads_to(const Rule& rule, const Chain& chain) {
  return rule.verdict_map || rule.target == chain.name;
}

// The way as it was seen, gotos and all: each step is the rule that led on. Held to the rules, as a
// step may have been missed, or another packet's been taken for it.
std::vector<std::string> name_seen_path(const NetfilterRecord& record, const Ruleset& ruleset,
                                        const Chain& target) {
  std::vector<std::string> path;
  const Rule* last = nullptr;
  for (const PathStep& step : record.path) {
    const Chain* chain = ruleset.nft_chain(record.table, *record.family, step.chain);
    if (!chain || (last ? !leads_to(*last, *chain) : !chain->hook)) return {};
    const auto rule = std::ranges::find(chain->rules, step.next_rule, &Rule::handle);
    if (rule == chain->rules.end()) return {};
    path.push_back(chain->name);
    last = &*rule;
  }
  if (!last || !leads_to(*last, target)) return {};
  path.push_back(target.name);
  return path;
}

const XtRule* xt_rule_at(const std::vector<XtRule>& rules, std::uint64_t offset) {
  const auto found = std::ranges::lower_bound(rules, offset, {}, &XtRule::offset);
  return found != rules.end() && found->offset == offset ? &*found : nullptr;
}

// The jumps that led from the hook's base chain to the rule. A --goto is not on the jump stack, and
// a target that rejects sends its answer through the output hook, over the same stack: where that
// may have changed what is there, nothing is said.
std::vector<std::string> name_xt_path(const NetfilterRecord& record, std::string_view table,
                                      const XtRule& rule, const std::vector<XtRule>& rules) {
  const auto is_base = [&](const std::string& chain) {
    const auto place = builtin_hook_point(table, chain);
    return place && place->hook == record.hook;
  };
  if (is_base(rule.chain)) return {rule.chain};
  const bool gone_to = std::ranges::any_of(rules, [](const XtRule& each) { return !each.returns; });
  if (gone_to || (rule.rejects && record.hook == Hook::kOutput)) return {};
  std::vector<std::string> path;
  for (const PathStep& step : record.path) {
    const XtRule* jump = xt_rule_at(rules, step.next_rule);
    const XtRule* target = jump && jump->jump ? xt_rule_at(rules, *jump->jump) : nullptr;
    if (!target || (path.empty() ? !is_base(jump->chain) : jump->chain != path.back())) return {};
    if (path.empty()) path.push_back(jump->chain);
    path.push_back(target->chain);
    if (target->chain == rule.chain) return path;
  }
  return {};
}

}  // namespace

bool NetfilterRecord::has_nft_rule() const {
  return kind == Kind::kNftRule || ((from_hook || traced) && rule != 0 &&
                                    (kind == Kind::kQueueVerdict || kind == Kind::kQueueFailed));
}

std::vector<std::string> name_path(const NetfilterRecord& record, const Ruleset& ruleset) {
  if (!record.family) return {};
  const Table* table = find_table(ruleset, record);
  const Chain* target = ruleset.nft_chain(record.table, *record.family, record.chain);
  if (!table || !target) return {};
  if (record.from_hook) return name_seen_path(record, ruleset, *target);
  if (reached_without_jump(*table, *target)) return {};
  std::vector<std::string> path;
  std::string_view expected;  // where the last step jumped to
  for (const PathStep& step : record.path) {
    // What follows the jump into the dropping chain is left over from other packets.
    const Chain* chain = ruleset.nft_chain(record.table, *record.family, step.chain);
    const Rule* jump = chain ? jumping_rule(*chain, step.next_rule) : nullptr;
    if (!jump || (path.empty() ? !chain->hook : chain->name != expected)) return {};
    path.push_back(chain->name);
    expected = jump->target;
    if (jump->target == target->name) {
      path.push_back(target->name);
      return path;
    }
  }
  return {};
}

std::optional<RuleFacts> name_rule(const NetfilterRecord& record, const Ruleset& ruleset) {
  if (!record.family) return std::nullopt;
  if (record.kind == NetfilterRecord::Kind::kNftPolicy) {
    const Table* table = find_table(ruleset, record);
    const Chain* chain = ruleset.nft_chain(record.table, *record.family, record.chain);
    if (!table || !chain) return std::nullopt;
    return describe(*table, *chain);
  }
  if (!record.has_nft_rule()) return std::nullopt;
  const auto found = ruleset.nft_rule(record.table, *record.family, record.rule);
  if (!found) return std::nullopt;
  RuleFacts facts = describe(*found->table, *found->chain);
  facts.number = found->rule->number;
  facts.text = found->rule->text;
  facts.comment = found->rule->comment;
  facts.path = found->chain->hook ? std::vector{found->chain->name} : name_path(record, ruleset);
  return facts;
}

std::optional<RuleFacts> name_xt_rule(const NetfilterRecord& record, std::string_view table,
                                      const std::vector<XtRule>& rules) {
  const XtRule* rule = xt_rule_at(rules, record.rule);
  if (!rule) return std::nullopt;
  RuleFacts facts;
  facts.table = table;
  facts.chain = rule->chain;
  facts.policy = rule->policy;
  if (!rule->policy) facts.number = rule->number;
  facts.comment = rule->comment;
  facts.path = name_xt_path(record, table, *rule, rules);
  return facts;
}

}  // namespace droptrace
