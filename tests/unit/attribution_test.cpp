// SPDX-License-Identifier: GPL-2.0-only
#include "core/attribution.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace droptrace {
namespace {

using Path = std::vector<std::string>;

constexpr std::uint64_t kFilter = 4;  // the table's handle

// The chains' handles.
constexpr std::uint64_t kForward = 1;
constexpr std::uint64_t kServices = 2;
constexpr std::uint64_t kEgress = 3;
constexpr std::uint64_t kPorts = 5;
constexpr std::uint64_t kLocal = 6;

Rule rule(std::uint64_t handle, std::string text, std::string target = "") {
  Rule rule;
  rule.handle = handle;
  rule.text = std::move(text);
  rule.target = std::move(target);
  return rule;
}

Chain chain(std::string name, std::uint64_t handle, std::vector<Rule> rules) {
  Chain chain;
  chain.name = std::move(name);
  chain.handle = handle;
  chain.rules = std::move(rules);
  for (unsigned number = 0; Rule & each : chain.rules) each.number = ++number;
  return chain;
}

Chain base_chain(std::string name, std::uint64_t handle, Hook hook, std::vector<Rule> rules) {
  Chain base = chain(std::move(name), handle, std::move(rules));
  base.hook = hook;
  return base;
}

// FORWARD jumps to SERVICES in its middle, and SERVICES to PORTS and, with its last rule, to
// EGRESS. FORWARD goes to LOCAL.
Ruleset three_chains_deep() {
  Rule drop = rule(31, "-A EGRESS -j DROP");
  drop.comment = "no way out";
  Rule go = rule(12, "goto", "LOCAL");
  go.is_goto = true;
  Table table;
  table.family = NfFamily::kIp;
  table.name = "filter";
  table.handle = kFilter;
  table.chains = {
      base_chain("FORWARD", kForward, Hook::kForward,
                 {rule(10, "accept"), rule(11, "jump", "SERVICES"), go, rule(13, "drop")}),
      chain("SERVICES", kServices, {rule(20, "jump", "PORTS"), rule(21, "jump", "EGRESS")}),
      chain("EGRESS", kEgress, {rule(30, "return"), drop}),
      chain("PORTS", kPorts, {rule(50, "drop")}),
      chain("LOCAL", kLocal, {rule(60, "drop")}),
  };
  Ruleset ruleset;
  ruleset.nft = {table};
  return ruleset;
}

Chain& chain_of(Ruleset& ruleset, std::size_t index) { return ruleset.nft.at(0).chains.at(index); }

NetfilterRecord rule_record(std::uint64_t in_chain, std::uint64_t handle,
                            std::vector<PathStep> path = {}) {
  NetfilterRecord record;
  record.kind = NetfilterRecord::Kind::kNftRule;
  record.family = NfFamily::kIp;
  record.table = kFilter;
  record.chain = in_chain;
  record.rule = handle;
  record.path = std::move(path);
  return record;
}

const PathStep kIntoServices = {kForward, 12};
const PathStep kIntoEgress = {kServices, 0};
const PathStep kIntoPorts = {kServices, 21};

TEST_CASE("a rule deep in the table is named with its place, its text and the way to it") {
  const auto facts =
      name_rule(rule_record(kEgress, 31, {kIntoServices, kIntoEgress}), three_chains_deep());
  REQUIRE(facts.has_value());
  CHECK(facts->table == "filter");
  CHECK(facts->chain == "EGRESS");
  CHECK(facts->number == 2);
  CHECK(facts->text == "-A EGRESS -j DROP");
  CHECK(facts->comment == "no way out");
  CHECK(facts->path == Path{"FORWARD", "SERVICES", "EGRESS"});
}

TEST_CASE("the way to a base chain's own rule is the chain, whatever is left over of jumps") {
  const Ruleset ruleset = three_chains_deep();
  CHECK(name_rule(rule_record(kForward, 13), ruleset).value().path == Path{"FORWARD"});
  CHECK(name_rule(rule_record(kForward, 13, {kIntoServices, kIntoEgress}), ruleset).value().path ==
        Path{"FORWARD"});
}

TEST_CASE("jumps behind the dropping chain are left over and not part of the way") {
  const PathStep nonsense{77, 78};
  CHECK(name_path(rule_record(kServices, 20, {kIntoServices, kIntoEgress}), three_chains_deep()) ==
        Path{"FORWARD", "SERVICES"});
  CHECK(name_path(rule_record(kEgress, 31, {kIntoServices, kIntoEgress, nonsense}),
                  three_chains_deep()) == Path{"FORWARD", "SERVICES", "EGRESS"});
}

TEST_CASE("where the packet would have gone on tells which of a chain's jumps it took") {
  CHECK(name_path(rule_record(kPorts, 50, {kIntoServices, kIntoPorts}), three_chains_deep()) ==
        Path{"FORWARD", "SERVICES", "PORTS"});
  CHECK(name_path(rule_record(kEgress, 31, {kIntoServices, kIntoPorts}), three_chains_deep())
            .empty());
}

TEST_CASE("a goto leaves no trace, so that the way to its chain is not known") {
  const auto facts = name_rule(rule_record(kLocal, 60), three_chains_deep());
  REQUIRE(facts.has_value());
  CHECK(facts->chain == "LOCAL");
  CHECK(facts->number == 1);
  CHECK(facts->path.empty());
}

TEST_CASE("a left-over jump is not taken for the way to a chain that a goto also reaches") {
  Ruleset ruleset = three_chains_deep();
  chain_of(ruleset, 1).rules.at(0).target = "LOCAL";
  CHECK(name_path(rule_record(kLocal, 60, {kIntoServices, kIntoPorts}), ruleset).empty());
}

// As a program on the verdict notes it: each step is the rule that led on.
NetfilterRecord seen_record(std::uint64_t in_chain, std::uint64_t handle,
                            std::vector<PathStep> path) {
  NetfilterRecord record = rule_record(in_chain, handle, std::move(path));
  record.from_hook = true;
  return record;
}

TEST_CASE("a way that was seen is told with its gotos") {
  const Ruleset ruleset = three_chains_deep();
  CHECK(name_path(seen_record(kEgress, 31, {{kForward, 11}, {kServices, 21}}), ruleset) ==
        Path{"FORWARD", "SERVICES", "EGRESS"});
  CHECK(name_path(seen_record(kLocal, 60, {{kForward, 12}}), ruleset) == Path{"FORWARD", "LOCAL"});
}

TEST_CASE("a way that was seen through a verdict map is told") {
  Ruleset ruleset = three_chains_deep();
  Rule& map = chain_of(ruleset, 1).rules.at(0);
  map.target.clear();
  map.verdict_map = true;
  CHECK(name_path(seen_record(kPorts, 50, {{kForward, 11}, {kServices, 20}}), ruleset) ==
        Path{"FORWARD", "SERVICES", "PORTS"});
}

TEST_CASE("a way that was seen in part or that mixes two packets' is not told") {
  const Ruleset ruleset = three_chains_deep();
  for (const std::vector<PathStep>& path : std::vector<std::vector<PathStep>>{
           {},                                  // nothing was seen
           {{kServices, 21}},                   // how it came to SERVICES was not
           {{kForward, 21}},                    // that rule is not FORWARD's
           {{kForward, 11}},                    // how it went on from SERVICES was not seen
           {{kForward, 12}, {kServices, 21}},   // 12 does not lead to SERVICES
           {{kForward, 11}, {kServices, 20}}})  // 20 does not lead to EGRESS
    CHECK(name_path(seen_record(kEgress, 31, path), ruleset).empty());
}

TEST_CASE("a rule that queued a packet is named like one that dropped it") {
  NetfilterRecord record = seen_record(kEgress, 31, {{kForward, 11}, {kServices, 21}});
  record.kind = NetfilterRecord::Kind::kQueueVerdict;
  const auto facts = name_rule(record, three_chains_deep());
  REQUIRE(facts.has_value());
  CHECK(facts->chain == "EGRESS");
  CHECK(facts->number == 2);
  CHECK(facts->path == Path{"FORWARD", "SERVICES", "EGRESS"});

  record.from_hook = false;  // then its handles mean nothing
  CHECK_FALSE(name_rule(record, three_chains_deep()).has_value());
}

TEST_CASE("a rule whose chain is not certain is found by its handle") {
  const auto facts = name_rule(seen_record(0, 31, {}), three_chains_deep());
  REQUIRE(facts.has_value());
  CHECK(facts->chain == "EGRESS");
  CHECK(facts->path.empty());
}

TEST_CASE("a way that the rules contradict is not told") {
  const Ruleset ruleset = three_chains_deep();
  struct {
    const char* why;
    std::vector<PathStep> path;
  } const cases[] = {
      {"no jump at all", {}},
      {"it does not start in a base chain", {kIntoEgress}},
      {"it ends before the chain", {kIntoServices}},
      {"the jump goes elsewhere", {kIntoServices, {kPorts, 0}}},
      {"no rule in front of the first one can jump", {{kForward, 10}}},
      {"the next rule is gone", {{kForward, 99}, kIntoEgress}},
      {"the chain is gone", {{99, 0}, kIntoEgress}},
      {"the rule in front does not jump", {{kForward, 11}, kIntoEgress}},
  };
  for (const auto& [why, path] : cases) {
    CAPTURE(why);
    const NetfilterRecord record = rule_record(kEgress, 31, path);
    CHECK(name_path(record, ruleset).empty());
    CHECK(name_rule(record, ruleset).value().chain == "EGRESS");
  }
}

TEST_CASE("where a map chooses jumps the way is not known") {
  Ruleset ruleset = three_chains_deep();
  chain_of(ruleset, 0).rules.at(1).target.clear();
  chain_of(ruleset, 0).rules.at(1).verdict_map = true;
  CHECK(name_path(rule_record(kEgress, 31, {kIntoServices, kIntoEgress}), ruleset).empty());
}

TEST_CASE("a jump in a chain without rules is gone") {
  Ruleset ruleset = three_chains_deep();
  chain_of(ruleset, 1).rules.clear();
  CHECK(name_path(rule_record(kEgress, 31, {kIntoServices, kIntoEgress}), ruleset).empty());
}

TEST_CASE("a rule that the dump does not have is not named") {
  const Ruleset ruleset = three_chains_deep();
  CHECK_FALSE(name_rule(rule_record(kEgress, 32), ruleset).has_value());
  CHECK_FALSE(name_rule(rule_record(kEgress, 31), Ruleset()).has_value());

  NetfilterRecord other = rule_record(kEgress, 31);
  other.family = NfFamily::kIp6;
  CHECK_FALSE(name_rule(other, ruleset).has_value());
  other = rule_record(kEgress, 31);
  other.table = kFilter + 1;
  CHECK_FALSE(name_rule(other, ruleset).has_value());
}

TEST_CASE("a rule's chain is where the dump has the rule, even if the frame named none") {
  const auto facts = name_rule(rule_record(0, 31, {kIntoServices}), three_chains_deep());
  REQUIRE(facts.has_value());
  CHECK(facts->chain == "EGRESS");
  CHECK(facts->path.empty());
}

TEST_CASE("of a policy the table and the chain are known, and no rule") {
  NetfilterRecord record = rule_record(kForward, 0, {kIntoServices});
  record.kind = NetfilterRecord::Kind::kNftPolicy;
  const auto facts = name_rule(record, three_chains_deep());
  REQUIRE(facts.has_value());
  CHECK(facts->table == "filter");
  CHECK(facts->chain == "FORWARD");
  CHECK_FALSE(facts->number.has_value());
  CHECK(facts->text.empty());
  CHECK(facts->path.empty());

  record.chain = 99;
  CHECK_FALSE(name_rule(record, three_chains_deep()).has_value());
}

TEST_CASE("where no rule was found there is nothing to name") {
  using Kind = NetfilterRecord::Kind;
  for (const Kind kind : {Kind::kQueueVerdict, Kind::kQueueFailed, Kind::kNotFound}) {
    NetfilterRecord record = rule_record(kEgress, 31);
    record.kind = kind;
    CHECK_FALSE(name_rule(record, three_chains_deep()).has_value());
  }
  NetfilterRecord record = rule_record(kEgress, 31, {kIntoServices, kIntoEgress});
  record.family.reset();
  CHECK_FALSE(name_rule(record, three_chains_deep()).has_value());
  CHECK(name_path(record, three_chains_deep()).empty());
}

}  // namespace
}  // namespace droptrace
