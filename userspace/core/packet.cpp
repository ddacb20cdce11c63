// SPDX-License-Identifier: GPL-2.0-only
#include "core/packet.h"

#include <linux/if_ether.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace droptrace {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kVlanTagSize = 4;
constexpr std::size_t kIpv4MinHeaderSize = 20;
constexpr std::size_t kIpv6HeaderSize = 40;
// RFC 8200 §4.1 has six before the upper layer, each at most once but for destination options.
constexpr int kMaxExtensionHeaders = 8;

// The number in network order at offset; nullopt if the bytes do not reach its end.
template <typename Number>
std::optional<Number> number_at(Bytes bytes, std::size_t offset) {
  if (bytes.size() < offset + sizeof(Number)) return std::nullopt;
  Number number = 0;
  for (const std::uint8_t byte : bytes.subspan(offset, sizeof(Number))) {
    number = static_cast<Number>(number << 8 | byte);
  }
  return number;
}

std::optional<Address> address_at(Bytes bytes, std::size_t offset, std::size_t size) {
  if (bytes.size() < offset + size) return std::nullopt;
  return address_from_bytes(bytes.subspan(offset, size));
}

// What follows the first size bytes; empty if there is nothing.
Bytes behind(Bytes bytes, std::size_t size) { return bytes.subspan(std::min(size, bytes.size())); }

bool is_vlan_tag(std::uint16_t ethertype) {
  return ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD;
}

bool contradicts_version(Bytes bytes, unsigned version) {
  return !bytes.empty() && bytes[0] >> 4 != version;
}

std::optional<std::uint16_t> ethertype_from_version(Bytes bytes) {
  if (bytes.empty()) return std::nullopt;
  switch (bytes[0] >> 4) {
    case 4:
      return ETH_P_IP;
    case 6:
      return ETH_P_IPV6;
    default:
      return std::nullopt;
  }
}

void parse_l4(std::uint8_t protocol, Bytes bytes, Packet& packet) {
  switch (protocol) {
    case IPPROTO_TCP:
      packet.seq = number_at<std::uint32_t>(bytes, 4);
      packet.tcp_flags = number_at<std::uint8_t>(bytes, 13);
      [[fallthrough]];
    case IPPROTO_UDP:
    case IPPROTO_SCTP:
      packet.sport = number_at<std::uint16_t>(bytes, 0);
      packet.dport = number_at<std::uint16_t>(bytes, 2);
      break;
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
      packet.icmp_type = number_at<std::uint8_t>(bytes, 0);
      packet.icmp_code = number_at<std::uint8_t>(bytes, 1);
      break;
    default:
      break;
  }
}

void parse_ipv4(Bytes bytes, Packet& packet) {
  if (contradicts_version(bytes, 4)) return;
  packet.l3 = L3::kIpv4;
  const std::uint16_t fragment = number_at<std::uint16_t>(bytes, 6).value_or(0);
  packet.later_fragment = (fragment & 0x1fff) != 0;
  packet.ttl = number_at<std::uint8_t>(bytes, 8);
  packet.protocol = number_at<std::uint8_t>(bytes, 9);
  packet.src = address_at(bytes, 12, 4);
  packet.dst = address_at(bytes, 16, 4);
  if (!packet.protocol || packet.later_fragment) return;

  // The total length is not consulted: a packet that was dropped on its way out may not have it
  // yet.
  const std::size_t header_size = std::size_t{4} * (bytes[0] & 0x0f);
  if (header_size < kIpv4MinHeaderSize) return;
  parse_l4(*packet.protocol, behind(bytes, header_size), packet);
}

// Bytes of an IPv6 extension header whose second byte is length; nullopt if header is none.
std::optional<std::size_t> extension_size(std::uint8_t header, std::uint8_t length) {
  switch (header) {
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_DSTOPTS:
      return 8 * (length + std::size_t{1});
    case IPPROTO_FRAGMENT:
      return 8;
    case IPPROTO_AH:  // RFC 4302 §2.2
      return 4 * (length + std::size_t{2});
    default:
      return std::nullopt;
  }
}

void parse_ipv6(Bytes bytes, Packet& packet) {
  if (contradicts_version(bytes, 6)) return;
  packet.l3 = L3::kIpv6;
  std::optional<std::uint8_t> next = number_at<std::uint8_t>(bytes, 6);
  packet.ttl = number_at<std::uint8_t>(bytes, 7);
  packet.src = address_at(bytes, 8, 16);
  packet.dst = address_at(bytes, 24, 16);

  bytes = behind(bytes, kIpv6HeaderSize);
  for (int headers = 0; next; ++headers) {
    // If the length was not captured, nothing behind this header was either, whatever its size.
    const std::uint8_t length = number_at<std::uint8_t>(bytes, 1).value_or(0);
    const std::optional<std::size_t> size = extension_size(*next, length);
    if (!size) break;
    // The rest of a later fragment's chain travels in the first one.
    if (packet.later_fragment || headers == kMaxExtensionHeaders) return;
    if (*next == IPPROTO_FRAGMENT) {
      const std::uint16_t fragment = number_at<std::uint16_t>(bytes, 2).value_or(0);
      packet.later_fragment = (fragment & 0xfff8) != 0;
    }
    next = number_at<std::uint8_t>(bytes, 0);
    bytes = behind(bytes, *size);
  }
  packet.protocol = next;
  if (next && !packet.later_fragment) parse_l4(*next, bytes, packet);
}

// RFC 826, for IPv4 over Ethernet; other addresses have no place in a Packet.
void parse_arp(Bytes bytes, Packet& packet) {
  packet.l3 = L3::kArp;
  if (number_at<std::uint16_t>(bytes, 2) != ETH_P_IP ||
      number_at<std::uint8_t>(bytes, 4) != ETH_ALEN || number_at<std::uint8_t>(bytes, 5) != 4) {
    return;
  }
  packet.src = address_at(bytes, 14, 4);
  packet.dst = address_at(bytes, 24, 4);
}

}  // namespace

std::optional<Tuple> Packet::tuple() const {
  if (!src || !dst || !protocol) return std::nullopt;
  return Tuple{{*src, sport}, {*dst, dport}, *protocol};
}

bool Packet::is_syn() const { return tcp_flags && (*tcp_flags & (kTcpSyn | kTcpAck)) == kTcpSyn; }

Packet parse_packet(std::span<const std::uint8_t> bytes, std::uint16_t ethertype,
                    std::uint32_t length) {
  Packet packet;
  packet.length = length;
  packet.ethertype = ethertype != 0 ? ethertype : ethertype_from_version(bytes);
  while (is_vlan_tag(packet.ethertype.value_or(0))) {
    const std::optional<std::uint16_t> tag = number_at<std::uint16_t>(bytes, 0);
    if (tag && !packet.vlan) packet.vlan = *tag & 0x0fff;
    packet.ethertype = number_at<std::uint16_t>(bytes, 2);
    packet.length -= std::min<std::uint32_t>(packet.length, kVlanTagSize);
    bytes = behind(bytes, kVlanTagSize);
  }
  if (packet.ethertype == ETH_P_IP) {
    parse_ipv4(bytes, packet);
  } else if (packet.ethertype == ETH_P_IPV6) {
    parse_ipv6(bytes, packet);
  } else if (packet.ethertype == ETH_P_ARP) {
    parse_arp(bytes, packet);
  }
  return packet;
}

std::string tcp_flags_text(std::uint8_t flags) {
  static constexpr std::pair<TcpFlag, char> kLetters[] = {
      {kTcpFin, 'F'}, {kTcpSyn, 'S'},    {kTcpRst, 'R'}, {kTcpPush, 'P'},
      {kTcpAck, '.'}, {kTcpUrgent, 'U'}, {kTcpEce, 'E'}, {kTcpCwr, 'W'},
  };
  std::string text;
  for (const auto& [flag, letter] : kLetters) {
    if ((flags & flag) != 0) text += letter;
  }
  return text.empty() ? "none" : text;
}

std::string protocol_name(std::uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
      return "tcp";
    case IPPROTO_UDP:
      return "udp";
    case IPPROTO_ICMP:
      return "icmp";
    case IPPROTO_ICMPV6:
      return "icmpv6";
    case IPPROTO_SCTP:
      return "sctp";
    default:
      return std::to_string(protocol);
  }
}

}  // namespace droptrace
