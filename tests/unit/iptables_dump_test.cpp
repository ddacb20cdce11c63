// SPDX-License-Identifier: GPL-2.0-only
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "core/ruleset.h"
#include "tests/support/rule_dumps.h"

namespace droptrace {
namespace {

using Queues = std::pair<std::uint16_t, std::uint16_t>;

std::vector<Table> saved(const std::string& name, NfFamily family = NfFamily::kIp) {
  return parse_iptables_save(rule_dump(name), family);
}

// A filter table with a chain USER and these rules.
Table filter_with(const std::string& rules) {
  const auto tables = parse_iptables_save(
      "*filter\n:FORWARD ACCEPT [0:0]\n:USER - [0:0]\n" + rules + "COMMIT\n", NfFamily::kIp);
  REQUIRE(tables.size() == 1);
  return tables[0];
}

std::vector<std::vector<std::uint64_t>> handles_of(const Table& table) {
  std::vector<std::vector<std::uint64_t>> handles;
  for (const Chain& chain : table.chains) {
    auto& of_chain = handles.emplace_back();
    for (const Rule& rule : chain.rules) of_chain.push_back(rule.handle);
  }
  return handles;
}

TEST_CASE("built-in chains have hooks and policies, a user's chains have none") {
  const std::vector<Table> tables = saved("odd.save");
  REQUIRE(tables.size() == 1);
  CHECK(tables[0].family == NfFamily::kIp);
  CHECK(tables[0].name == "filter");
  CHECK_FALSE(tables[0].xtables);

  const Chain& forward = chain_of(tables[0], "FORWARD");
  CHECK(forward.hook == Hook::kForward);
  CHECK(forward.priority == 0);
  CHECK(forward.policy_drop);
  CHECK_FALSE(chain_of(tables[0], "INPUT").policy_drop);
  CHECK_FALSE(chain_of(tables[0], "USER").hook);
  CHECK(chain_of(tables[0], "EMPTY").rules.empty());
}

TEST_CASE("the tables of kube-proxy are read in both families") {
  const std::vector<Table> tables = saved("kube.save");
  CHECK(tables.size() == 3);
  const Table& nat = table_of(tables, NfFamily::kIp, "nat");
  CHECK(chain_of(nat, "PREROUTING").priority == -100);
  CHECK(chain_of(nat, "POSTROUTING").priority == 100);
  const Rule& portals = chain_of(nat, "PREROUTING").rules.at(0);
  CHECK(portals.comment == "kubernetes service portals");
  CHECK(portals.target == "KUBE-SERVICES");

  const Table& filter = table_of(tables, NfFamily::kIp, "filter");
  const Rule& reject = chain_of(filter, "KUBE-SERVICES").rules.at(0);
  CHECK(reject.comment == "data-platform/iceberg:http has no endpoints");
  CHECK(reject.target.empty());
  CHECK(reject.text ==
        "-A KUBE-SERVICES -d 10.96.12.7/32 -p tcp -m comment --comment "
        "\"data-platform/iceberg:http has no endpoints\" -m tcp --dport 8181 -j REJECT "
        "--reject-with icmp-port-unreachable");

  const std::vector<Table> tables6 = saved("kube6.save", NfFamily::kIp6);
  CHECK(chain_of(table_of(tables6, NfFamily::kIp6, "filter"), "KUBE-SERVICES").rules.size() == 1);
}

TEST_CASE("a comment is read with or without quotes, and without its escapes") {
  const std::vector<Table> tables = saved("odd.save");
  const Chain& forward = chain_of(tables.at(0), "FORWARD");
  CHECK(forward.rules.at(0).comment == R"(say "hi" {# handle 99} \ it's)");
  CHECK(forward.rules.at(0).target == "USER");
  CHECK(forward.rules.at(1).comment == "-j");
  CHECK(forward.rules.at(1).target == "EMPTY");
  CHECK(chain_of(tables[0], "USER").rules.at(0).comment == "dns");
  CHECK(chain_of(tables[0], "USER").rules.at(1).comment.empty());
}

TEST_CASE("only a chain is a target, by -j or by -g") {
  const std::vector<Table> tables = saved("odd.save");
  const Chain& forward = chain_of(tables.at(0), "FORWARD");
  CHECK(forward.rules.at(2).target.empty());    // no -j at all
  CHECK(forward.rules.at(3).target == "WALK");  // -g
  for (const Rule& rule : chain_of(tables[0], "USER").rules) {
    CAPTURE(rule.text);
    CHECK(rule.target.empty());
  }
}

TEST_CASE("rules are numbered in their chain, and their text is the line") {
  const std::vector<Table> tables = saved("odd.save");
  const Chain& user = chain_of(tables.at(0), "USER");
  REQUIRE(user.rules.size() == 6);
  for (std::size_t i = 0; i < user.rules.size(); ++i) CHECK(user.rules[i].number == i + 1);
  CHECK(user.rules[4].text == R"(-A USER -i eth+ -j LOG --log-prefix "a b \"\\ -j DROP ")");
}

TEST_CASE("NFQUEUE rules name a queue or a range, and whether they can be bypassed") {
  const std::vector<Table> tables = saved("odd.save");
  const Chain& user = chain_of(tables.at(0), "USER");
  CHECK(user.rules.at(2).queues == Queues(100, 100));
  CHECK(user.rules.at(2).queue_bypass);
  CHECK(user.rules.at(3).queues == Queues(200, 203));
  CHECK_FALSE(user.rules.at(3).queue_bypass);
  CHECK_FALSE(user.rules.at(0).queues);

  for (const std::string number : {"", "x", "1x", "65536", "-1", "1:", ":1", "1:x"}) {
    const Table table = filter_with("-A USER -j NFQUEUE --queue-num " + number + "\n");
    CAPTURE(number);
    CHECK_FALSE(chain_of(table, "USER").rules.at(0).queues);
  }
}

TEST_CASE("counters change nothing") { CHECK(saved("legacy.save") == saved("odd.save")); }

TEST_CASE("a comment with a line break is one rule") {
  const Table table =
      filter_with("-A USER -m comment --comment \"a\n-A USER -j ACCEPT\" -j DROP\n-A USER\n");
  const Chain& user = chain_of(table, "USER");
  REQUIRE(user.rules.size() == 2);
  CHECK(user.rules[0].comment == "a\n-A USER -j ACCEPT");
  CHECK(user.rules[0].text == "-A USER -m comment --comment \"a\n-A USER -j ACCEPT\" -j DROP");
  CHECK(user.rules[1].text == "-A USER");
}

TEST_CASE("a quote that is never closed takes no other line with it") {
  const Table table = filter_with("-A USER --name \"x\n-A USER -j DROP\n");
  CHECK(chain_of(table, "USER").rules.size() == 2);
}

TEST_CASE("what is no table, chain or rule is passed over") {
  CHECK(parse_iptables_save("", NfFamily::kIp).empty());
  CHECK(parse_iptables_save(":FORWARD ACCEPT [0:0]\n-A FORWARD\n[0:0] -A X\n", NfFamily::kIp)
            .empty());
  const Table table = filter_with(
      "# Table `nat' is incompatible, use 'nft' tool.\n"
      "\n"
      "-A MISSING -j DROP\n"
      "-I USER -j DROP\n"
      "[0:0]\n"
      "-A\n"
      ":USER - [0:0]\n"
      "iptables: \"No chain\n"
      "-A USER -j RETURN\n");
  CHECK(table.chains.size() == 2);
  CHECK(chain_of(table, "USER").rules.size() == 1);
}

TEST_CASE("a dump that is cut off anywhere is read as far as it goes") {
  const std::string text = rule_dump("legacy.save");
  const std::vector<Table> whole = parse_iptables_save(text, NfFamily::kIp);
  for (std::size_t size = 0; size < text.size(); ++size) {
    CAPTURE(size);
    const auto tables = parse_iptables_save(text.substr(0, size), NfFamily::kIp);
    REQUIRE(tables.size() <= 1);
    if (!tables.empty()) REQUIRE(tables[0].chains.size() <= whole[0].chains.size());
  }
}

TEST_CASE("iptables-nft's rules get the text, comments and queues of iptables-save") {
  Ruleset ruleset;
  ruleset.nft = nft_dump("odd");
  const std::vector<Table> before = ruleset.nft;
  CHECK(ruleset.rules_of_queue(100).empty());
  use_iptables_text(ruleset.nft, saved("odd.save"));

  const Table& filter = ruleset.nft.at(0);
  const Rule& dns = chain_of(filter, "USER").rules.at(0);
  CHECK(dns.text == "-A USER -p udp -m udp --dport 53 -m comment --comment dns -j DROP");
  CHECK(dns.comment == "dns");
  CHECK(ruleset.rules_of_queue(100).size() == 1);
  CHECK(ruleset.rules_of_queue(201).size() == 1);

  CHECK(handles_of(filter) == handles_of(before.at(0)));
  CHECK(chain_of(filter, "FORWARD").policy_drop);
  CHECK(ruleset.nft_rule(filter.handle, NfFamily::kIp, dns.handle)->rule == &dns);
}

TEST_CASE("every rule of kube-proxy and kindnet gets its text, in both families") {
  std::vector<Table> tables = nft_dump("kube");
  use_iptables_text(tables, saved("kube.save"));
  use_iptables_text(tables, saved("kube6.save", NfFamily::kIp6));
  for (const Table& table : tables) {
    for (const Chain& chain : table.chains) {
      for (const Rule& rule : chain.rules) {
        CAPTURE(rule.text);
        CHECK(rule.text.starts_with("-A " + chain.name));
        CHECK(rule.handle != 0);
      }
    }
  }
  const Table& filter6 = table_of(tables, NfFamily::kIp6, "filter");
  CHECK(chain_of(filter6, "KUBE-SERVICES").rules.at(0).comment ==
        "data-platform/iceberg:http has no endpoints");
}

TEST_CASE("a chain whose rules changed between the dumps is left alone, others are not") {
  const std::string text = rule_dump("odd.save");
  const std::string ends = "-A USER -j RETURN\n";
  const std::size_t end = text.find(ends);
  REQUIRE(end != std::string::npos);
  const std::vector<Table> original = nft_dump("odd");

  SUBCASE("one rule more") {
    const auto longer = parse_iptables_save(std::string(text).insert(end, ends), NfFamily::kIp);
    std::vector<Table> tables = original;
    use_iptables_text(tables, longer);
    CHECK(chain_of(tables.at(0), "USER") == chain_of(original.at(0), "USER"));
    CHECK(chain_of(tables.at(0), "WALK").rules.at(1).text == "-A WALK -j ACCEPT");
  }
  SUBCASE("a rule that jumps elsewhere") {
    const std::string jump = "-A USER -j WALK\n";
    const auto changed =
        parse_iptables_save(std::string(text).replace(end, ends.size(), jump), NfFamily::kIp);
    std::vector<Table> tables = original;
    use_iptables_text(tables, changed);
    CHECK(chain_of(tables.at(0), "USER") == chain_of(original.at(0), "USER"));
    CHECK(chain_of(tables.at(0), "WALK").rules.at(1).text == "-A WALK -j ACCEPT");
  }
}

TEST_CASE("tables that are not iptables-nft's, and other families, are left alone") {
  std::vector<Table> native = nft_dump("native");
  const std::vector<Table> native_before = native;
  use_iptables_text(native, parse_iptables_save("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\n",
                                                NfFamily::kIp));
  CHECK(native == native_before);

  std::vector<Table> odd = nft_dump("odd");
  const std::vector<Table> odd_before = odd;
  use_iptables_text(odd, saved("odd.save", NfFamily::kIp6));
  CHECK(odd == odd_before);
}

TEST_CASE("the rules of 10,000 services are read") {
  constexpr std::size_t kServices = 10'000;
  std::string text = "*nat\n:KUBE-SERVICES - [0:0]\n";
  for (std::size_t i = 0; i < kServices; ++i) {
    text += ":KUBE-SVC-" + std::to_string(i) + " - [0:0]\n";
  }
  for (std::size_t i = 0; i < kServices; ++i) {
    const std::string chain = "KUBE-SVC-" + std::to_string(i);
    text += "-A KUBE-SERVICES -m comment --comment \"a service\" -j " + chain + "\n";
    for (int rule = 0; rule < 5; ++rule) {
      text += "-A " + chain + " -p tcp -m comment --comment \"an endpoint\" -j RETURN\n";
    }
  }
  const auto tables = parse_iptables_save(text, NfFamily::kIp);
  REQUIRE(tables.size() == 1);
  CHECK(tables[0].chains.size() == kServices + 1);
  CHECK(tables[0].chains[0].rules.size() == kServices);
  CHECK(tables[0].chains[kServices].rules.size() == 5);
}

}  // namespace
}  // namespace droptrace
