// SPDX-License-Identifier: GPL-2.0-only
// Links, addresses and routes of a network namespace, by rtnetlink(7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/world.h"
#include "kernel/netlink.h"

namespace droptrace {

struct LinkFact {
  std::uint32_t ifindex = 0;
  std::string name;
  std::string kind;                           // IFLA_INFO_KIND: "veth", "bridge", …
  std::optional<std::uint32_t> link_ifindex;  // IFLA_LINK: of a veth, its peer
  std::optional<std::int32_t> link_nsid;      // namespace of that link; absent: this one
};

// Of the namespace that the socket is in; nullopt if the kernel did not answer.
std::optional<std::vector<LinkFact>> read_links(NetlinkSocket& socket);
std::optional<std::vector<Address>> read_addresses(NetlinkSocket& socket);

// Interfaces that default routes of the main table leave by. nullopt if the kernel did not answer.
std::optional<std::set<std::uint32_t>> read_default_route_links(NetlinkSocket& socket);

// The routes of the main table that lead over a gateway, at most so many.
std::optional<std::vector<Route>> read_gateway_routes(NetlinkSocket& socket, std::size_t most);

// The number by which the socket's namespace knows another one, given as an open file; nullopt if
// it has none.
std::optional<std::int32_t> nsid_of(NetlinkSocket& socket, int netns_fd);

}  // namespace droptrace
