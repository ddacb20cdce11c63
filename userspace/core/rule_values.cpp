// SPDX-License-Identifier: GPL-2.0-only
#include "core/rule_values.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <system_error>

#include "core/packet.h"

namespace droptrace {
namespace {

struct Word {
  std::string_view text;  // in lower case
  std::uint32_t value = 0;
};

constexpr Word kProtocols[] = {
    {"tcp", IPPROTO_TCP},
    {"udp", IPPROTO_UDP},
    {"icmp", IPPROTO_ICMP},
    {"icmpv6", IPPROTO_ICMPV6},
    {"icmp6", IPPROTO_ICMPV6},
    {"ipv6-icmp", IPPROTO_ICMPV6},
    {"sctp", IPPROTO_SCTP},
    {"dccp", IPPROTO_DCCP},
    {"udplite", IPPROTO_UDPLITE},
    {"esp", IPPROTO_ESP},
    {"ah", IPPROTO_AH},
    {"gre", IPPROTO_GRE},
    {"igmp", IPPROTO_IGMP},
    {"comp", IPPROTO_COMP},
    {"ipcomp", IPPROTO_COMP},
    {"ipencap", IPPROTO_IPIP},
    {"ipip", IPPROTO_IPIP},
    {"ipv6", IPPROTO_IPV6},
    {"ospf", 89},
    {"vrrp", 112},
};

constexpr Word kTcpFlags[] = {
    {"fin", kTcpFin},
    {"syn", kTcpSyn},
    {"rst", kTcpRst},
    {"psh", kTcpPush},
    {"ack", kTcpAck},
    {"urg", kTcpUrgent},
    {"ecn", kTcpEce},
    {"ece", kTcpEce},
    {"cwr", kTcpCwr},
    {"none", 0},
    {"all", kTcpFin | kTcpSyn | kTcpRst | kTcpPush | kTcpAck | kTcpUrgent},  // iptables has no more
};

constexpr Word kCtStates[] = {
    {"invalid", kCtInvalid}, {"established", kCtEstablished}, {"related", kCtRelated},
    {"new", kCtNew},         {"untracked", kCtUntracked},
};

constexpr Word kCtStatuses[] = {
    {"expected", IPS_EXPECTED},   {"seen-reply", IPS_SEEN_REPLY}, {"assured", IPS_ASSURED},
    {"confirmed", IPS_CONFIRMED}, {"snat", IPS_SRC_NAT},          {"dnat", IPS_DST_NAT},
    {"dying", IPS_DYING},
};

// RFC 792.
constexpr Word kIcmpTypes[] = {
    {"echo-reply", 0},         {"destination-unreachable", 3},
    {"source-quench", 4},      {"redirect", 5},
    {"echo-request", 8},       {"router-advertisement", 9},
    {"time-exceeded", 11},     {"router-solicitation", 10},
    {"parameter-problem", 12}, {"timestamp-request", 13},
    {"timestamp-reply", 14},
};

// RFC 4443, RFC 4861, RFC 2710, RFC 3810.
constexpr Word kIcmp6Types[] = {
    {"destination-unreachable", 1},  {"packet-too-big", 2},        {"time-exceeded", 3},
    {"parameter-problem", 4},        {"echo-request", 128},        {"echo-reply", 129},
    {"mld-listener-query", 130},     {"mld-listener-report", 131}, {"mld-listener-done", 132},
    {"mld-listener-reduction", 132}, {"nd-router-solicit", 133},   {"nd-router-advert", 134},
    {"nd-neighbor-solicit", 135},    {"nd-neighbor-advert", 136},  {"nd-redirect", 137},
    {"mld2-listener-report", 143},
};

constexpr Word kAddressTypes[] = {
    {"unspec", RTN_UNSPEC},       {"unicast", RTN_UNICAST},         {"local", RTN_LOCAL},
    {"broadcast", RTN_BROADCAST}, {"anycast", RTN_ANYCAST},         {"multicast", RTN_MULTICAST},
    {"blackhole", RTN_BLACKHOLE}, {"unreachable", RTN_UNREACHABLE}, {"prohibit", RTN_PROHIBIT},
    {"throw", RTN_THROW},
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

template <typename Number>
std::optional<Number> find_word(std::span<const Word> words, std::string_view text) {
  const auto word = std::ranges::find_if(
      words, [&](const Word& each) { return std::ranges::equal(each.text, text, {}, {}, lower); });
  if (word == words.end()) return std::nullopt;
  return static_cast<Number>(word->value);
}

std::optional<std::uint8_t> small_number(std::string_view text) {
  const auto number = number_of_text(text);
  if (!number || *number > 0xff) return std::nullopt;
  return static_cast<std::uint8_t>(*number);
}

}  // namespace

std::optional<std::uint64_t> number_of_text(std::string_view text) {
  const bool hex = text.starts_with("0x");
  if (hex) text.remove_prefix(2);
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, hex ? 16 : 10);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return number;
}

std::optional<std::uint8_t> protocol_of_text(std::string_view text) {
  const auto known = find_word<std::uint8_t>(kProtocols, text);
  return known ? known : small_number(text);
}

std::optional<std::uint8_t> tcp_flag_of_text(std::string_view text) {
  return find_word<std::uint8_t>(kTcpFlags, text);
}

std::optional<std::uint32_t> ct_state_of_text(std::string_view text) {
  return find_word<std::uint32_t>(kCtStates, text);
}

std::optional<std::uint32_t> ct_status_of_text(std::string_view text) {
  return find_word<std::uint32_t>(kCtStatuses, text);
}

std::optional<std::uint8_t> icmp_type_of_text(std::string_view text, std::uint8_t protocol) {
  const auto known = protocol == IPPROTO_ICMPV6 ? find_word<std::uint8_t>(kIcmp6Types, text)
                                                : find_word<std::uint8_t>(kIcmpTypes, text);
  return known ? known : small_number(text);
}

std::optional<std::uint8_t> address_type_of_text(std::string_view text) {
  return find_word<std::uint8_t>(kAddressTypes, text);
}

}  // namespace droptrace
