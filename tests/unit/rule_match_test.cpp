// SPDX-License-Identifier: GPL-2.0-only
// Rules' matches on packets: as nft prints them in all the forms that it has for them.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include <doctest/doctest.h>

#include "core/evaluation.h"
#include "tests/support/packet_facts.h"

namespace droptrace {
namespace {

// The rules of forms.nft by their texts, as nft prints them.
const std::map<std::string, Rule>& forms() {
  static const std::map<std::string, Rule> rules = [] {
    std::map<std::string, Rule> result;
    for (const Table& table : nft_dump("forms")) {
      for (const Rule& rule : chain_of(table, "c").rules) result.emplace(rule.text, rule);
    }
    return result;
  }();
  return rules;
}

Truth matches(const std::string& text, const PacketFacts& packet) {
  const auto rule = forms().find(text);
  REQUIRE_MESSAGE(rule != forms().end(), "no rule ", text);
  return evaluate(rule->second.logic->matches, packet);
}

TEST_CASE("every form of a match that nft prints is evaluated") {
  PacketFacts packet = facts_of_packet("10.0.0.1", "1.2.3.4", IPPROTO_TCP, 80);
  packet.mark = 0x10;
  for (const auto& [text, truth] : std::map<std::string, Truth>{
           {"tcp flags syn / fin,syn,rst,ack drop", Truth::kYes},
           {"tcp flags syn / fin,syn drop", Truth::kYes},
           {"tcp flags syn,ack drop", Truth::kYes},
           {"tcp flags == syn drop", Truth::kYes},
           {"tcp flags != syn drop", Truth::kNo},
           {"ct state { established, new } drop", Truth::kYes},
           {"ct state != established | related drop", Truth::kYes},
           {"ct state new,untracked drop", Truth::kYes},
           {"ct status dnat accept", Truth::kNo},
           {"ct status ! snat,dnat drop", Truth::kYes},
           {"meta mark & 0x000000ff != 0x00000010 drop", Truth::kNo},
           {"meta mark { 0x00000010, 0x00000020-0x00000030 } drop", Truth::kYes},
           {"iifname { \"eth*\", \"lo\" } drop", Truth::kYes},
           {"iif \"lo\" drop", Truth::kNo},
           {"iifname . tcp dport { \"lo\" . 80 } drop", Truth::kNo},
           {"fib daddr type local drop", Truth::kNo},
           {"fib daddr type { local, broadcast } drop", Truth::kUnknown},
           {"tcp dport 80-90 drop", Truth::kYes},
           {"tcp dport >= 1024 drop", Truth::kNo},
           {"tcp dport != { 22, 80-90 } drop", Truth::kNo},
           {"ip protocol { tcp, udp } drop", Truth::kYes},
           {"ip saddr 10.0.0.1-10.0.0.9 drop", Truth::kYes},
           {"ip6 saddr fd00::/64 drop", Truth::kNo},
           {"meta nfproto ipv4 drop", Truth::kYes},
           {"meta l4proto { icmp, ipv6-icmp } drop", Truth::kNo},
           {"icmp type echo-request drop", Truth::kNo},
           {"ct direction reply drop", Truth::kNo},
           {"ct mark 0x00000001 drop", Truth::kUnknown},
           {"meta skuid 1000 drop", Truth::kNo},
           {"th dport 53 drop", Truth::kNo},
           {"limit rate 5/second drop", Truth::kUnknown},
           {"ct count over 5 drop", Truth::kUnknown},
           {"ip saddr . tcp dport @s drop", Truth::kYes},
           {"ip saddr @timed drop", Truth::kUnknown},
           {"ip saddr @dyn drop", Truth::kUnknown},
           {"ip daddr . tcp dport @ty drop", Truth::kYes},
           {"ip daddr @cnt drop", Truth::kYes}}) {
    CAPTURE(text);
    CHECK(matches(text, packet) == truth);
  }
}

TEST_CASE("what is not known of a packet makes a match unknown, unless the rest rules it out") {
  PacketFacts packet = facts_of_packet("10.0.0.1", "1.2.3.4", IPPROTO_TCP, 80);
  packet.src.reset();
  CHECK(matches("ip saddr 10.0.0.1-10.0.0.9 drop", packet) == Truth::kUnknown);
  CHECK(matches("ip saddr . tcp dport @s drop", packet) == Truth::kUnknown);
  packet.dport = 100;
  CHECK(matches("ip saddr . tcp dport @s drop", packet) == Truth::kNo);
  packet.later_fragment = true;
  CHECK(matches("tcp dport != { 22, 80-90 } drop", packet) == Truth::kNo);
}

TEST_CASE("IPv6 packets do not match what is about IPv4, negated or not") {
  PacketFacts packet = facts_of_packet("fd00::5", "fd00::6", IPPROTO_TCP, 80);
  CHECK(matches("ip6 saddr fd00::/64 drop", packet) == Truth::kYes);
  CHECK(matches("ip protocol { tcp, udp } drop", packet) == Truth::kNo);
  CHECK(matches("ip daddr @cnt drop", packet) == Truth::kNo);
  CHECK(matches("meta nfproto ipv4 drop", packet) == Truth::kNo);
}

TEST_CASE("the element that matched is shown as nft prints it") {
  const auto element = [](const std::string& text, const PacketFacts& packet) {
    return matched_element(forms().at(text), packet);
  };
  PacketFacts packet = facts_of_packet("10.0.0.2", "1.2.3.4", IPPROTO_TCP, 81);
  packet.mark = 0x10;
  CHECK(element("ip saddr . tcp dport vmap { 10.0.0.1 . 80 : drop, 10.0.0.2 . 81-82 comment "
                "\"x y\" : jump d }",
                packet) == "10.0.0.2 . 81-82 comment \"x y\" : jump d");
  CHECK(element("meta mark vmap { 0x00000010 : drop }", packet) == "0x00000010 : drop");
  CHECK(element("iifname vmap { \"eth0\" : drop }", packet) == "\"eth0\" : drop");
  CHECK(element("tcp dport vmap { 80 : drop, * : accept }", packet) == "* : accept");
  CHECK(element("ip saddr . tcp dport @s drop", packet) == "10.0.0.0/8 . 80-90");
  CHECK(element("ip daddr . tcp dport @ty drop", packet).empty());
  CHECK(element("ip saddr @dyn drop", packet).empty());
  CHECK(element("ct state vmap { invalid : drop, established : accept, related : accept }", packet)
            .empty());
}

TEST_CASE("no seed makes a parser or the walk fail") {
  for (const auto& entry : std::filesystem::directory_iterator(DROPTRACE_TEST_DATA "/rule_seeds")) {
    CAPTURE(entry.path().string());
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    for (const NfFamily family : {NfFamily::kIp, NfFamily::kIp6}) {
      const RuleWalker walker(shared(parse_nft(bytes, bytes).value_or(std::vector<Table>())),
                              shared(parse_iptables_save(bytes, family)));
      for (const Hook hook : {Hook::kPrerouting, Hook::kForward, Hook::kPostrouting}) {
        const auto walk = walker.walk(dropped_at(hook, tcp_to("10.244.0.6", 80)));
        if (walk) CHECK(walk->candidates.size() < 100);
      }
    }
  }
}

TEST_CASE("the rules of ten thousand services are parsed whole") {
  std::string text = "*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n";
  for (int i = 0; i < 10'000; ++i) text += ":KUBE-SVC-" + std::to_string(i) + " - [0:0]\n";
  for (int i = 0; i < 60'000; ++i) {
    const std::string chain = "KUBE-SVC-" + std::to_string(i % 10'000);
    text += "-A " + (i < 10'000 ? std::string("KUBE-SERVICES") : chain) + " -d 10.96." +
            std::to_string(i / 256 % 256) + "." + std::to_string(i % 256) +
            "/32 -p tcp -m comment --comment \"ns/svc-" + std::to_string(i) +
            ":http cluster IP\" -m tcp --dport 80 -j " + (i < 10'000 ? chain : "ACCEPT") + "\n";
  }
  const auto tables = parse_iptables_save(text + "COMMIT\n", NfFamily::kIp);
  REQUIRE(tables.size() == 1);
  CHECK(chain_of(tables[0], "KUBE-SERVICES").rules.size() == 10'000);
  CHECK(chain_of(tables[0], "KUBE-SERVICES").rules[9'999].logic->matches.size() == 3);
}

}  // namespace
}  // namespace droptrace
