// SPDX-License-Identifier: GPL-2.0-only
#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>
#include <system_error>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "core/nft_expression.h"
#include "core/nft_match.h"
#include "core/ruleset.h"

namespace droptrace {
namespace {

using Json = nlohmann::json;
// By the table's handle, then by the rule's.
using RuleTexts =
    std::unordered_map<std::uint64_t, std::unordered_map<std::uint64_t, std::string_view>>;

constexpr NfFamily kFamilies[] = {NfFamily::kIp,     NfFamily::kIp6, NfFamily::kInet,
                                  NfFamily::kBridge, NfFamily::kArp, NfFamily::kNetdev};
constexpr Hook kHooks[] = {Hook::kPrerouting,  Hook::kInput,   Hook::kForward, Hook::kOutput,
                           Hook::kPostrouting, Hook::kIngress, Hook::kEgress};

// A line of text as nft -a ends it: "CONTENT # handle NUMBER REST".
struct HandledLine {
  std::string_view content;
  std::uint64_t handle = 0;
  std::string_view rest;
};

std::optional<HandledLine> split_handle(std::string_view line) {
  constexpr std::string_view kMark = "# handle ";
  const std::size_t mark = line.rfind(kMark);
  if (mark == std::string_view::npos) return std::nullopt;
  const std::string_view number = line.substr(mark + kMark.size());
  const char* const end = number.data() + number.size();
  HandledLine result{line.substr(0, mark), 0, {}};
  const auto [rest, error] = std::from_chars(number.data(), end, result.handle);
  if (error != std::errc{}) return std::nullopt;
  result.rest = {rest, static_cast<std::size_t>(end - rest)};
  return result;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// A table's line starts at the margin, a rule's line behind two tabs. So do lines of sets and maps,
// but those have no handle at their end. A comment may hold a line break, and what follows that
// starts nowhere: such a rule has no text.
RuleTexts rule_texts(std::string_view text) {
  RuleTexts texts;
  std::unordered_map<std::uint64_t, std::string_view>* rules = nullptr;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));

    const bool is_table = line.starts_with("table ");
    if (!is_table && !line.starts_with("\t\t")) continue;
    const std::optional<HandledLine> handled = split_handle(line);
    if (is_table) {
      rules = handled ? &texts[handled->handle] : nullptr;
    } else if (rules && handled && handled->rest.empty()) {
      rules->emplace(handled->handle, trimmed(handled->content));
    }
  }
  return texts;
}

// 0 if there is no such number.
template <typename Number>
Number number_of(const Json& object, const char* key) {
  const Json* const value = member(object, key);
  return value && value->is_number_integer() ? value->get<Number>() : Number{};
}

template <typename Enum, std::size_t Size>
std::optional<Enum> find_named(const Enum (&values)[Size], std::string_view name) {
  const auto found = std::ranges::find_if(values, [&](Enum v) { return to_string(v) == name; });
  if (found == std::end(values)) return std::nullopt;
  return *found;
}

// The chain that a verdict leads to; empty if it ends the walk through the rules.
std::string chain_of_verdict(const Json& verdict) {
  const Json* next = member(verdict, "jump");
  if (!next) next = member(verdict, "goto");
  return next ? std::string(text_of(*next, "target")) : std::string();
}

// Adds the chains that a statement may lead to, as far as it lists them itself: not those of a
// named map, which change without the rule.
void add_chains_of(const Json& statement, std::vector<std::string>& chains) {
  const auto add = [&](const Json& verdict) {
    if (std::string chain = chain_of_verdict(verdict); !chain.empty()) {
      chains.push_back(std::move(chain));
    }
  };
  add(statement);
  const Json* const map = member(statement, "vmap");
  const Json* const data = map ? member(*map, "data") : nullptr;
  const Json* const pairs = data ? member(*data, "set") : nullptr;
  if (!pairs || !pairs->is_array()) return;
  for (const Json& pair : *pairs) {
    if (pair.is_array() && pair.size() == 2) add(pair[1]);
  }
}

std::optional<std::uint16_t> queue_number(const Json& value) {
  constexpr auto kMax = std::numeric_limits<std::uint16_t>::max();
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > kMax) return std::nullopt;
  return value.get<std::uint16_t>();
}

// A bare "queue" is queue 0. A computed number (numgen, a hash, a map) is not known.
std::optional<std::pair<std::uint16_t, std::uint16_t>> queues_of(const Json& statement) {
  const Json* const number = member(statement, "num");
  if (!number) return std::pair<std::uint16_t, std::uint16_t>(0, 0);
  const Json* const range = member(*number, "range");
  if (range && (!range->is_array() || range->size() != 2)) return std::nullopt;
  const std::optional<std::uint16_t> first = queue_number(range ? (*range)[0] : *number);
  const std::optional<std::uint16_t> last = queue_number(range ? (*range)[1] : *number);
  if (!first || !last) return std::nullopt;
  return std::pair(*first, *last);
}

// flags is one word or a list of them; a word's iterators run over itself.
bool has_flag(const Json& statement, std::string_view flag) {
  const Json* const flags = member(statement, "flags");
  return flags && std::any_of(flags->begin(), flags->end(),
                              [&](const Json& value) { return value == flag; });
}

// The only chain among those that a rule may lead to; empty if there is none or more than one.
std::string only_chain(const std::vector<std::string>& chains) {
  if (chains.empty()) return {};
  const std::string& first = chains.front();
  const bool same = std::ranges::all_of(chains, [&](const auto& chain) { return chain == first; });
  return same ? first : std::string();
}

// What a rule does, in the order in which it does it.
std::span<const Json> statements_of(const Json& rule) {
  const Json* const statements = member(rule, "expr");
  const auto* const list = statements ? statements->get_ptr<const Json::array_t*>() : nullptr;
  return list ? std::span<const Json>(*list) : std::span<const Json>();
}

bool has_statement(const Json& rule, const char* name) {
  return std::ranges::any_of(statements_of(rule),
                             [&](const Json& statement) { return member(statement, name); });
}

Rule parse_rule(const Json& described, const NftSets& sets) {
  Rule rule;
  rule.handle = number_of<std::uint64_t>(described, "handle");
  rule.comment = text_of(described, "comment");
  std::vector<std::string> chains;
  for (const Json& statement : statements_of(described)) {
    add_chains_of(statement, chains);
    if (const Json* const queue = member(statement, "queue")) {
      rule.queues = queues_of(*queue);
      rule.queue_bypass = has_flag(*queue, "bypass");
    }
  }
  rule.target = only_chain(chains);
  rule.logic = std::make_shared<const RuleLogic>(nft_logic(statements_of(described), sets));
  return rule;
}

// Takes the items of a dump in the order of the dump: a table, its chains, their rules.
class NftReader {
 public:
  explicit NftReader(std::string_view text) : texts_(rule_texts(text)) {}

  void add(const Json& item) {
    if (const Json* const table = member(item, "table")) add_table(*table);
    if (const Json* const set = member(item, "set")) add_set(*set);
    if (const Json* const map = member(item, "map")) add_set(*map);
    if (const Json* const chain = member(item, "chain")) add_chain(*chain);
    if (const Json* const rule = member(item, "rule")) add_rule(*rule);
  }

  std::vector<Table> finish() {
    std::vector<Table> tables;
    for (Draft& draft : drafts_) {
      draft.table.xtables = is_xtables(draft);
      tables.push_back(std::move(draft.table));
    }
    return tables;
  }

 private:
  struct Draft {
    Table table;
    std::unordered_map<std::string, std::size_t> chains;  // index by name
    NftSets sets;
    bool has_xt = false;
    bool all_counted = true;
  };

  void add_table(const Json& described);
  void add_set(const Json& described);
  void add_chain(const Json& described);
  void add_rule(const Json& described);
  Draft* find_draft(const Json& described);
  static bool is_xtables(const Draft& draft);

  RuleTexts texts_;
  std::vector<Draft> drafts_;
};

void NftReader::add_table(const Json& described) {
  const std::optional<NfFamily> family = find_named(kFamilies, text_of(described, "family"));
  if (!family) return;
  Draft draft;
  draft.table.family = *family;
  draft.table.name = text_of(described, "name");
  draft.table.handle = number_of<std::uint64_t>(described, "handle");
  drafts_.push_back(std::move(draft));
}

void NftReader::add_set(const Json& described) {
  Draft* const draft = find_draft(described);
  if (draft) draft->sets[std::string(text_of(described, "name"))] = nft_set(described);
}

void NftReader::add_chain(const Json& described) {
  Draft* const draft = find_draft(described);
  if (!draft) return;
  Chain chain;
  chain.name = text_of(described, "name");
  chain.handle = number_of<std::uint64_t>(described, "handle");
  chain.hook = find_named(kHooks, text_of(described, "hook"));
  chain.priority = number_of<int>(described, "prio");
  chain.policy_drop = text_of(described, "policy") == "drop";
  chain.nat = text_of(described, "type") == "nat";
  draft->chains.emplace(chain.name, draft->table.chains.size());
  draft->table.chains.push_back(std::move(chain));
}

void NftReader::add_rule(const Json& described) {
  Draft* const draft = find_draft(described);
  if (!draft) return;
  const auto chain = draft->chains.find(std::string(text_of(described, "chain")));
  if (chain == draft->chains.end()) return;
  std::vector<Rule>& rules = draft->table.chains[chain->second].rules;

  Rule rule = parse_rule(described, draft->sets);
  rule.number = static_cast<unsigned>(rules.size()) + 1;
  const auto& texts = texts_[draft->table.handle];
  if (const auto text = texts.find(rule.handle); text != texts.end()) rule.text = text->second;
  rules.push_back(std::move(rule));

  draft->has_xt = draft->has_xt || has_statement(described, "xt");
  draft->all_counted = draft->all_counted && has_statement(described, "counter");
}

NftReader::Draft* NftReader::find_draft(const Json& described) {
  const std::string_view name = text_of(described, "table");
  const std::optional<NfFamily> family = find_named(kFamilies, text_of(described, "family"));
  const auto found = std::ranges::find_if(drafts_, [&](const Draft& draft) {
    return draft.table.family == family && draft.table.name == name;
  });
  return found == drafts_.end() ? nullptr : &*found;
}

// iptables-nft takes a table for its own if all base chains are in their usual places; a table that
// has none sees no packets. Nothing else writes xt statements, and where it has no need of them it
// still counts in every rule.
bool NftReader::is_xtables(const Draft& draft) {
  if (draft.table.family != NfFamily::kIp && draft.table.family != NfFamily::kIp6) return false;
  bool has_base_chain = false;
  for (const Chain& chain : draft.table.chains) {
    if (!chain.hook) continue;
    const HookPoint place{*chain.hook, chain.priority};
    if (builtin_hook_point(draft.table.name, chain.name) != place) return false;
    has_base_chain = true;
  }
  return has_base_chain && (draft.has_xt || draft.all_counted);
}

}  // namespace

std::optional<std::vector<Table>> parse_nft(std::string_view json, std::string_view text) {
  NftReader reader(text);
  bool in_list = false;
  bool has_list = false;
  // {"nftables": [ITEM, …]}. Items are read as they come and not kept: the tree of a large
  // cluster's rules takes hundreds of megabytes.
  const auto on_event = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key) {
      if (depth == 1) in_list = parsed == "nftables";
      return true;
    }
    if (!in_list) return true;
    if (depth == 1 && event == Json::parse_event_t::array_start) has_list = true;
    if (depth != 2 || event != Json::parse_event_t::object_end) return true;
    reader.add(parsed);
    return false;
  };
  const Json document = Json::parse(json, on_event, false);
  if (document.is_discarded() || !has_list) return std::nullopt;
  return reader.finish();
}

}  // namespace droptrace
