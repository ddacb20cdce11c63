// SPDX-License-Identifier: GPL-2.0-only
// A packet's headers, parsed from the bytes that were captured. What was not captured is not known.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "core/address.h"

namespace droptrace {

enum class L3 { kIpv4, kIpv6, kArp, kOther };

// TCP flag bits (RFC 9293 §3.1, RFC 3168).
enum TcpFlag : std::uint8_t {
  kTcpFin = 0x01,
  kTcpSyn = 0x02,
  kTcpRst = 0x04,
  kTcpPush = 0x08,
  kTcpAck = 0x10,
  kTcpUrgent = 0x20,
  kTcpEce = 0x40,
  kTcpCwr = 0x80,
};

// All numbers in host order.
struct Packet {
  L3 l3 = L3::kOther;
  std::optional<std::uint16_t> ethertype;  // of the L3 header, behind any VLAN tags
  std::optional<std::uint16_t> vlan;       // id of the outer 802.1Q tag, if it is in the bytes
  std::optional<Address> src;              // ARP: sender protocol address
  std::optional<Address> dst;              // ARP: target protocol address
  std::optional<std::uint8_t> protocol;    // IPPROTO_*, behind any IPv6 extension headers
  std::optional<std::uint16_t> sport;
  std::optional<std::uint16_t> dport;
  std::optional<std::uint8_t> tcp_flags;
  std::optional<std::uint32_t> seq;
  std::optional<std::uint8_t> icmp_type;
  std::optional<std::uint8_t> icmp_code;
  std::optional<std::uint8_t> ttl;  // IPv6: hop limit
  bool later_fragment = false;      // carries no L4 header
  std::uint32_t length = 0;         // bytes on the wire, from L3

  // Source, destination and protocol, if the packet is IP and its protocol is known.
  std::optional<Tuple> tuple() const;
  // A TCP connection attempt: SYN set, ACK clear.
  bool is_syn() const;
};

// Parses bytes that start at L3 or, where ethertype is a VLAN tag's, right behind that type.
// ethertype (host order) says what the bytes are; 0 means not known, then the IP version nibble
// decides. length is the packet's real length from there on. Never fails: what the bytes do not
// reach, or contradict, stays unset (RFC 791, RFC 8200, RFC 826, RFC 9293).
Packet parse_packet(std::span<const std::uint8_t> bytes, std::uint16_t ethertype,
                    std::uint32_t length);

// tcpdump's letters in tcpdump's order: "S", "S.", "R.", "FP.", "SEW"; "none" if no flag is set.
std::string tcp_flags_text(std::uint8_t flags);

// "tcp", "udp", "icmp", "icmpv6", "sctp", else the number.
std::string protocol_name(std::uint8_t protocol);

}  // namespace droptrace
