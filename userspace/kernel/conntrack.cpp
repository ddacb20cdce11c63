// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace droptrace {

namespace {

constexpr std::uint16_t message_type(unsigned message) {
  return static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8U | message);
}

void append_tuple(NetlinkMessage& message, const Tuple& tuple) {
  const bool v6 = tuple.src.address.v6;
  const std::size_t size = v6 ? 16 : 4;
  const std::uint16_t sport = htons(tuple.src.port.value_or(0));
  const std::uint16_t dport = htons(tuple.dst.port.value_or(0));
  message.begin(CTA_TUPLE_ORIG)
      .begin(CTA_TUPLE_IP)
      .attribute(v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, tuple.src.address.bytes.data(), size)
      .attribute(v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, tuple.dst.address.bytes.data(), size)
      .end()
      .begin(CTA_TUPLE_PROTO)
      .attribute(CTA_PROTO_NUM, &tuple.protocol, sizeof(tuple.protocol))
      .attribute(CTA_PROTO_SRC_PORT, &sport, sizeof(sport))
      .attribute(CTA_PROTO_DST_PORT, &dport, sizeof(dport))
      .end()
      .end();
}

std::optional<Address> address_of(const NetlinkAttributes& ip, std::uint16_t v4, std::uint16_t v6) {
  for (const std::uint16_t type : {v4, v6}) {
    if (const auto found = ip.find(type); found != ip.end())
      return address_from_bytes(
          {reinterpret_cast<const std::uint8_t*>(found->second.data()), found->second.size()});
  }
  return std::nullopt;
}

std::optional<Tuple> parse_tuple(const NetlinkAttributes& entry, std::uint16_t type) {
  const auto nested = entry.find(type);
  if (nested == entry.end()) return std::nullopt;
  const auto parts = parse_attributes(nested->second);
  const auto ip_part = parts.find(CTA_TUPLE_IP);
  const auto protocol_part = parts.find(CTA_TUPLE_PROTO);
  if (ip_part == parts.end() || protocol_part == parts.end()) return std::nullopt;
  const auto ip = parse_attributes(ip_part->second);
  const auto protocol = parse_attributes(protocol_part->second);
  const auto src = address_of(ip, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
  const auto dst = address_of(ip, CTA_IP_V4_DST, CTA_IP_V6_DST);
  const auto number = attribute_as<std::uint8_t>(protocol, CTA_PROTO_NUM);
  if (!src || !dst || !number) return std::nullopt;
  Tuple tuple{{*src, {}}, {*dst, {}}, *number};
  if (const auto port = attribute_as<std::uint16_t>(protocol, CTA_PROTO_SRC_PORT))
    tuple.src.port = ntohs(*port);
  if (const auto port = attribute_as<std::uint16_t>(protocol, CTA_PROTO_DST_PORT))
    tuple.dst.port = ntohs(*port);
  return tuple;
}

std::optional<Conntrack> get_entry(NetlinkSocket& socket, const Tuple& tuple, int& error) {
  NetlinkMessage message(message_type(IPCTNL_MSG_CT_GET), NLM_F_ACK);
  nfgenmsg header{};
  header.nfgen_family = tuple.src.address.v6 ? AF_INET6 : AF_INET;
  header.version = NFNETLINK_V0;
  message.header(header);
  append_tuple(message, tuple);
  std::optional<Conntrack> entry;
  error = socket.request(message, [&](std::uint16_t type, auto payload) {
    if (type != message_type(IPCTNL_MSG_CT_NEW) || payload.size() < sizeof(nfgenmsg)) return;
    const auto attributes = parse_attributes(payload.subspan(sizeof(nfgenmsg)));
    const auto original = parse_tuple(attributes, CTA_TUPLE_ORIG);
    const auto reply = parse_tuple(attributes, CTA_TUPLE_REPLY);
    if (!original || !reply) return;
    const auto status = attribute_as<std::uint32_t>(attributes, CTA_STATUS);
    entry = Conntrack{*original, *reply, status ? ntohl(*status) : 0, false};
  });
  if (error != 0) return std::nullopt;
  return entry;
}

}  // namespace

std::optional<Conntrack> find_conntrack(NetlinkSocket& socket, const Tuple& packet) {
  // Behind the node's NAT a packet carries the reply tuple (from the server) or its mirror image
  // (to the server); the kernel finds an entry by either of its tuples.
  int unused = 0;
  auto entry = get_entry(socket, packet.reversed(), unused);
  if (!entry) entry = get_entry(socket, packet, unused);
  if (entry)
    entry->reply_direction = packet == entry->reply || packet == entry->original.reversed();
  return entry;
}

std::optional<Conntrack> find_dialled(NetlinkSocket& socket, const Tuple& dialled, int& error) {
  auto entry = get_entry(socket, dialled, error);
  if (!entry || entry->original == dialled) return entry;
  error = ENOENT;  // a connection that the server has dialled
  return std::nullopt;
}

}  // namespace droptrace
