// SPDX-License-Identifier: GPL-2.0-only
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "core/attribution.h"

namespace droptrace {
namespace {

using Path = std::vector<std::string>;

XtRule entry(std::uint32_t offset, std::string chain, unsigned number) {
  XtRule rule;
  rule.offset = offset;
  rule.chain = std::move(chain);
  rule.number = number;
  return rule;
}

XtRule jump(XtRule rule, std::uint32_t to) {
  rule.jump = to;
  return rule;
}

XtRule drop(XtRule rule) {
  rule.drops = true;
  rule.comment = "of " + rule.chain;
  return rule;
}

// FORWARD and OUTPUT jump to SERVICES, and SERVICES to INNER.
std::vector<XtRule> table() {
  std::vector<XtRule> rules = {
      jump(entry(0, "FORWARD", 1), 500),    drop(entry(100, "FORWARD", 2)),
      jump(entry(200, "OUTPUT", 1), 500),   entry(300, "OUTPUT", 2),
      jump(entry(500, "SERVICES", 1), 800), drop(entry(600, "SERVICES", 2)),
      drop(entry(800, "INNER", 1)),         entry(900, "INNER", 2)};
  rules[1].policy = true;
  rules[3].policy = true;
  return rules;
}

NetfilterRecord dropped_by(std::uint64_t offset, const std::vector<std::uint64_t>& jumps) {
  NetfilterRecord record;
  record.kind = NetfilterRecord::Kind::kXtRule;
  record.family = NfFamily::kIp;
  record.hook = Hook::kForward;
  record.rule = offset;
  for (const std::uint64_t each : jumps) record.path.push_back({0, each});
  return record;
}

RuleFacts named(const NetfilterRecord& record, const std::vector<XtRule>& rules = table()) {
  return name_xt_rule(record, "filter", rules).value();
}

}  // namespace

TEST_CASE("a counted rule is named by its offset, with the jumps that led to it") {
  const RuleFacts facts = named(dropped_by(800, {0, 500}));
  CHECK(facts.table == "filter");
  CHECK(facts.chain == "INNER");
  CHECK(facts.number == 1);
  CHECK(facts.comment == "of INNER");
  CHECK(facts.path == Path{"FORWARD", "SERVICES", "INNER"});
  CHECK_FALSE(facts.policy);
}

TEST_CASE("jumps left over on the stack are cut off") {
  CHECK(named(dropped_by(600, {0, 500, 0})).path == Path{"FORWARD", "SERVICES"});
}

TEST_CASE("a counted policy has no number, and its path is its chain") {
  const RuleFacts facts = named(dropped_by(100, {0, 500}));
  CHECK(facts.policy);
  CHECK_FALSE(facts.number.has_value());
  CHECK(facts.path == Path{"FORWARD"});
}

TEST_CASE("an offset without a rule is not named") {
  CHECK_FALSE(name_xt_rule(dropped_by(50, {}), "filter", table()).has_value());
  CHECK_FALSE(name_xt_rule(dropped_by(1000, {}), "filter", table()).has_value());
}

TEST_CASE("a path that starts at another hook is that of an answer, and not told") {
  CHECK(named(dropped_by(600, {200})).path.empty());
}

TEST_CASE("a path with a step missing is not told") {
  CHECK(named(dropped_by(800, {0})).path.empty());
  CHECK(named(dropped_by(800, {0, 900})).path.empty());
}

TEST_CASE("where rules go to chains, the jump stack proves nothing") {
  std::vector<XtRule> rules = table();
  rules[4].returns = false;
  CHECK(named(dropped_by(800, {0, 500}), rules).path.empty());
}

TEST_CASE("a rejection in the output hook has no path: its answer has used the stack") {
  std::vector<XtRule> rules = table();
  rules[5].rejects = true;
  NetfilterRecord record = dropped_by(600, {200});
  record.hook = Hook::kOutput;
  CHECK(named(record, rules).path.empty());
  rules[5].rejects = false;
  CHECK(named(record, rules).path == Path{"OUTPUT", "SERVICES"});
}

}  // namespace droptrace
