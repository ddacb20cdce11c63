// SPDX-License-Identifier: GPL-2.0-only
// Node state that kills traffic: from what was read of the node to what is wrong with it. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/finding.h"
#include "core/ruleset.h"

namespace droptrace {

// An interface other than the loopback. Sysctls are those of the interface alone.
struct InterfaceFacts {
  std::string name;
  bool is_veth = false;
  bool up = false;
  bool carrier = false;
  bool has_address = false;
  std::optional<unsigned> forwarding;
  std::optional<unsigned> arp_ignore;
  std::optional<unsigned> rp_filter;
};

// A network namespace. Counters are since it was made.
struct NamespaceFacts {
  std::string where;  // "node", "netns:cni-…"
  std::string path;   // opens it
  std::vector<InterfaceFacts> interfaces;
  bool has_default_route = false;      // IPv4
  std::uint64_t listen_overflows = 0;  // TcpExtListenOverflows
  std::uint64_t listen_drops = 0;      // TcpExtListenDrops
  std::uint64_t request_drops = 0;     // TcpExtTCPReqQFullDrop
  std::uint64_t reverse_path_drops = 0;
  bool left_over_table = false;  // an earlier droptrace's
};

// A line of /proc/net/netfilter/nfnetlink_queue.
struct QueueFacts {
  std::uint16_t number = 0;
  std::uint64_t waiting = 0;
  std::uint64_t queue_dropped = 0;  // it was full
  std::uint64_t user_dropped = 0;   // its listener's socket was full
};

struct NodeFacts {
  NamespaceFacts node;
  std::vector<NamespaceFacts> pods;
  bool uses_ipv6 = false;  // a service or pod CIDR is of IPv6
  // Sysctls of all interfaces; absent if they could not be read.
  std::optional<unsigned> ip_forward;
  std::optional<unsigned> ipv6_forwarding;
  std::optional<unsigned> arp_ignore;
  std::optional<unsigned> rp_filter;
  std::optional<unsigned> route_localnet;
  std::optional<std::uint64_t> conntrack_count;
  std::optional<std::uint64_t> conntrack_max;
  std::uint64_t conntrack_drops = 0;  // for want of room in the table
  std::vector<QueueFacts> queues;     // that somebody listens to
  Ruleset rules;                      // of the node
  bool rules_known = false;
};

// Lines of the queues' file; malformed ones are passed over.
std::vector<QueueFacts> parse_nfnetlink_queue(std::string_view text);

// A counter of /proc/net/netstat or snmp ("TcpExt", "ListenDrops"), whose lines come in pairs of
// names and values; 0 if it is not there.
std::uint64_t parse_snmp_counter(std::string_view text, std::string_view group,
                                 std::string_view name);

// The sum of a column of /proc/net/stat/nf_conntrack: hexadecimal numbers, a line for each CPU.
std::uint64_t parse_conntrack_stat(std::string_view text, std::string_view column);

// True if /proc/net/route has a default route that is up.
bool has_default_route(std::string_view text);

// One finding at least for each thing that is looked at.
std::vector<Finding> check_node(const NodeFacts& facts);

}  // namespace droptrace
