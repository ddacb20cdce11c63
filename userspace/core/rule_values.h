// SPDX-License-Identifier: GPL-2.0-only
// The words for values in nft's and iptables' dumps: protocols, flags, states, types.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace droptrace {

// A number in decimal or, behind "0x", in hexadecimal; nullopt if text is anything else or too big.
std::optional<std::uint64_t> number_of_text(std::string_view text);

// "tcp", "ipv6-icmp", "6"; IPPROTO_*.
std::optional<std::uint8_t> protocol_of_text(std::string_view text);
// "syn" or "SYN", "ALL", "NONE"; bits of the TCP header.
std::optional<std::uint8_t> tcp_flag_of_text(std::string_view text);
// "new", "ESTABLISHED"; NF_CT_STATE_BIT() of nft and xt_conntrack alike.
std::optional<std::uint32_t> ct_state_of_text(std::string_view text);
// "snat", "assured"; IPS_*.
std::optional<std::uint32_t> ct_status_of_text(std::string_view text);
// "echo-request", "nd-neighbor-solicit"; protocol is IPPROTO_ICMP or IPPROTO_ICMPV6.
std::optional<std::uint8_t> icmp_type_of_text(std::string_view text, std::uint8_t protocol);
// "local", "UNICAST"; RTN_*.
std::optional<std::uint8_t> address_type_of_text(std::string_view text);

// Bits of struct PacketFacts' ct_states.
inline constexpr std::uint32_t kCtInvalid = 1;
inline constexpr std::uint32_t kCtEstablished = 2;
inline constexpr std::uint32_t kCtRelated = 4;
inline constexpr std::uint32_t kCtNew = 8;
inline constexpr std::uint32_t kCtUntracked = 64;

}  // namespace droptrace
