// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/route.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>

namespace droptrace {

namespace {

// Splits a payload into its fixed header and attributes; nullopt if it is too short.
template <typename Header>
std::optional<std::pair<Header, NetlinkAttributes>> split(std::span<const std::byte> payload) {
  if (payload.size() < NLMSG_ALIGN(sizeof(Header))) return std::nullopt;
  Header header;
  std::memcpy(&header, payload.data(), sizeof(header));
  return std::pair{header, parse_attributes(payload.subspan(NLMSG_ALIGN(sizeof(Header))))};
}

// An attribute's address; nullopt if there is none.
std::optional<Address> attribute_address(const NetlinkAttributes& attributes, std::uint16_t type) {
  const auto found = attributes.find(type);
  if (found == attributes.end()) return std::nullopt;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(found->second.data());
  return address_from_bytes({bytes, found->second.size()});
}

}  // namespace

std::optional<std::vector<LinkFact>> read_links(NetlinkSocket& socket) {
  std::vector<LinkFact> links;
  NetlinkMessage message(RTM_GETLINK, NLM_F_DUMP);
  message.header(ifinfomsg{});
  // Statistics would be most of the answer.
  const std::uint32_t filter = RTEXT_FILTER_SKIP_STATS;
  message.attribute(IFLA_EXT_MASK, &filter, sizeof(filter));
  const int error = socket.request(message, [&](std::uint16_t type, auto payload) {
    const auto parts = split<ifinfomsg>(payload);
    if (type != RTM_NEWLINK || !parts) return;
    const auto& [header, attributes] = *parts;
    LinkFact link;
    link.ifindex = static_cast<std::uint32_t>(header.ifi_index);
    link.name = attribute_text(attributes, IFLA_IFNAME);
    link.link_ifindex = attribute_as<std::uint32_t>(attributes, IFLA_LINK);
    link.link_nsid = attribute_as<std::int32_t>(attributes, IFLA_LINK_NETNSID);
    if (const auto info = attributes.find(IFLA_LINKINFO); info != attributes.end())
      link.kind = attribute_text(parse_attributes(info->second), IFLA_INFO_KIND);
    links.push_back(std::move(link));
  });
  if (error != 0) return std::nullopt;
  return links;
}

std::optional<std::vector<Address>> read_addresses(NetlinkSocket& socket) {
  std::vector<Address> addresses;
  NetlinkMessage message(RTM_GETADDR, NLM_F_DUMP);
  message.header(ifaddrmsg{});
  const int error = socket.request(message, [&](std::uint16_t type, auto payload) {
    const auto parts = split<ifaddrmsg>(payload);
    if (type != RTM_NEWADDR || !parts) return;
    // On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is ours where it is given.
    const auto& attributes = parts->second;
    auto address = attribute_address(attributes, IFA_LOCAL);
    if (!address) address = attribute_address(attributes, IFA_ADDRESS);
    if (address) addresses.push_back(*address);
  });
  if (error != 0) return std::nullopt;
  return addresses;
}

std::optional<std::set<std::uint32_t>> read_default_route_links(NetlinkSocket& socket) {
  std::set<std::uint32_t> links;
  NetlinkMessage message(RTM_GETROUTE, NLM_F_DUMP);
  message.header(rtmsg{});
  const int error = socket.request(message, [&](std::uint16_t type, auto payload) {
    const auto parts = split<rtmsg>(payload);
    if (type != RTM_NEWROUTE || !parts) return;
    const auto& [header, attributes] = *parts;
    if (header.rtm_dst_len != 0 || header.rtm_table != RT_TABLE_MAIN ||
        header.rtm_type != RTN_UNICAST)
      return;
    if (const auto link = attribute_as<std::uint32_t>(attributes, RTA_OIF)) links.insert(*link);
  });
  if (error != 0) return std::nullopt;
  return links;
}

std::optional<std::vector<Route>> read_gateway_routes(NetlinkSocket& socket, std::size_t most) {
  std::vector<Route> routes;
  NetlinkMessage message(RTM_GETROUTE, NLM_F_DUMP);
  message.header(rtmsg{});
  const int error = socket.request(message, [&](std::uint16_t type, auto payload) {
    const auto parts = split<rtmsg>(payload);
    if (type != RTM_NEWROUTE || !parts || routes.size() == most) return;
    const auto& [header, attributes] = *parts;
    if (header.rtm_table != RT_TABLE_MAIN || header.rtm_type != RTN_UNICAST) return;
    const auto destination = attribute_address(attributes, RTA_DST);
    const auto gateway = attribute_address(attributes, RTA_GATEWAY);
    if (destination && gateway) routes.push_back({{*destination, header.rtm_dst_len}, *gateway});
  });
  if (error != 0) return std::nullopt;
  return routes;
}

std::optional<std::int32_t> nsid_of(NetlinkSocket& socket, int netns_fd) {
  std::optional<std::int32_t> nsid;
  const auto fd = static_cast<std::uint32_t>(netns_fd);
  // The answer is a single message; the acknowledgement behind it marks the end.
  NetlinkMessage message(RTM_GETNSID, NLM_F_ACK);
  message.header(rtgenmsg{}).attribute(NETNSA_FD, &fd, sizeof(fd));
  const int error = socket.request(message, [&](std::uint16_t, auto payload) {
    if (const auto parts = split<rtgenmsg>(payload))
      nsid = attribute_as<std::int32_t>(parts->second, NETNSA_NSID);
  });
  if (error != 0 || (nsid && *nsid < 0)) return std::nullopt;
  return nsid;
}

}  // namespace droptrace
