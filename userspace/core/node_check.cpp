// SPDX-License-Identifier: GPL-2.0-only
#include "core/node_check.h"

#include <algorithm>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace droptrace {
namespace {

constexpr std::uint64_t kWaitingMax = 100;  // a listener that keeps up has less in its queue

// What a check finds; it has an id of its own.
class Findings {
 public:
  Findings(std::vector<Finding>& all, std::string_view id) : all_(all), id_(id) {}

  void add(Level level, std::string fact, std::string advice) {
    all_.push_back({level, std::string(id_), std::move(fact), std::move(advice)});
  }
  void fail(std::string fact, std::string advice) {
    add(Level::kFail, std::move(fact), std::move(advice));
  }
  void warn(std::string fact, std::string advice) {
    add(Level::kWarn, std::move(fact), std::move(advice));
  }
  void unknown(std::string fact) { add(Level::kInfo, std::move(fact), ""); }

 private:
  std::vector<Finding>& all_;
  std::string_view id_;
};

// A word for the shell: names come from others.
std::string quoted(std::string_view word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+=,";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos)
    return std::string(word);
  std::string result = "'";
  for (const char byte : word) result += byte == '\'' ? std::string("'\\''") : std::string(1, byte);
  return result + "'";
}

std::string set_sysctl(std::string_view name, unsigned value) {
  return fmt::format("sysctl -w {}={}", name, value);
}

// Of one interface, whose name may have dots.
std::string set_interface(std::string_view interface, std::string_view name, unsigned value) {
  return fmt::format("echo {} > {}", value,
                     quoted(fmt::format("/proc/sys/net/ipv4/conf/{}/{}", interface, name)));
}

std::string in_namespace(const NamespaceFacts& space, std::string_view command) {
  if (space.where == "node") return std::string(command);
  return fmt::format("nsenter --net={} {}", quoted(space.path), command);
}

void check_ip_forward(const NodeFacts& facts, Findings& found) {
  if (!facts.ip_forward) return found.unknown("net.ipv4.ip_forward cannot be read");
  if (*facts.ip_forward == 0)
    return found.fail("net.ipv4.ip_forward is 0: the node forwards nothing to or from its pods",
                      set_sysctl("net.ipv4.ip_forward", 1));
  for (const InterfaceFacts& each : facts.node.interfaces) {
    if (each.forwarding == 0U)
      found.fail(fmt::format("what comes in by {} is not forwarded", each.name),
                 set_interface(each.name, "forwarding", 1));
  }
}

void check_ipv6_forwarding(const NodeFacts& facts, Findings& found) {
  if (facts.uses_ipv6 && facts.ipv6_forwarding == 0U)
    found.fail("net.ipv6.conf.all.forwarding is 0, and the cluster uses IPv6",
               set_sysctl("net.ipv6.conf.all.forwarding", 1));
}

void check_rp_filter(const NodeFacts& facts, Findings& found) {
  const std::uint64_t drops = facts.node.reverse_path_drops;
  if (drops == 0) return;
  std::vector<std::string> strict;
  for (const InterfaceFacts& each : facts.node.interfaces) {
    if (std::max(facts.rp_filter.value_or(0), each.rp_filter.value_or(0)) == 1)
      strict.push_back(each.name);
  }
  if (strict.empty()) return;
  found.warn(fmt::format("rp_filter has dropped {} packets; it is strict on {}", drops,
                         fmt::join(strict, ", ")),
             set_sysctl("net.ipv4.conf.all.rp_filter", 2));
}

void check_arp_ignore(const NodeFacts& facts, Findings& found) {
  constexpr unsigned kHarmless = 1;  // pods ask on the interface that has the address
  if (facts.arp_ignore.value_or(0) > kHarmless)
    return found.fail(
        fmt::format("net.ipv4.conf.all.arp_ignore is {}: pods cannot find their gateway",
                    *facts.arp_ignore),
        set_sysctl("net.ipv4.conf.all.arp_ignore", 0));
  for (const InterfaceFacts& each : facts.node.interfaces) {
    if (each.is_veth && each.arp_ignore.value_or(0) > kHarmless)
      found.fail(fmt::format("arp_ignore of {} is {}: its pod cannot find its gateway", each.name,
                             *each.arp_ignore),
                 set_interface(each.name, "arp_ignore", 0));
  }
}

bool is_iptables(const Table& table) {
  constexpr std::string_view kNames[] = {"filter", "nat", "mangle", "raw", "security"};
  return (table.family == NfFamily::kIp || table.family == NfFamily::kIp6) &&
         std::ranges::find(kNames, table.name) != std::end(kNames);
}

std::string iptables_program(const Table& table, std::string_view backend) {
  return fmt::format("{}-{}", table.family == NfFamily::kIp6 ? "ip6tables" : "iptables", backend);
}

void check_forward_policy(const NodeFacts& facts, Findings& found) {
  const auto check = [&](const Table& table, std::string_view backend) {
    for (const Chain& chain : table.chains) {
      const bool forwards =
          chain.hook == Hook::kForward || (table.handle == 0 && chain.name == "FORWARD");
      if (!forwards || !chain.policy_drop) continue;
      const std::string place =
          fmt::format("{} {} {}", to_string(table.family), table.name, chain.name);
      if (is_iptables(table))
        found.fail(fmt::format("the policy of {} ({}) is DROP: new connections between pods die",
                               place, backend),
                   fmt::format("{} -t {} -P FORWARD ACCEPT", iptables_program(table, backend),
                               table.name));
      else
        found.warn(
            fmt::format("the policy of {} is drop: what its rules do not accept dies", place),
            fmt::format("nft chain {} {} {} '{{ policy accept; }}'", to_string(table.family),
                        quoted(table.name), quoted(chain.name)));
    }
  };
  for (const Table& table : facts.rules.nft) check(table, "nft");
  for (const Table& table : facts.rules.legacy) check(table, "legacy");
}

void check_conntrack(const NodeFacts& facts, Findings& found) {
  if (!facts.conntrack_count || !facts.conntrack_max || *facts.conntrack_max == 0)
    return found.unknown("the size of the conntrack table cannot be read");
  const std::uint64_t count = *facts.conntrack_count;
  const std::uint64_t max = *facts.conntrack_max;
  const std::string advice =
      fmt::format("on the host: sysctl -w net.netfilter.nf_conntrack_max={}", max * 2);
  const std::string fact = fmt::format("{} of {} conntrack entries are in use", count, max);
  if (count >= max / 100 * 98)
    found.fail(fact + ": new connections die", advice);
  else if (count >= max / 100 * 80)
    found.warn(fact, advice);
  if (facts.conntrack_drops > 0)
    found.warn(fmt::format("the conntrack table was full for {} packets", facts.conntrack_drops),
               advice);
}

void check_queue_listeners(const NodeFacts& facts, Findings& found) {
  std::set<std::uint16_t> listened;
  for (const QueueFacts& queue : facts.queues) listened.insert(queue.number);
  std::set<std::pair<std::uint16_t, bool>> told;
  const auto check = [&](const Rule& rule) {
    if (!rule.queues) return;
    for (unsigned number = rule.queues->first; number <= rule.queues->second; ++number) {
      const auto queue = static_cast<std::uint16_t>(number);
      if (listened.contains(queue) || !told.emplace(queue, rule.queue_bypass).second) continue;
      const std::string advice = "kubectl -n kube-system rollout restart daemonset kindnet";
      if (rule.queue_bypass)
        found.warn(
            fmt::format("nobody listens to NFQUEUE {}: network policies are not enforced", queue),
            advice);
      else
        found.fail(fmt::format("nobody listens to NFQUEUE {}: what a rule hands to it dies", queue),
                   advice);
      return;  // one of a range will do
    }
  };
  for (const auto* tables : {&facts.rules.nft, &facts.rules.legacy}) {
    for (const Table& table : *tables) {
      for (const Chain& chain : table.chains) std::ranges::for_each(chain.rules, check);
    }
  }
}

void check_queue_lengths(const NodeFacts& facts, Findings& found) {
  const std::string advice =
      "kubectl -n kube-system logs daemonset/kindnet; raise its CPU limit if it is throttled";
  for (const QueueFacts& queue : facts.queues) {
    if (queue.waiting > kWaitingMax)
      found.warn(fmt::format("{} packets wait in NFQUEUE {}", queue.waiting, queue.number), advice);
    if (queue.queue_dropped + queue.user_dropped > 0)
      found.warn(fmt::format("NFQUEUE {} was full for {} packets", queue.number,
                             queue.queue_dropped + queue.user_dropped),
                 advice);
  }
}

bool has_chain(const std::vector<Table>& tables, std::string_view table, std::string_view chain) {
  return std::ranges::any_of(tables, [&](const Table& each) {
    return each.name == table &&
           std::ranges::find(each.chains, chain, &Chain::name) != each.chains.end();
  });
}

// Where kube-proxy has its rules.
std::vector<std::string> kube_proxy_backends(const Ruleset& rules) {
  std::vector<std::string> backends;
  if (has_chain(rules.nft, "nat", "KUBE-SERVICES")) backends.emplace_back("nft");
  if (has_chain(rules.legacy, "nat", "KUBE-SERVICES")) backends.emplace_back("legacy");
  if (std::ranges::find(rules.nft, "kube-proxy", &Table::name) != rules.nft.end())
    backends.emplace_back("nftables");
  return backends;
}

void check_kube_proxy(const NodeFacts& facts, Findings& found) {
  if (!facts.rules_known) return found.unknown("the node's rules cannot be read");
  const auto backends = kube_proxy_backends(facts.rules);
  if (backends.empty())
    return found.fail("there are no rules of kube-proxy: service addresses lead nowhere",
                      "kubectl -n kube-system logs -l k8s-app=kube-proxy");
  if (backends.size() > 1)
    return found.warn(fmt::format("rules of kube-proxy are in {}", fmt::join(backends, " and ")),
                      "restart the node's container: one of them is out of date");
  found.add(Level::kOk, "kube-proxy's rules are in " + backends.front(), "");
}

std::size_t count_rules(const std::vector<Table>& tables) {
  std::size_t count = 0;
  for (const Table& table : tables) {
    if (!is_iptables(table)) continue;
    for (const Chain& chain : table.chains) count += chain.rules.size();
  }
  return count;
}

void check_backends(const NodeFacts& facts, Findings& found) {
  const std::size_t nft = count_rules(facts.rules.nft);
  const std::size_t legacy = count_rules(facts.rules.legacy);
  if (nft == 0 || legacy == 0) return;
  const auto used = kube_proxy_backends(facts.rules);
  const bool in_legacy = std::ranges::find(used, "legacy") != used.end();
  found.warn(fmt::format("both iptables backends have rules, nft {} and legacy {}: a packet must "
                         "pass both",
                         nft, legacy),
             fmt::format("iptables-{}-save shows those that kube-proxy does not use",
                         in_legacy ? "nft" : "legacy"));
}

void check_default_route(const NodeFacts& facts, Findings& found) {
  const auto check = [&](const NamespaceFacts& space, const std::string& gateway) {
    const bool is_connected = std::ranges::any_of(
        space.interfaces, [](const auto& each) { return each.up && each.has_address; });
    if (space.has_default_route || !is_connected) return;
    found.fail(fmt::format("{} has no default route", space.where),
               in_namespace(space, "ip route add default via " + gateway));
  };
  check(facts.node, "GATEWAY-OF-THE-DOCKER-NETWORK");
  for (const NamespaceFacts& pod : facts.pods) check(pod, "GATEWAY");
}

void check_interfaces(const NodeFacts& facts, Findings& found) {
  const auto up = [](const InterfaceFacts& each) {
    return fmt::format("ip link set dev {} up", quoted(each.name));
  };
  for (const InterfaceFacts& each : facts.node.interfaces) {
    if (!each.up && each.is_veth)
      found.fail(fmt::format("{} of the node is down: its pod is cut off", each.name), up(each));
  }
  for (const NamespaceFacts& pod : facts.pods) {
    for (const InterfaceFacts& each : pod.interfaces) {
      if (!each.is_veth) continue;
      if (!each.up)
        found.fail(fmt::format("{} of {} is down", each.name, pod.where),
                   in_namespace(pod, up(each)));
      else if (!each.has_address)
        found.fail(fmt::format("{} of {} has no address", each.name, pod.where),
                   "delete the pod, so that it is made anew");
    }
  }
}

void check_listeners(const NodeFacts& facts, Findings& found) {
  const auto check = [&](const NamespaceFacts& space) {
    if (space.listen_overflows + space.listen_drops + space.request_drops == 0) return;
    found.warn(
        fmt::format("in {} listeners were too slow: ListenOverflows {}, ListenDrops {}, "
                    "TCPReqQFullDrop {}",
                    space.where, space.listen_overflows, space.listen_drops, space.request_drops),
        in_namespace(space, "ss -ltn") + " shows full queues (Recv-Q over Send-Q)");
  };
  check(facts.node);
  std::ranges::for_each(facts.pods, check);
}

// Docker's resolver has a loopback address in the node; pods reach it by NAT.
void check_route_localnet(const NodeFacts& facts, Findings& found) {
  const bool by_docker = has_chain(facts.rules.nft, "nat", "DOCKER_OUTPUT") ||
                         has_chain(facts.rules.legacy, "nat", "DOCKER_OUTPUT");
  if (by_docker && facts.route_localnet == 0U)
    found.fail("net.ipv4.conf.all.route_localnet is 0: pods do not reach Docker's name server",
               set_sysctl("net.ipv4.conf.all.route_localnet", 1));
}

void check_left_overs(const NodeFacts& facts, Findings& found) {
  const auto check = [&](const NamespaceFacts& space) {
    if (!space.left_over_table) return;
    found.warn(
        fmt::format("an earlier droptrace has left the table inet droptrace in {}", space.where),
        in_namespace(space, "nft delete table inet droptrace"));
  };
  check(facts.node);
  std::ranges::for_each(facts.pods, check);
}

struct Check {
  std::string_view id;
  void (*look)(const NodeFacts&, Findings&);
  std::string_view fine;  // what is true if nothing is found
};

constexpr Check kChecks[] = {
    {"ip-forward", check_ip_forward, "the node forwards IPv4"},
    {"ipv6-forwarding", check_ipv6_forwarding, "the node forwards IPv6, or need not"},
    {"rp-filter", check_rp_filter, "rp_filter has dropped nothing"},
    {"arp-ignore", check_arp_ignore, "the node answers its pods' ARP requests"},
    {"forward-policy", check_forward_policy, "no policy of a forward chain is drop"},
    {"conntrack-table", check_conntrack, "the conntrack table has room"},
    {"nfqueue-listener", check_queue_listeners, "every NFQUEUE of a rule has a listener"},
    {"nfqueue-length", check_queue_lengths, "no NFQUEUE is full"},
    {"kube-proxy-rules", check_kube_proxy, ""},
    {"iptables-backends", check_backends, "one iptables backend at most is in use"},
    {"default-route", check_default_route, "the node and its pods have default routes"},
    {"pod-interface", check_interfaces, "pods' interfaces are up and have addresses"},
    {"listen-overflow", check_listeners, "no listener was too slow"},
    {"route-localnet", check_route_localnet, "Docker's name server can be reached, or is not used"},
    {"left-over-table", check_left_overs, "no table of an earlier droptrace is left"},
};

}  // namespace

std::vector<Finding> check_node(const NodeFacts& facts) {
  std::vector<Finding> all;
  for (const Check& check : kChecks) {
    const std::size_t before = all.size();
    Findings found(all, check.id);
    check.look(facts, found);
    if (all.size() == before) found.add(Level::kOk, std::string(check.fine), "");
  }
  return all;
}

}  // namespace droptrace
