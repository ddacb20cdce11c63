// SPDX-License-Identifier: GPL-2.0-only
// What a network namespace's files under /proc/net tell of packets that died without being freed as
// dropped.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"

namespace droptrace {

// An NFQUEUE as /proc/net/netfilter/nfnetlink_queue has it.
struct QueueState {
  std::uint32_t number = 0;
  std::uint32_t portid = 0;  // of its listener's socket: mostly its process id
  std::uint32_t waiting = 0;
  std::string owner;  // comm of that process; empty: not known

  bool operator==(const QueueState&) const = default;
};

struct NetCounters {
  // "TcpExt.ListenOverflows", "Ip.OutNoRoutes", "Ip6OutNoRoutes"; only what cause_of() asks for.
  std::map<std::string, std::uint64_t> counters;
  std::vector<QueueState> queues;
  std::set<Address> unresolved;                      // neighbours that do not answer
  std::map<std::uint16_t, std::uint32_t> listeners;  // port -> connections that wait to be accepted

  std::uint64_t value(const std::string& name) const;
};

// /proc/net/netstat and /proc/net/snmp: a line of names, then one of values.
void parse_counter_table(std::string_view text, NetCounters& counters);
// /proc/net/snmp6: a name and a value a line.
void parse_counter_list(std::string_view text, NetCounters& counters);
void parse_queues(std::string_view text, NetCounters& counters);
// /proc/net/arp
void parse_neighbours(std::string_view text, NetCounters& counters);
// /proc/net/tcp and /proc/net/tcp6
void parse_listeners(std::string_view text, NetCounters& counters);

}  // namespace droptrace
