// SPDX-License-Identifier: GPL-2.0-only
// Which rules can have ended a packet: what is known for certain leaves one, what is not leaves
// all that it may have been.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/packet_facts.h"

namespace droptrace {
namespace {

using Names = std::vector<std::string>;

constexpr const char* kForward = ":FORWARD ACCEPT [0:0]\n";

// A walk, and the rules that it points to.
struct Found : Walk {
  std::shared_ptr<const RuleWalker> rules;
};

// Of lines of the table filter, chains first, as iptables-save prints them.
Found walk(const std::string& lines, const Question& question) {
  Found found;
  found.rules = std::make_shared<const RuleWalker>(
      nullptr, shared(parse_iptables_save("*filter\n" + lines + "COMMIT\n", NfFamily::kIp)));
  const auto result = found.rules->walk(question);
  REQUIRE(result);
  found.candidates = result->candidates;
  found.complete = result->complete;
  return found;
}

Found walk(const std::string& lines, const PacketFacts& packet) {
  return walk(lines, dropped_at(Hook::kForward, packet));
}

TEST_CASE("the rule that matches for certain is the only one, and the way to it is known") {
  const auto found = walk(std::string(kForward) +
                              ":USER - [0:0]\n"
                              "-A FORWARD -p udp -j DROP\n"
                              "-A FORWARD -j USER\n"
                              "-A USER -p tcp -m tcp --dport 80 -j RETURN\n"
                              "-A USER -d 10.244.0.0/16 -p tcp -m tcp --dport 8000:8100 -j DROP\n"
                              "-A FORWARD -j DROP\n",
                          tcp_to("10.244.0.6", 8080));
  CHECK(names_of(found) == Names{"USER #2"});
  CHECK(found.complete);
  REQUIRE(found.candidates[0].path.size() == 2);
  CHECK(found.candidates[0].path[0]->name == "FORWARD");
}

TEST_CASE("behind a return and at the end of a goto the policy of the base chain decides") {
  const std::string rules =
      ":FORWARD DROP [0:0]\n:ONE - [0:0]\n:TWO - [0:0]\n"
      "-A FORWARD -p tcp -g ONE\n-A FORWARD -j ACCEPT\n"
      "-A ONE -j TWO\n-A TWO -j RETURN\n-A TWO -j DROP\n";
  const auto found = walk(rules, tcp_to("10.244.0.6", 80));
  CHECK(names_of(found) == Names{"FORWARD"});
  CHECK(found.complete);
  CHECK(walk(rules, facts_of_packet("10.0.0.1", "10.0.0.2", IPPROTO_UDP, 53)).candidates.empty());
}

TEST_CASE("a match that cannot be evaluated leaves what is behind it") {
  const auto found = walk(
      ":FORWARD DROP [0:0]\n"
      "-A FORWARD -m statistic --mode random --probability 0.5 -j DROP\n"
      "-A FORWARD -m set --match-set bad src -j DROP\n"
      "-A FORWARD -p tcp -m tcp --dport 81 -j DROP\n",
      tcp_to("10.244.0.6", 80));
  CHECK(names_of(found) == Names{"FORWARD #1", "FORWARD #2", "FORWARD"});
  CHECK(found.complete);
}

TEST_CASE("where the packet may have been accepted the list is not complete") {
  const auto found = walk(std::string(kForward) +
                              "-A FORWARD -m physdev --physdev-in eth1 -j ACCEPT\n"
                              "-A FORWARD -j DROP\n",
                          tcp_to("10.244.0.6", 80));
  CHECK(names_of(found) == Names{"FORWARD #2"});
  CHECK_FALSE(found.complete);
}

TEST_CASE("what is accepted for certain was dropped by no rule of that chain") {
  CHECK(walk(":FORWARD DROP [0:0]\n-A FORWARD -i eth+ -j ACCEPT\n-A FORWARD -j DROP\n",
             tcp_to("10.244.0.6", 80))
            .candidates.empty());
}

TEST_CASE("negation of what the packet has, has not, and may have") {
  const PacketFacts packet = tcp_to("10.244.0.6", 80);
  for (const auto& [match, matches] : std::vector<std::pair<std::string, bool>>{
           {"! -s 10.244.0.0/16", false},
           {"! -d 10.244.0.0/24 ! -i eth1", false},
           {"! -d 10.245.0.0/16", true},
           {"-p tcp -m tcp ! --dport 80", false},
           {"-p tcp -m tcp ! --dport 81", true},
           {"! -p udp", true},
           {"-p udp -m udp ! --dport 81", false},
           {"-m conntrack ! --ctstate RELATED,ESTABLISHED", true},
           {"-m conntrack ! --ctstate NEW", false},
           {"-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT", true},
           {"-m mark ! --mark 0x4000/0x4000", true},
           {"-m mark --mark 0x4000/0x4000", false},
           {"-p tcp -m multiport --dports 22,79:81", true},
           {"-p tcp -m multiport ! --dports 22,79:81", false},
           {"-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", true},
           {"-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN", false},
           {"-m addrtype --dst-type LOCAL", false},
           {"-m addrtype ! --dst-type LOCAL", true},
           {"-m comment --comment \"! -s 1.2.3.4\" -m state --state NEW", true},
           {"-p icmp -m icmp --icmp-type 8", false}}) {
    CAPTURE(match);
    const auto found = walk(std::string(kForward) + "-A FORWARD " + match + " -j DROP\n", packet);
    CHECK(found.candidates.size() == (matches ? 1 : 0));
    CHECK(found.complete == matches);
  }
}

TEST_CASE("of a packet without a connection it is not known whether it was tracked") {
  PacketFacts packet = tcp_to("10.244.0.6", 80);
  packet.ct_states = kCtInvalid | kCtUntracked;
  const std::string rules = std::string(kForward) +
                            "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
                            "-A FORWARD -m conntrack --ctstate INVALID -j DROP\n";
  const auto found = walk(rules, packet);
  CHECK(names_of(found) == Names{"FORWARD #2"});
  CHECK_FALSE(found.complete);
  packet.ct_states = kCtNew;
  CHECK(walk(rules, packet).candidates.empty());
}

TEST_CASE("an answer leaves the rules that send it") {
  Question question = dropped_at(Hook::kForward, tcp_to("10.244.0.6", 80));
  question.answer = "rst";
  const std::string maybe = "-A FORWARD -m statistic --mode nth --every 2 --packet 0 ";
  const auto found = walk(std::string(kForward) + maybe + "-j DROP\n" + maybe +
                              "-j REJECT --reject-with icmp-port-unreachable\n" + maybe +
                              "-p tcp -j REJECT --reject-with tcp-reset\n",
                          question);
  CHECK(names_of(found) == Names{"FORWARD #3"});
}

TEST_CASE("the mark at the end counts only where no rule has set it on the way") {
  PacketFacts packet = tcp_to("10.244.0.6", 80);
  packet.mark = 7;
  const std::string rest =
      "-A FORWARD -m mark --mark 0x7 -j ACCEPT\n"
      "-A FORWARD -j MARK --set-xmark 0x7/0xffffffff\n"
      "-A FORWARD -j DROP\n";
  const auto set = walk(std::string(kForward) + rest, packet);
  CHECK(names_of(set) == Names{"FORWARD #3"});
  CHECK_FALSE(set.complete);
  CHECK(
      walk(std::string(kForward) + "-A FORWARD -m mark --mark 0x7 -j ACCEPT\n-A FORWARD -j DROP\n",
           packet)
          .candidates.empty());
}

TEST_CASE("a target that is not known may have done anything") {
  const auto found =
      walk(std::string(kForward) + "-A FORWARD -j TARPIT\n", tcp_to("10.244.0.6", 80));
  CHECK(names_of(found) == Names{"FORWARD #1"});
  CHECK_FALSE(found.complete);
}

TEST_CASE("chains without an end, too deep or too many end the evaluation") {
  const auto none = [](const std::string& lines) {
    const RuleWalker walker(
        nullptr, shared(parse_iptables_save("*filter\n" + lines + "COMMIT\n", NfFamily::kIp)));
    return !walker.walk(dropped_at(Hook::kForward, tcp_to("10.0.0.1", 80)));
  };
  CHECK(none(std::string(kForward) +
             ":A - [0:0]\n:B - [0:0]\n-A FORWARD -j A\n-A A -j B\n-A B -j A\n"));
  std::string doubling = kForward;
  for (int i = 0; i <= 40; ++i) doubling += ":C" + std::to_string(i) + " - [0:0]\n";
  doubling += "-A FORWARD -j C0\n";
  for (int i = 0; i < 40; ++i) {
    const std::string jump = "-A C" + std::to_string(i) + " -j C" + std::to_string(i + 1) + "\n";
    doubling += jump + jump;
  }
  CHECK(none(doubling));
}

TEST_CASE("both backends are walked in the order of their priorities") {
  const auto nft = parse_nft(
      R"({"nftables": [{"table": {"family": "inet", "name": "t", "handle": 1}},
          {"chain": {"family": "inet", "table": "t", "name": "early", "handle": 2, "type": "filter",
                     "hook": "forward", "prio": -10, "policy": "accept"}},
          {"rule": {"family": "inet", "table": "t", "chain": "early", "handle": 3, "expr": [
            {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}},
                       "right": 81}}, {"drop": null}]}}]})",
      "");
  REQUIRE(nft);
  const RuleWalker walker(
      shared(*nft),
      shared(parse_iptables_save("*filter\n:FORWARD DROP [0:0]\nCOMMIT\n", NfFamily::kIp)));
  CHECK(names_of(walker.walk(dropped_at(Hook::kForward, tcp_to("10.0.0.1", 80))).value()) ==
        Names{"FORWARD"});
  Question question = dropped_at(Hook::kForward, tcp_to("10.0.0.1", 81));
  CHECK(names_of(walker.walk(question).value()) == Names{"early #1"});
  question.nft = false;  // but it was not nf_tables
  CHECK(walker.walk(question).value().candidates.empty());
}

TEST_CASE("kindnet's queue is filled by the rule whose set has the packet's address") {
  const RuleWalker walker = nft_walker("kindnet");
  const auto queued = [&](PacketFacts packet) {
    Question question = dropped_at(Hook::kPostrouting, std::move(packet));
    question.queued = true;
    question.queue = 101;
    return walker.walk(question).value();
  };
  const auto by_source = queued(facts_of_packet("10.244.0.5", "10.244.0.6", IPPROTO_TCP, 80));
  CHECK(names_of(by_source) == Names{"postrouting #5"});
  CHECK(by_source.complete);
  CHECK(by_source.candidates[0].rule->queue_bypass);
  CHECK(names_of(queued(tcp_to("10.244.0.6", 80))) == Names{"postrouting #6"});
  CHECK(queued(tcp_to("10.244.0.7", 80)).candidates.empty());

  PacketFacts local = tcp_to("10.244.0.6", 80);
  local.has_socket.reset();  // of user 0 it would have been accepted
  CHECK_FALSE(queued(local).complete);
  PacketFacts established = tcp_to("10.244.0.6", 80);
  established.ct_states = kCtEstablished;
  CHECK(queued(established).candidates.empty());
}

TEST_CASE("kube-proxy's verdict maps lead to what they say of the service") {
  const RuleWalker walker = nft_walker("kube-proxy");
  const auto dropped = [&](const std::string& dst, std::uint16_t port) {
    return walker.walk(dropped_at(Hook::kForward, tcp_to(dst, port))).value();
  };
  CHECK(names_of(dropped("10.96.40.2", 80)) == Names{"service-endpoints-check #1"});
  CHECK(names_of(dropped("10.96.12.7", 8181)) == Names{"reject-chain #1"});
  CHECK(names_of(dropped("10.96.0.1", 444)) == Names{"cluster-ips-check #1"});
  CHECK(names_of(dropped("10.96.7.7", 80)) == Names{"cluster-ips-check #2"});
  CHECK(dropped("10.244.0.6", 80).candidates.empty());
}

TEST_CASE("kube-proxy's iptables rules reject what has no endpoints") {
  std::vector<Table> tables = nft_dump("kube");
  std::vector<Table> saved = parse_iptables_save(rule_dump("kube.save"), NfFamily::kIp);
  use_iptables_text(tables, saved);
  const RuleWalker walker(shared(std::move(tables)), nullptr);
  const auto found = walker.walk(dropped_at(Hook::kForward, tcp_to("10.96.12.7", 8181))).value();
  CHECK(names_of(found) == Names{"KUBE-SERVICES #1"});
  CHECK(found.complete);
}

}  // namespace
}  // namespace droptrace
