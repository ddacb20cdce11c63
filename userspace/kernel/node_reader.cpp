// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/node_reader.h"

#include <ifaddrs.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <sstream>
#include <utility>

#include "kernel/event_loop.h"
#include "kernel/files.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/nft_netlink.h"
#include "kernel/route.h"
#include "kernel/tool.h"
#include "kernel/trace_table.h"

namespace droptrace {

namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr const char* kIpv4Settings = "/proc/sys/net/ipv4/conf/";

std::optional<unsigned> setting(const std::string& interface, const char* name) {
  return read_number(kIpv4Settings + interface + "/" + name);
}

void read_flags(std::vector<InterfaceFacts>& interfaces) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  for (const ifaddrs* each = list; each; each = each->ifa_next) {
    const auto found =
        std::ranges::find(interfaces, std::string_view(each->ifa_name), &InterfaceFacts::name);
    if (found == interfaces.end()) continue;
    found->up = (each->ifa_flags & IFF_UP) != 0;
    found->carrier = (each->ifa_flags & IFF_RUNNING) != 0;
    const int family = each->ifa_addr ? each->ifa_addr->sa_family : AF_UNSPEC;
    // A link-local address of IPv6 comes by itself.
    found->has_address |= family == AF_INET;
  }
}

std::vector<InterfaceFacts> read_interfaces() {
  std::vector<InterfaceFacts> interfaces;
  auto socket = NetlinkSocket::open(NETLINK_ROUTE);
  const auto links = socket ? read_links(*socket) : std::nullopt;
  if (!links) return interfaces;
  for (const LinkFact& link : *links) {
    if (link.name == "lo") continue;
    InterfaceFacts facts;
    facts.name = link.name;
    facts.is_veth = link.kind == "veth";
    facts.forwarding = setting(link.name, "forwarding");
    facts.arp_ignore = setting(link.name, "arp_ignore");
    facts.rp_filter = setting(link.name, "rp_filter");
    interfaces.push_back(std::move(facts));
  }
  read_flags(interfaces);
  return interfaces;
}

// Of the namespace that the thread is in.
NamespaceFacts read_namespace(std::string where, std::string path) {
  NamespaceFacts facts;
  facts.where = std::move(where);
  facts.path = std::move(path);
  facts.interfaces = read_interfaces();
  facts.has_default_route = has_default_route(read_file("/proc/net/route").value_or(""));
  const std::string counters = read_file("/proc/net/netstat").value_or("");
  const auto counter = [&](const char* name) {
    return parse_snmp_counter(counters, "TcpExt", name);
  };
  facts.listen_overflows = counter("ListenOverflows");
  facts.listen_drops = counter("ListenDrops");
  facts.request_drops = counter("TCPReqQFullDrop");
  facts.reverse_path_drops = counter("IPReversePathFilter");
  auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
  const auto table = socket ? find_trace_table(*socket) : std::nullopt;
  facts.left_over_table = table && !table->owned;
  return facts;
}

// What a program prints; empty if it fails.
std::string output_of(const std::vector<std::string>& arguments) {
  EventLoop loop;
  std::string output;
  Tool tool(loop, arguments, [&](std::string text) {
    output = std::move(text);
    loop.stop();
  });
  loop.add_timer([&] { tool.end_if_overdue(); }).start_periodic(kSecondNs);
  if (tool.running()) loop.run();
  return output;
}

// ip_tables' own tables; asking for one that is not there would make it.
void read_legacy(Ruleset& rules) {
  for (const auto& [family, names, program] :
       {std::tuple{NfFamily::kIp, "/proc/net/ip_tables_names", "iptables-legacy-save"},
        std::tuple{NfFamily::kIp6, "/proc/net/ip6_tables_names", "ip6tables-legacy-save"}}) {
    if (read_file(names).value_or("").empty()) continue;
    auto tables = parse_iptables_save(output_of({program}), family);
    std::ranges::move(tables, std::back_inserter(rules.legacy));
  }
}

void read_rules(NodeFacts& facts) {
  auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
  if (auto tables = socket ? read_nft_tables(*socket) : std::nullopt) {
    facts.rules.nft = std::move(*tables);
    facts.rules_known = true;
  }
  read_legacy(facts.rules);
  facts.rules_known |= !facts.rules.legacy.empty();
}

}  // namespace

NodeFacts read_node() {
  const NetnsSwitch netns;
  NodeFacts facts;
  facts.node = read_namespace("node", "/proc/self/ns/net");
  facts.ip_forward = read_number("/proc/sys/net/ipv4/ip_forward");
  facts.ipv6_forwarding = read_number("/proc/sys/net/ipv6/conf/all/forwarding");
  facts.arp_ignore = setting("all", "arp_ignore");
  facts.rp_filter = setting("all", "rp_filter");
  facts.route_localnet = setting("all", "route_localnet");
  facts.conntrack_count = read_number("/proc/sys/net/netfilter/nf_conntrack_count");
  facts.conntrack_max = read_number("/proc/sys/net/netfilter/nf_conntrack_max");
  facts.conntrack_drops =
      parse_conntrack_stat(read_file("/proc/net/stat/nf_conntrack").value_or(""), "drop");
  facts.queues =
      parse_nfnetlink_queue(read_file("/proc/net/netfilter/nfnetlink_queue").value_or(""));
  read_rules(facts);
  for (const auto& [inum, ref] : discover_netns()) {
    if (inum == netns.home()) continue;
    const std::string where = "netns:" + ref.name.value_or(std::to_string(inum));
    netns.run_in(ref.path,
                 [&, &path = ref.path] { facts.pods.push_back(read_namespace(where, path)); });
  }
  return facts;
}

std::vector<std::string> programs_here(const std::vector<std::string>& names) {
  const char* path = std::getenv("PATH");
  std::vector<std::string> found;
  for (const std::string& name : names) {
    std::istringstream directories(path ? path : "");
    for (std::string directory; std::getline(directories, directory, ':');) {
      if (::access((directory + "/" + name).c_str(), X_OK) != 0) continue;
      found.push_back(name);
      break;
    }
  }
  return found;
}

}  // namespace droptrace
