// SPDX-License-Identifier: GPL-2.0-only
#include "core/nft_match.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/nft_expression.h"
#include "core/xt_targets.h"

namespace droptrace {
namespace {

using Json = nlohmann::json;

Verdict verdict_of(const Json& statement) {
  std::string_view kind;
  const Json* const inside = only_member(statement, kind);
  if (!inside) return {Verdict::Kind::kUnknown, {}};
  if (kind == "accept") return {Verdict::Kind::kAccept, {}};
  if (kind == "drop") return {Verdict::Kind::kDrop, {}};
  if (kind == "continue") return {};
  if (kind == "return") return {Verdict::Kind::kReturn, {}};
  if (kind == "jump")
    return {Verdict::Kind::kJump, std::string(text_of(member(*inside, "target")))};
  if (kind == "goto")
    return {Verdict::Kind::kGoto, std::string(text_of(member(*inside, "target")))};
  return {Verdict::Kind::kUnknown, {}};
}

std::string shown_verdict(const Verdict& verdict) {
  switch (verdict.kind) {
    case Verdict::Kind::kAccept:
      return "accept";
    case Verdict::Kind::kDrop:
      return "drop";
    case Verdict::Kind::kContinue:
      return "continue";
    case Verdict::Kind::kReturn:
      return "return";
    case Verdict::Kind::kJump:
      return "jump " + verdict.chain;
    case Verdict::Kind::kGoto:
      return "goto " + verdict.chain;
    default:
      return {};
  }
}

// What "elem" wraps is a key with a comment, a counter, a timeout.
const Json& bare_key(const Json& key, std::string_view& comment, bool& times_out) {
  const Json* const wrapped = key.is_object() ? member(key, "elem") : nullptr;
  const Json* const value = wrapped && wrapped->is_object() ? member(*wrapped, "val") : nullptr;
  if (!value) return key;
  comment = text_of(*wrapped, "comment");
  times_out = times_out || member(*wrapped, "timeout") || member(*wrapped, "expires");
  return *value;
}

Element element_of(const Json& item, const std::vector<Operand>& operands, ElementSet& set) {
  Element element;
  const auto* const pair = list_of(&item);  // of a map: key and verdict
  const bool maps = pair && pair->size() == 2;
  if (maps) element.verdict = verdict_of((*pair)[1]);
  std::string_view comment;
  const Json& key = bare_key(maps ? (*pair)[0] : item, comment, set.changes);

  std::string_view kind;
  const Json* const inside = only_member(key, kind);
  const auto* const parts = inside && kind == "concat" ? list_of(inside) : nullptr;
  element.catch_all = key == "*";
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const Json* const part = parts ? (i < parts->size() ? &(*parts)[i] : nullptr) : &key;
    if (!part) break;
    element.text += (i > 0 ? " . " : "") + shown_value(*part, operands[i]);
    auto range = element.catch_all ? std::optional(Range{Key{}, name_range("*", '*').last})
                                   : range_of(*part, operands[i]);
    if (range) element.parts.push_back(*range);
  }
  if (element.parts.size() != operands.size()) element.parts.clear();
  if (!comment.empty()) element.text += fmt::format(" comment \"{}\"", comment);
  if (maps) element.text += " : " + shown_verdict(element.verdict);
  return element;
}

void add_elements(const Json* items, const std::vector<Operand>& operands, ElementSet& set) {
  const auto* const list = list_of(items);
  if (!list) return;
  set.elements.reserve(list->size());
  for (const Json& item : *list) set.elements.push_back(element_of(item, operands, set));
  std::ranges::stable_partition(set.elements, [](const auto& each) { return !each.catch_all; });
}

// The set that a rule names ("@blocked") or has in itself ({"set": […]}); nullptr if it is neither.
std::shared_ptr<const ElementSet> set_of(const Json& data, const std::vector<Operand>& operands,
                                         const NftSets& sets) {
  const std::string_view name = text_of(&data);
  if (name.starts_with('@')) {
    const auto found = sets.find(std::string(name.substr(1)));
    return found == sets.end() ? nullptr : found->second;
  }
  const Json* const items = data.is_object() ? member(data, "set") : nullptr;
  if (!items) return nullptr;
  auto set = std::make_shared<ElementSet>();
  add_elements(items, operands, *set);
  return set;
}

Match set_match(const Json& left, const Json& right, bool negated, const NftSets& sets) {
  Match match;
  match.test = Match::Test::kInSet;
  match.negated = negated;
  match.lookup.operands = operands_of(left);
  match.lookup.set = set_of(right, match.lookup.operands, sets);
  return match;
}

// Of "<", "<=", ">" and ">=" to a number.
std::optional<Range> compared_range(std::string_view op, const Range& range) {
  const Key lowest{};
  const Key highest = name_range("*", '*').last;
  const auto one_less = [](Key key) {
    for (std::size_t i = key.size(); i-- > 0 && key[i]-- == 0;) {
    }
    return key;
  };
  const auto one_more = [](Key key) {
    for (std::size_t i = key.size(); i-- > 0 && ++key[i] == 0;) {
    }
    return key;
  };
  if (op == "<=") return Range{lowest, range.last};
  if (op == ">=") return Range{range.first, highest};
  if (op == "<" && range.first != lowest) return Range{lowest, one_less(range.first)};
  if (op == ">" && range.last != highest) return Range{one_more(range.last), highest};
  return std::nullopt;
}

// {"match": {"op": "==", "left": …, "right": …}}
Match match_of(const Json& described, const NftSets& sets) {
  const std::string_view op = text_of(described, "op");
  const Json* const left = member(described, "left");
  const Json* const right = member(described, "right");
  if (!left || !right) return {};
  const bool is_set = text_of(right).starts_with('@') || member(*right, "set");
  if (is_set || member(*left, "concat")) {
    if (op != "==" && op != "!=" && op != "in") return {};
    return set_match(*left, *right, op == "!=", sets);
  }

  Match match;
  match.operand = operand_of(*left);
  if (op == "in" || op == "!") {  // any of these bits, none of them
    const auto bits = bits_of(*right, match.operand);
    if (!bits || match.operand.mask) return match;
    match.test = Match::Test::kAnyBit;
    match.negated = op == "!";
    match.operand.mask = bits;
    return match;
  }
  auto range = range_of(*right, match.operand);
  if (range && op != "==" && op != "!=") range = compared_range(op, *range);
  if (!range) return match;
  match.test = Match::Test::kInRange;
  match.negated = op == "!=";
  match.range = *range;
  return match;
}

// Statements that let every packet pass on as it was.
bool changes_nothing(std::string_view kind) {
  return kind == "counter" || kind == "log" || kind == "notrack" || kind == "dup" ||
         kind == "ct helper" || kind == "ct timeout" || kind == "ct expectation" ||
         kind == "secmark";
}

// NAT ends a chain's rules like accept.
bool translates(std::string_view kind) {
  return kind == "dnat" || kind == "snat" || kind == "masquerade" || kind == "redirect";
}

void add_mangle(const Json& described, RuleLogic& logic) {
  const Json* const key = member(described, "key");
  std::string_view kind;
  const Json* const inside = key ? only_member(*key, kind) : nullptr;
  if (!inside) return;
  if (kind == "meta" && text_of(*inside, "key") == "mark") logic.sets_mark = true;
  const std::string_view field = text_of(*inside, "field");
  if (kind == "payload" && (field.ends_with("addr") || field.ends_with("port") || field.empty()))
    logic.alters = true;
}

void add_map(const Json& described, const NftSets& sets, RuleLogic& logic) {
  const Json* const key = member(described, "key");
  const Json* const data = member(described, "data");
  if (!key || !data) return;
  SetLookup map;
  map.operands = operands_of(*key);
  map.set = set_of(*data, map.operands, sets);
  logic.map = std::move(map);
}

// "update @seen { ip saddr }": the set is what packets make it, and it may be full.
void add_set_change(const Json& described, const NftSets& sets, RuleLogic& logic) {
  const std::string_view name = text_of(described, "set");
  const auto set = name.empty() ? sets.end() : sets.find(std::string(name.substr(1)));
  if (set != sets.end()) set->second->changes = true;
  logic.matches.emplace_back();
}

void add_statement(const Json& statement, const NftSets& sets, RuleLogic& logic) {
  std::string_view kind;
  const Json* const inside = only_member(statement, kind);
  if (!inside) {
    logic.matches.emplace_back();
  } else if (kind == "match") {
    logic.matches.push_back(match_of(*inside, sets));
  } else if (kind == "vmap") {
    add_map(*inside, sets, logic);
  } else if (kind == "mangle") {
    add_mangle(*inside, logic);
  } else if (kind == "set" || kind == "map") {
    add_set_change(*inside, sets, logic);
  } else if (kind == "queue") {
    logic.verdict.kind = Verdict::Kind::kQueue;
  } else if (kind == "reject") {
    logic.verdict.kind = Verdict::Kind::kReject;
  } else if (translates(kind)) {
    logic.verdict.kind = Verdict::Kind::kAccept;
  } else if (kind == "xt") {
    const std::string_view name = text_of(*inside, "name");
    if (text_of(*inside, "type") == "target")
      add_xt_target(name, logic);
    else if (name != "comment")
      logic.matches.emplace_back();
  } else if (const Verdict verdict = verdict_of(statement);
             verdict.kind != Verdict::Kind::kUnknown) {
    logic.verdict = verdict;
  } else if (kind == "tproxy" || kind == "synproxy" || kind == "fwd") {
    logic.verdict = verdict;
  } else if (!changes_nothing(kind)) {
    logic.matches.emplace_back();
  }
}

}  // namespace

RuleLogic nft_logic(std::span<const Json> statements, const NftSets& sets) {
  RuleLogic logic;
  for (const Json& statement : statements) add_statement(statement, sets, logic);
  return logic;
}

std::shared_ptr<ElementSet> nft_set(const Json& described) {
  auto set = std::make_shared<ElementSet>();
  set->named = true;
  const auto has_flag = [&](std::string_view flag) {
    const Json* const flags = member(described, "flags");
    return flags && std::any_of(flags->begin(), flags->end(),
                                [&](const Json& value) { return value == flag; });
  };
  set->changes = has_flag("dynamic") || has_flag("timeout") || member(described, "timeout");
  add_elements(member(described, "elem"), operands_of_type(member(described, "type")), *set);
  return set;
}

}  // namespace droptrace
