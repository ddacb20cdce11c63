// SPDX-License-Identifier: GPL-2.0-only
#include "core/ruleset.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace droptrace {
namespace {

Rule rule(std::uint64_t handle, unsigned number) {
  Rule rule;
  rule.handle = handle;
  rule.number = number;
  return rule;
}

Rule queue_rule(std::uint16_t first, std::uint16_t last) {
  Rule queueing = rule(0, 1);
  queueing.queues.emplace(first, last);
  return queueing;
}

Chain chain(std::string name, std::uint64_t handle, std::vector<Rule> rules) {
  Chain chain;
  chain.name = std::move(name);
  chain.handle = handle;
  chain.rules = std::move(rules);
  return chain;
}

Table table(NfFamily family, std::string name, std::uint64_t handle, std::vector<Chain> chains) {
  Table table;
  table.family = family;
  table.name = std::move(name);
  table.handle = handle;
  table.chains = std::move(chains);
  return table;
}

Ruleset two_tables_of_each_kind() {
  Ruleset ruleset;
  ruleset.nft = {
      table(NfFamily::kIp, "filter", 4,
            {chain("FORWARD", 1, {rule(7, 1), rule(3, 2)}), chain("USER", 2, {rule(9, 1)})}),
      table(NfFamily::kInet, "kindnet", 5, {chain("postrouting", 1, {rule(7, 1)})}),
  };
  ruleset.legacy = {
      table(NfFamily::kIp, "filter", 0, {chain("FORWARD", 0, {rule(0, 1), rule(0, 2)})}),
      table(NfFamily::kIp6, "filter", 0, {chain("FORWARD", 0, {rule(0, 1)})}),
  };
  return ruleset;
}

TEST_CASE("families have nft's names and the kernel's numbers") {
  constexpr std::pair<unsigned, const char*> kFamilies[] = {
      {1, "inet"}, {2, "ip"}, {3, "arp"}, {5, "netdev"}, {7, "bridge"}, {10, "ip6"}};
  for (const auto& [number, name] : kFamilies) {
    CAPTURE(number);
    const std::optional<NfFamily> family = family_from_number(number);
    REQUIRE(family);
    CHECK(to_string(*family) == name);
  }
  CHECK_FALSE(family_from_number(0));
  CHECK_FALSE(family_from_number(12));
}

TEST_CASE("iptables' built-in chains are known with their hooks and priorities") {
  CHECK(builtin_hook_point("filter", "FORWARD") == HookPoint{Hook::kForward, 0});
  CHECK(builtin_hook_point("nat", "PREROUTING") == HookPoint{Hook::kPrerouting, -100});
  CHECK(builtin_hook_point("nat", "POSTROUTING") == HookPoint{Hook::kPostrouting, 100});
  CHECK(builtin_hook_point("nat", "INPUT") == HookPoint{Hook::kInput, 100});
  CHECK(builtin_hook_point("mangle", "OUTPUT") == HookPoint{Hook::kOutput, -150});
  CHECK(builtin_hook_point("raw", "PREROUTING") == HookPoint{Hook::kPrerouting, -300});
  CHECK(builtin_hook_point("security", "INPUT") == HookPoint{Hook::kInput, 50});
  CHECK_FALSE(builtin_hook_point("filter", "PREROUTING"));
  CHECK_FALSE(builtin_hook_point("filter", "forward"));
  CHECK_FALSE(builtin_hook_point("kube-proxy", "FORWARD"));
}

TEST_CASE("a rule is found by its handle in its own table") {
  const Ruleset ruleset = two_tables_of_each_kind();
  const std::optional<RuleRef> found = ruleset.nft_rule(4, NfFamily::kIp, 3);
  REQUIRE(found);
  CHECK(found->table == &ruleset.nft[0]);
  CHECK(found->chain == &ruleset.nft[0].chains[0]);
  CHECK(found->rule == &ruleset.nft[0].chains[0].rules[1]);

  const std::optional<RuleRef> other = ruleset.nft_rule(5, NfFamily::kInet, 7);
  REQUIRE(other);
  CHECK(other->table->name == "kindnet");
}

TEST_CASE("a handle that is not there finds nothing") {
  const Ruleset ruleset = two_tables_of_each_kind();
  CHECK_FALSE(ruleset.nft_rule(4, NfFamily::kIp, 8));
  CHECK_FALSE(ruleset.nft_rule(4, NfFamily::kIp6, 3));
  CHECK_FALSE(ruleset.nft_rule(6, NfFamily::kIp, 3));
  CHECK(ruleset.nft_chain(4, NfFamily::kIp, 3) == nullptr);
  CHECK(ruleset.nft_chain(5, NfFamily::kIp, 1) == nullptr);
}

TEST_CASE("a chain is found by its handle") {
  const Ruleset ruleset = two_tables_of_each_kind();
  CHECK(ruleset.nft_chain(4, NfFamily::kIp, 2) == &ruleset.nft[0].chains[1]);
  CHECK(ruleset.nft_chain(5, NfFamily::kInet, 1) == &ruleset.nft[1].chains[0]);
}

TEST_CASE("a legacy rule is found by its place") {
  const Ruleset ruleset = two_tables_of_each_kind();
  const std::optional<RuleRef> found = ruleset.legacy_rule(NfFamily::kIp, "filter", "FORWARD", 2);
  REQUIRE(found);
  CHECK(found->rule == &ruleset.legacy[0].chains[0].rules[1]);

  CHECK_FALSE(ruleset.legacy_rule(NfFamily::kIp6, "filter", "FORWARD", 2));
  CHECK_FALSE(ruleset.legacy_rule(NfFamily::kIp, "filter", "FORWARD", 3));
  CHECK_FALSE(ruleset.legacy_rule(NfFamily::kIp, "filter", "FORWARD", 0));
  CHECK_FALSE(ruleset.legacy_rule(NfFamily::kIp, "filter", "INPUT", 1));
  CHECK_FALSE(ruleset.legacy_rule(NfFamily::kIp, "nat", "FORWARD", 1));
}

TEST_CASE("the rules of a queue are found in both backends, by number or range") {
  Ruleset ruleset;
  ruleset.nft = {table(NfFamily::kInet, "kindnet", 1,
                       {chain("postrouting", 1, {rule(1, 1), queue_rule(101, 101)})})};
  ruleset.legacy = {
      table(NfFamily::kIp, "mangle", 0, {chain("FORWARD", 0, {queue_rule(100, 103)})})};

  const std::vector<RuleRef> found = ruleset.rules_of_queue(101);
  REQUIRE(found.size() == 2);
  CHECK(found[0].rule == &ruleset.nft[0].chains[0].rules[1]);
  CHECK(found[1].table == &ruleset.legacy[0]);
  CHECK(ruleset.rules_of_queue(100).size() == 1);
  CHECK(ruleset.rules_of_queue(103).size() == 1);
  CHECK(ruleset.rules_of_queue(99).empty());
  CHECK(ruleset.rules_of_queue(104).empty());
}

}  // namespace
}  // namespace droptrace
