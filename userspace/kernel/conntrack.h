// SPDX-License-Identifier: GPL-2.0-only
// Looking up one connection in a namespace's conntrack table, by ctnetlink.
#pragma once

#include <optional>

#include "core/decode.h"
#include "kernel/netlink.h"

namespace droptrace {

// The conntrack entry that a packet with this tuple belongs to, in either direction; nullopt if
// there is none. One round trip (two for a packet of the reply direction); never creates an entry.
std::optional<Conntrack> find_conntrack(NetlinkSocket& socket, const Tuple& packet);

// The entry of the connection that was dialled so, before NAT. Sets error to 0, to ENOENT if there
// is none, or to why it cannot be said.
std::optional<Conntrack> find_dialled(NetlinkSocket& socket, const Tuple& dialled, int& error);

}  // namespace droptrace
