// SPDX-License-Identifier: GPL-2.0-only
// The one thing that droptrace ever changes on a node, and only if it is allowed to: a table of
// nf_tables whose rules let the kernel tell the way of some packets through all other rules.
#pragma once

#include <optional>
#include <vector>

#include "core/address.h"
#include "kernel/netlink.h"

namespace droptrace {

// Which packets are traced: those that touch one of the networks, so many a second at most.
struct TraceScope {
  std::vector<Cidr> cidrs;
  bool syn_only = false;  // only TCP segments with SYN set
};

// A table of the name that such a table has (kTraceTable), in the socket's namespace.
struct TraceTable {
  bool owned = false;  // it belongs to a process that runs, and goes away with it
};

// nullopt if there is none. The socket is a NETLINK_NETFILTER.
std::optional<TraceTable> find_trace_table(NetlinkSocket& socket);

// Adds the table. It goes away when the socket is closed, however that happens, if the kernel knows
// tables with an owner (Linux 5.12, 6001a930ce03): owned says so. Returns 0 or an errno value.
int add_trace_table(NetlinkSocket& socket, const TraceScope& scope, bool& owned);

// Returns 0 or an errno value.
int remove_trace_table(NetlinkSocket& socket);

}  // namespace droptrace
