// SPDX-License-Identifier: GPL-2.0-only
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "core/ruleset.h"
#include "tests/support/rule_dumps.h"

namespace droptrace {
namespace {

using Queues = std::pair<std::uint16_t, std::uint16_t>;

Ruleset ruleset_of(const std::string& name) {
  Ruleset ruleset;
  ruleset.nft = nft_dump(name);
  return ruleset;
}

const Rule& rule_of(const Ruleset& ruleset, const Table& table, std::uint64_t handle) {
  const std::optional<RuleRef> found = ruleset.nft_rule(table.handle, table.family, handle);
  REQUIRE_MESSAGE(found, "no rule " << handle << " in " << table.name);
  return *found->rule;
}

std::string dump_of(const std::string& items) { return R"({"nftables": [)" + items + "]}"; }

// A dump of one rule; nullopt if it does not come out as one.
Rule rule_with(const std::string& statement) {
  const auto tables = parse_nft(dump_of(R"({"table": {"family": "inet", "name": "t", "handle": 1}},
                           {"chain": {"family": "inet", "table": "t", "name": "c", "handle": 1}},
                           {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 2,
                                     "expr": [)" +
                                        statement + "]}}"),
                                "");
  REQUIRE(tables);
  REQUIRE(tables->at(0).chains.at(0).rules.size() == 1);
  return tables->at(0).chains.at(0).rules.at(0);
}

TEST_CASE("a rule of kube-proxy's nftables mode is found with its text and comment") {
  const Ruleset ruleset = ruleset_of("kube-proxy");
  const Table& table = table_of(ruleset.nft, NfFamily::kIp, "kube-proxy");
  CHECK_FALSE(table.xtables);
  const Rule& drop = rule_of(ruleset, table, 56);
  CHECK(drop.text ==
        "ip daddr 10.96.0.0/16 drop comment \"Drop traffic to unallocated ClusterIPs\"");
  CHECK(drop.comment == "Drop traffic to unallocated ClusterIPs");
  CHECK(drop.number == 2);
  CHECK(drop.target.empty());
}

TEST_CASE("a base chain has a hook, a priority and a policy, another chain has not") {
  const Ruleset ruleset = ruleset_of("kube-proxy");
  const Table& table = table_of(ruleset.nft, NfFamily::kIp, "kube-proxy");
  const Chain& before_dnat = chain_of(table, "filter-prerouting-pre-dnat");
  CHECK(before_dnat.hook == Hook::kPrerouting);
  CHECK(before_dnat.priority == -110);
  CHECK_FALSE(before_dnat.policy_drop);
  CHECK(chain_of(table, "nat-postrouting").hook == Hook::kPostrouting);
  CHECK_FALSE(chain_of(table, "services").hook);
  CHECK(ruleset.nft_chain(table.handle, NfFamily::kIp, 10) == &chain_of(table, "services"));

  const std::vector<Table> native = nft_dump("native");
  CHECK(chain_of(table_of(native, NfFamily::kInet, "odd"), "filter").policy_drop);
  CHECK(chain_of(table_of(native, NfFamily::kInet, "odd"), "wire").hook == Hook::kIngress);
  CHECK(chain_of(table_of(native, NfFamily::kNetdev, "wire"), "in").policy_drop);
}

TEST_CASE("the target is the only chain that a rule can lead to") {
  const Ruleset ruleset = ruleset_of("native");
  const Table& table = table_of(ruleset.nft, NfFamily::kInet, "odd");
  CHECK(rule_of(ruleset, table, 22).target == "checks");  // jump
  CHECK(rule_of(ruleset, table, 24).target == "checks");  // goto
  CHECK(rule_of(ruleset, table, 18).target == "checks");  // a verdict map with one chain
  CHECK(rule_of(ruleset, table, 20).target.empty());      // a verdict map with two
  CHECK(rule_of(ruleset, table, 21).target.empty());      // a named verdict map
  CHECK(rule_of(ruleset, table, 25).target.empty());      // accept
}

TEST_CASE("text that looks like a handle or a block confuses nothing") {
  const Ruleset ruleset = ruleset_of("native");
  const Table& table = table_of(ruleset.nft, NfFamily::kInet, "odd");
  CHECK(rule_of(ruleset, table, 10).text == R"(udp dport 1 drop comment "x # handle 77 { y")");
  CHECK(rule_of(ruleset, table, 10).comment == "x # handle 77 { y");
  CHECK(rule_of(ruleset, table, 11).text ==
        R"(udp dport 2 drop comment "back\slash } 'quoted' table ip x {")");
  CHECK(rule_of(ruleset, table, 14).text ==
        R"(iifname "eth*" log prefix "a # handle 5 " reject with icmpx admin-prohibited)");
  CHECK(rule_of(ruleset, table, 20).text == "tcp dport vmap { 3 : jump checks, 4 : goto others }");
  CHECK(rule_of(ruleset, table, 21).text == "tcp dport vmap @ports");
  CHECK(rule_of(ruleset, table, 22).text ==
        "ip saddr @blocked counter packets 5 bytes 6 jump checks");
  CHECK(rule_of(ruleset, table, 23).text == "tcp dport 22 update @seen { ip saddr }");
}

TEST_CASE("a rule whose comment has a line break has no text, but its comment") {
  const Ruleset ruleset = ruleset_of("native");
  const Rule& rule = rule_of(ruleset, table_of(ruleset.nft, NfFamily::kInet, "odd"), 15);
  CHECK(rule.text.empty());
  CHECK(rule.comment == "two\nlines # handle 23");
}

TEST_CASE("equal handles in different tables are different rules") {
  const Ruleset ruleset = ruleset_of("native");
  const Table& wire = table_of(ruleset.nft, NfFamily::kNetdev, "wire");
  const Table& bridge = table_of(ruleset.nft, NfFamily::kBridge, "filter");
  CHECK(rule_of(ruleset, wire, 2).text == "ether type ip accept");
  CHECK(rule_of(ruleset, bridge, 2).text == "ether type arp accept");
}

TEST_CASE("kindnet's rules hand packets to its queue") {
  const Ruleset ruleset = ruleset_of("kindnet");
  const std::vector<RuleRef> found = ruleset.rules_of_queue(101);
  REQUIRE(found.size() == 8);
  CHECK(found[4].chain->name == "postrouting");
  CHECK(found[4].chain->priority == 95);
  CHECK(found[4].rule->queue_bypass);
  CHECK(found[4].rule->text ==
        "ip saddr @podips-v4 queue flags bypass to 101 comment \"process IPv4 traffic with network "
        "policy enforcement\"");
}

TEST_CASE("a queue statement names one queue, a range, or none that is known") {
  CHECK(rule_with(R"({"queue": {"num": 2}})").queues == Queues(2, 2));
  CHECK(rule_with(R"({"queue": {"num": {"range": [2, 3]}}})").queues == Queues(2, 3));
  CHECK(rule_with(R"({"queue": null})").queues == Queues(0, 0));
  CHECK_FALSE(rule_with(R"({"queue": {"num": {"symhash": {"mod": 4}}}})").queues);
  CHECK_FALSE(rule_with(R"({"queue": {"num": {"range": [2]}}})").queues);
  CHECK_FALSE(rule_with(R"({"queue": {"num": 65536}})").queues);
  CHECK_FALSE(rule_with(R"({"queue": {"num": -1}})").queues);
  CHECK_FALSE(rule_with(R"({"drop": null})").queues);
}

TEST_CASE("a queue is bypassed if the flag says so, alone or among others") {
  CHECK(rule_with(R"({"queue": {"num": 2, "flags": "bypass"}})").queue_bypass);
  CHECK(rule_with(R"({"queue": {"num": 2, "flags": ["fanout", "bypass"]}})").queue_bypass);
  CHECK_FALSE(rule_with(R"({"queue": {"num": 2, "flags": "fanout"}})").queue_bypass);
  CHECK_FALSE(rule_with(R"({"queue": {"num": 2}})").queue_bypass);
}

TEST_CASE("tables of iptables-nft are told from tables that only have their names") {
  for (const std::string dump : {"kube", "odd"}) {
    for (const Table& table : nft_dump(dump)) {
      CAPTURE(table.name);
      CHECK(table.xtables);
    }
  }
  for (const std::string dump : {"kube-proxy", "kindnet", "native"}) {
    for (const Table& table : nft_dump(dump)) {
      CAPTURE(table.name);
      CHECK_FALSE(table.xtables);
    }
  }
}

TEST_CASE("a rule that nft adds to a table of iptables-nft does not make the table nft's") {
  const auto tables =
      parse_nft(dump_of(R"({"table": {"family": "ip", "name": "filter", "handle": 1}},
                 {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "handle": 1,
                            "type": "filter", "hook": "input", "prio": 0, "policy": "accept"}},
                 {"rule": {"family": "ip", "table": "filter", "chain": "INPUT", "handle": 2,
                           "expr": [{"xt": null}, {"counter": null}, {"drop": null}]}},
                 {"rule": {"family": "ip", "table": "filter", "chain": "INPUT", "handle": 3,
                           "expr": [{"drop": null}]}})"),
                "");
  REQUIRE(tables);
  CHECK(tables->at(0).xtables);
}

TEST_CASE("rules have no text if there is none for their handles") {
  const auto tables = parse_nft(rule_dump("kindnet.json"), "");
  REQUIRE(tables);
  CHECK(tables->at(0).chains.at(0).rules.at(0).handle == 5);
  CHECK(tables->at(0).chains.at(0).rules.at(0).text.empty());

  const auto mixed = parse_nft(rule_dump("kindnet.json"), rule_dump("native.txt"));
  REQUIRE(mixed);
  CHECK(mixed->at(0).chains.at(0).rules.at(0).text.empty());
}

TEST_CASE("the text of a table with an owner is read") {
  const auto tables = parse_nft(
      dump_of(R"({"table": {"family": "inet", "name": "t", "handle": 8, "flags": "owner"}},
                 {"chain": {"family": "inet", "table": "t", "name": "c", "handle": 1}},
                 {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 2,
                           "expr": [{"drop": null}]}})"),
      "table inet t { # handle 8 progname nft\n\tflags owner\n\n"
      "\tchain c { # handle 1\n\t\tdrop # handle 2\n\t}\n}\n");
  REQUIRE(tables);
  CHECK(tables->at(0).chains.at(0).rules.at(0).text == "drop");
}

TEST_CASE("an empty ruleset is a dump, other text is none") {
  CHECK(parse_nft(dump_of(R"({"metainfo": {"version": "1.0.6"}})"), "") == std::vector<Table>{});
  CHECK(parse_nft(dump_of(""), "") == std::vector<Table>{});
  for (const std::string_view text :
       {"", "[]", "{}", "null", "3", R"({"nftables": 3})", R"({"nftables": {"table": {}}})",
        R"({"tables": [{"table": {}}]})", R"([{"nftables": []}])", R"({"nftables": [})",
        "Error: Could not process rule: Operation not permitted"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_nft(text, ""));
  }
}

TEST_CASE("items that make no sense are passed over") {
  const auto tables =
      parse_nft(dump_of(R"(1, "x", [], {}, {"table": 3}, {"chain": []}, {"rule": "r"},
                 {"table": {"family": "decnet", "name": "t", "handle": 1}},
                 {"table": {"family": "ip", "name": "t", "handle": "one"}},
                 {"chain": {"family": "ip", "table": "u", "name": "c"}},
                 {"chain": {"family": "ip", "table": "t", "name": "c", "hook": "nowhere"}},
                 {"rule": {"family": "ip", "table": "t", "chain": "d", "expr": []}},
                 {"rule": {"family": "ip", "table": "t", "chain": "c", "expr": {"jump": 1}}},
                 {"rule": {"family": "ip", "table": "t", "chain": "c", "comment": 4, "expr":
                   [7, {"jump": {"target": 5}}, {"vmap": {"data": {"set": [[1], 2, [3, 4]]}}}]}})"),
                "");
  REQUIRE(tables);
  REQUIRE(tables->size() == 1);
  CHECK(tables->at(0).handle == 0);
  REQUIRE(tables->at(0).chains.size() == 1);
  CHECK_FALSE(tables->at(0).chains[0].hook);
  CHECK(tables->at(0).chains[0].rules.size() == 2);
}

TEST_CASE("a dump that is cut off anywhere is no dump, its text is read as far as it goes") {
  const std::string json = rule_dump("odd.json");
  const std::size_t end = json.rfind('}');
  for (std::size_t size = 0; size <= end; ++size) {
    CAPTURE(size);
    REQUIRE_FALSE(parse_nft(json.substr(0, size), ""));
  }
  const std::string text = rule_dump("native.txt");
  for (std::size_t size = 0; size < text.size(); ++size) {
    CAPTURE(size);
    REQUIRE(parse_nft(dump_of(""), text.substr(0, size)));
  }
}

}  // namespace
}  // namespace droptrace
