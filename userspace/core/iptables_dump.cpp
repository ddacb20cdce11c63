// SPDX-License-Identifier: GPL-2.0-only
#include <algorithm>
#include <charconv>
#include <memory>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "core/iptables_match.h"
#include "core/ruleset.h"

namespace droptrace {
namespace {

using Queues = std::pair<std::uint16_t, std::uint16_t>;

// Where a quoted word ends, behind its closing quote; npos if it is not closed.
std::size_t end_of_quoted(std::string_view text) {
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

// Cuts the next word off the line that text begins with; empty at the end of that line. A word in
// quotes keeps them, and may hold line breaks: iptables-save prints those of a comment as they are.
std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::size_t end = text.starts_with('"') ? end_of_quoted(text) : std::string_view::npos;
  if (end == std::string_view::npos) end = std::min(text.find_first_of(" \n"), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

// A word as it was before iptables-save quoted it: it puts a backslash before each of "\'.
std::string unquoted(std::string_view word) {
  if (word.size() < 2 || word.front() != '"' || word.back() != '"') return std::string(word);
  word = word.substr(1, word.size() - 2);
  std::string result;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (word[i] == '\\' && i + 1 < word.size()) ++i;
    result += word[i];
  }
  return result;
}

std::optional<std::uint16_t> parse_number(std::string_view word) {
  std::uint16_t number = 0;
  const char* const end = word.data() + word.size();
  const auto [rest, error] = std::from_chars(word.data(), end, number);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return number;
}

// "100", or "100:103" of --queue-balance.
std::optional<Queues> parse_queues(std::string_view word) {
  const std::size_t colon = word.find(':');
  const std::optional<std::uint16_t> first = parse_number(word.substr(0, colon));
  const std::optional<std::uint16_t> last =
      colon == std::string_view::npos ? first : parse_number(word.substr(colon + 1));
  if (!first || !last) return std::nullopt;
  return Queues(*first, *last);
}

// Reads the options behind "-A CHAIN". target is whatever -j or -g names, a chain or not.
Rule rule_of(const std::vector<std::string_view>& words) {
  Rule rule;
  const auto value_at = [&](std::size_t i) {
    return i < words.size() ? words[i] : std::string_view();
  };
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (word == "-j" || word == "-g") {
      rule.target = value_at(++i);
    } else if (word == "--comment") {
      rule.comment = unquoted(value_at(++i));
    } else if (word == "--queue-num" || word == "--queue-balance") {
      rule.queues = parse_queues(value_at(++i));
    } else if (word == "--queue-bypass") {
      rule.queue_bypass = true;
    }
  }
  if (rule.target == "QUEUE") rule.queues = Queues(0, 0);
  return rule;
}

class SaveReader {
 public:
  explicit SaveReader(NfFamily family) : family_(family) {}

  // Takes the line that text begins with, but not its end.
  void take_line(std::string_view& text) {
    const char first = text.front();
    if (first == '*') {
      add_table(take_word(text).substr(1));
    } else if (first == ':' && !tables_.empty()) {
      add_chain(text);
    } else if ((first == '-' || first == '[') && !tables_.empty()) {
      add_rule(text);
    }
  }

  std::vector<Table> finish() { return std::move(tables_); }

 private:
  void add_table(std::string_view name);
  void add_chain(std::string_view& text);
  void add_rule(std::string_view& text);
  std::shared_ptr<const RuleLogic> logic_of(const std::string& target) const;

  NfFamily family_;
  std::vector<Table> tables_;
  std::unordered_map<std::string_view, std::size_t> chains_;  // of the last table, index by name
  std::vector<std::string_view> words_;                       // of the last rule
};

void SaveReader::add_table(std::string_view name) {
  Table table;
  table.family = family_;
  table.name = name;
  tables_.push_back(std::move(table));
  chains_.clear();
}

// ":FORWARD DROP [0:0]"
void SaveReader::add_chain(std::string_view& text) {
  Table& table = tables_.back();
  const std::string_view name = take_word(text).substr(1);
  if (!chains_.emplace(name, table.chains.size()).second) return;
  Chain chain;
  chain.name = name;
  chain.policy_drop = take_word(text) == "DROP";
  chain.nat = table.name == "nat";
  if (const std::optional<HookPoint> place = builtin_hook_point(table.name, name)) {
    chain.hook = place->hook;
    chain.priority = place->priority;
  }
  table.chains.push_back(std::move(chain));
}

// "[1:60] -A FORWARD -p udp -j DROP"; the counters are there with -c only.
void SaveReader::add_rule(std::string_view& text) {
  if (text.starts_with('[')) take_word(text);
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const std::string_view line = text;
  if (take_word(text) != "-A") return;
  const auto chain = chains_.find(take_word(text));
  if (chain == chains_.end()) return;

  words_.clear();
  for (std::string_view word = take_word(text); !word.empty(); word = take_word(text))
    words_.push_back(word);
  Rule rule = rule_of(words_);
  rule.text = line.substr(0, line.size() - text.size());
  rule.logic = logic_of(rule.target);
  if (!chains_.contains(rule.target)) rule.target.clear();
  std::vector<Rule>& rules = tables_.back().chains[chain->second].rules;
  rule.number = static_cast<unsigned>(rules.size()) + 1;
  rules.push_back(std::move(rule));
}

// Of the words; a target is a chain if there is one of that name.
std::shared_ptr<const RuleLogic> SaveReader::logic_of(const std::string& target) const {
  RuleLogic logic = iptables_logic(words_);
  const bool goes_on = logic.verdict.kind == Verdict::Kind::kGoto;
  if (chains_.contains(target))
    logic.verdict = {goes_on ? Verdict::Kind::kGoto : Verdict::Kind::kJump, target};
  else if (goes_on || logic.verdict.kind == Verdict::Kind::kJump)
    logic.verdict = {Verdict::Kind::kUnknown, {}};
  return std::make_shared<const RuleLogic>(std::move(logic));
}

void use_rules(Chain& chain, const Chain& saved) {
  if (!std::ranges::equal(chain.rules, saved.rules, {}, &Rule::target, &Rule::target)) return;
  for (std::size_t i = 0; i < chain.rules.size(); ++i) {
    const std::uint64_t handle = chain.rules[i].handle;
    chain.rules[i] = saved.rules[i];
    chain.rules[i].handle = handle;
  }
}

void use_chains(Table& table, const Table& saved) {
  std::unordered_map<std::string_view, const Chain*> by_name;
  for (const Chain& chain : saved.chains) by_name.emplace(chain.name, &chain);
  for (Chain& chain : table.chains) {
    if (const auto found = by_name.find(chain.name); found != by_name.end()) {
      use_rules(chain, *found->second);
    }
  }
}

}  // namespace

std::vector<Table> parse_iptables_save(std::string_view text, NfFamily family) {
  SaveReader reader(family);
  while (!text.empty()) {
    reader.take_line(text);
    text.remove_prefix(std::min(text.find('\n'), text.size()));
    if (!text.empty()) text.remove_prefix(1);
  }
  return reader.finish();
}

void use_iptables_text(std::vector<Table>& nft, const std::vector<Table>& saved) {
  for (Table& table : nft) {
    if (!table.xtables) continue;
    const auto same = std::ranges::find_if(saved, [&](const Table& candidate) {
      return candidate.family == table.family && candidate.name == table.name;
    });
    if (same != saved.end()) use_chains(table, *same);
  }
}

}  // namespace droptrace
