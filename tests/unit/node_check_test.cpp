// SPDX-License-Identifier: GPL-2.0-only
#include "core/node_check.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace droptrace {
namespace {

Chain chain(std::string name, std::vector<Rule> rules = {}) {
  Chain chain;
  chain.name = std::move(name);
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

InterfaceFacts interface(std::string name) {
  InterfaceFacts facts;
  facts.name = std::move(name);
  facts.is_veth = facts.up = facts.carrier = facts.has_address = true;
  facts.forwarding = 1;
  facts.arp_ignore = 0;
  facts.rp_filter = 0;
  return facts;
}

NamespaceFacts space(std::string where, std::vector<InterfaceFacts> interfaces) {
  NamespaceFacts facts;
  facts.where = std::move(where);
  facts.path = "/run/netns/cni-a";
  facts.interfaces = std::move(interfaces);
  facts.has_default_route = true;
  return facts;
}

NodeFacts healthy() {
  NodeFacts facts;
  facts.node = space("node", {interface("eth0"), interface("vetha")});
  facts.pods = {space("netns:cni-a", {interface("eth0")})};
  facts.uses_ipv6 = true;
  facts.ip_forward = facts.ipv6_forwarding = facts.route_localnet = 1;
  facts.arp_ignore = 0;
  facts.rp_filter = 1;
  facts.conntrack_count = 10;
  facts.conntrack_max = 1000;
  facts.rules.nft = {table(NfFamily::kIp, "nat", 1, {chain("KUBE-SERVICES", {Rule{}})})};
  facts.rules_known = true;
  return facts;
}

// The findings that are worth a word, as "id: fact -> advice".
std::vector<std::string> findings(const NodeFacts& facts, Level level) {
  std::vector<std::string> texts;
  for (const Finding& each : check_node(facts)) {
    if (each.level == level) texts.push_back(each.id + ": " + each.fact + " -> " + each.advice);
  }
  return texts;
}

using Texts = std::vector<std::string>;

Texts failures(const NodeFacts& facts) { return findings(facts, Level::kFail); }
Texts warnings(const NodeFacts& facts) { return findings(facts, Level::kWarn); }

TEST_CASE("a healthy node has nothing but good news, a line for each check") {
  const auto all = check_node(healthy());
  CHECK(all.size() == 15);
  for (const Finding& each : all) {
    CAPTURE(each.id);
    CHECK(each.level == Level::kOk);
    CHECK_FALSE(each.fact.empty());
  }
}

TEST_CASE("a node that does not forward") {
  NodeFacts facts = healthy();
  facts.node.interfaces[1].forwarding = 0;
  CHECK(failures(facts) == Texts{"ip-forward: what comes in by vetha is not forwarded -> "
                                 "echo 1 > /proc/sys/net/ipv4/conf/vetha/forwarding"});
  facts.ip_forward = 0;
  CHECK(failures(facts) ==
        Texts{"ip-forward: net.ipv4.ip_forward is 0: the node forwards nothing to or from its pods "
              "-> sysctl -w net.ipv4.ip_forward=1"});
  facts = healthy();
  facts.ipv6_forwarding = 0;
  CHECK(failures(facts).size() == 1);
  facts.uses_ipv6 = false;
  CHECK(failures(facts).empty());
}

TEST_CASE("a strict rp_filter is worth a word once it has dropped something") {
  NodeFacts facts = healthy();
  facts.node.reverse_path_drops = 3;
  facts.node.interfaces[0].rp_filter = 2;  // the larger of the two counts
  CHECK(warnings(facts) == Texts{"rp-filter: rp_filter has dropped 3 packets; it is strict on "
                                 "vetha -> sysctl -w net.ipv4.conf.all.rp_filter=2"});
  facts.rp_filter = 2;
  CHECK(warnings(facts).empty());
}

TEST_CASE("arp_ignore hides the gateway from two on") {
  NodeFacts facts = healthy();
  facts.arp_ignore = 1;
  CHECK(failures(facts).empty());
  facts.node.interfaces[0].arp_ignore = 2;
  facts.node.interfaces[0].is_veth = false;
  CHECK(failures(facts).empty());
  facts.arp_ignore = 2;
  CHECK(failures(facts).size() == 1);
}

TEST_CASE("policies of forward chains, in both backends") {
  NodeFacts facts = healthy();
  Chain forward = chain("FORWARD");
  forward.policy_drop = true;
  facts.rules.legacy = {table(NfFamily::kIp6, "filter", 0, {forward})};
  forward.hook = Hook::kForward;
  facts.rules.nft.push_back(table(NfFamily::kIp, "filter", 4, {forward}));
  forward.name = "my chain";
  facts.rules.nft.push_back(table(NfFamily::kInet, "strict", 5, {forward}));
  CHECK(failures(facts) ==
        Texts{"forward-policy: the policy of ip filter FORWARD (nft) is DROP: new connections "
              "between pods die -> iptables-nft -t filter -P FORWARD ACCEPT",
              "forward-policy: the policy of ip6 filter FORWARD (legacy) is DROP: new connections "
              "between pods die -> ip6tables-legacy -t filter -P FORWARD ACCEPT"});
  CHECK(warnings(facts) ==
        Texts{"forward-policy: the policy of inet strict my chain is drop: what its rules do not "
              "accept dies -> nft chain inet strict 'my chain' '{ policy accept; }'"});
}

TEST_CASE("a conntrack table that is full, or soon") {
  NodeFacts facts = healthy();
  facts.conntrack_count = 850;
  CHECK(warnings(facts).size() == 1);
  facts.conntrack_count = 1000;
  CHECK(failures(facts) ==
        Texts{"conntrack-table: 1000 of 1000 conntrack entries are in use: new connections die -> "
              "on the host: sysctl -w net.netfilter.nf_conntrack_max=2000"});
  facts.conntrack_count = 10;
  facts.conntrack_drops = 7;
  CHECK(warnings(facts).size() == 1);
  facts.conntrack_max.reset();
  CHECK(warnings(facts).empty());
}

TEST_CASE("queues that nobody listens to, and queues that are full") {
  NodeFacts facts = healthy();
  Rule rule;
  rule.queues = {100, 101};
  Rule bypass = rule;
  bypass.queues = {7, 7};
  bypass.queue_bypass = true;
  facts.rules.nft.push_back(
      table(NfFamily::kInet, "policies", 6, {chain("postrouting", {rule, rule, bypass, bypass})}));
  facts.queues = {{100, 0, 0, 0}};
  CHECK(failures(facts) ==
        Texts{"nfqueue-listener: nobody listens to NFQUEUE 101: what a rule hands to it dies -> "
              "kubectl -n kube-system rollout restart daemonset kindnet"});
  CHECK(warnings(facts) ==
        Texts{"nfqueue-listener: nobody listens to NFQUEUE 7: network policies are not enforced -> "
              "kubectl -n kube-system rollout restart daemonset kindnet"});
  facts.queues = {{100, 500, 0, 0}, {101, 0, 2, 3}, {7, 0, 0, 0}};
  CHECK(failures(facts).empty());
  CHECK(warnings(facts).size() == 2);
}

TEST_CASE("rules of kube-proxy, nowhere or in both backends") {
  NodeFacts facts = healthy();
  facts.rules.legacy = {table(NfFamily::kIp, "nat", 0, {chain("KUBE-SERVICES", {Rule{}})})};
  CHECK(warnings(facts).size() == 2);  // and both backends have rules
  facts.rules.nft.clear();
  CHECK(warnings(facts).empty());
  facts.rules.legacy.clear();
  CHECK(failures(facts) ==
        Texts{"kube-proxy-rules: there are no rules of kube-proxy: service addresses lead nowhere "
              "-> kubectl -n kube-system logs -l k8s-app=kube-proxy"});
  facts.rules.nft = {table(NfFamily::kIp, "kube-proxy", 9, {})};
  CHECK(failures(facts).empty());
  facts.rules.nft.clear();
  facts.rules_known = false;
  CHECK(failures(facts).empty());
}

TEST_CASE("a pod that is cut off") {
  NodeFacts facts = healthy();
  facts.pods[0].has_default_route = false;
  CHECK(failures(facts) == Texts{"default-route: netns:cni-a has no default route -> nsenter "
                                 "--net=/run/netns/cni-a ip route add default via GATEWAY"});
  facts = healthy();
  facts.pods[0].interfaces[0].has_address = false;
  CHECK(failures(facts).size() == 1);
  facts.pods[0].interfaces[0].up = false;
  CHECK(failures(facts) == Texts{"pod-interface: eth0 of netns:cni-a is down -> nsenter "
                                 "--net=/run/netns/cni-a ip link set dev eth0 up"});
  facts = healthy();
  facts.node.interfaces[1].up = false;
  CHECK(failures(facts).size() == 1);
}

TEST_CASE("names that the shell would obey are quoted") {
  NodeFacts facts = healthy();
  facts.node.interfaces[1].name = "a;'reboot";
  facts.node.interfaces[1].up = false;
  CHECK(failures(facts).at(0).ends_with("ip link set dev 'a;'\\''reboot' up"));
}

TEST_CASE("listeners that were too slow, Docker's name server, a table left behind") {
  NodeFacts facts = healthy();
  facts.pods[0].listen_overflows = 2;
  facts.pods[0].left_over_table = true;
  CHECK(warnings(facts).size() == 2);
  facts = healthy();
  facts.route_localnet = 0;
  CHECK(failures(facts).empty());
  facts.rules.nft.push_back(table(NfFamily::kIp, "nat", 5, {chain("DOCKER_OUTPUT")}));
  CHECK(failures(facts).size() == 1);
}

TEST_CASE("files of /proc are read, and what is malformed is passed over") {
  const auto queues = parse_nfnetlink_queue(
      "  101  12345     3 2  128     4     5       17  1\nnonsense\n 70000 1 1 1 1 1 1 1 1\n");
  REQUIRE(queues.size() == 1);
  CHECK(queues[0].number == 101);
  CHECK(queues[0].waiting == 3);
  CHECK(queues[0].queue_dropped == 4);
  CHECK(queues[0].user_dropped == 5);

  const std::string_view netstat = "TcpExt: A ListenDrops\nTcpExt: 1 42\nIpExt: A\nIpExt: 9\n";
  CHECK(parse_snmp_counter(netstat, "TcpExt", "ListenDrops") == 42);
  CHECK(parse_snmp_counter(netstat, "IpExt", "A") == 9);
  CHECK(parse_snmp_counter(netstat, "Tcp", "A") == 0);
  CHECK(parse_snmp_counter("TcpExt: A B", "TcpExt", "B") == 0);

  CHECK(parse_conntrack_stat("entries drop early_drop\n0 0a 1\n0 01 1\n", "drop") == 11);
  CHECK(parse_conntrack_stat("", "drop") == 0);

  const std::string header = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU\n";
  CHECK(has_default_route(header + "eth0 00000000 010012AC 0003 0 0 0 00000000 0\n"));
  CHECK_FALSE(has_default_route(header + "eth0 00000000 010012AC 0002 0 0 0 00000000 0\n"));
  CHECK_FALSE(has_default_route(header + "eth0 000012AC 00000000 0001 0 0 0 0000FFFF 0\n"));
}

}  // namespace
}  // namespace droptrace
