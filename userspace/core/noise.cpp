// SPDX-License-Identifier: GPL-2.0-only
#include "core/noise.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>

#include <algorithm>
#include <array>

namespace droptrace {
namespace {

bool any_packet(const Packet&) { return true; }

bool is_no_packet(const Packet& packet) {
  return packet.l3 == L3::kOther && !packet.ethertype && !packet.vlan;
}

bool is_reset(const Packet& packet) { return packet.tcp_flags && (*packet.tcp_flags & kTcpRst); }

bool closes_connection(const Packet& packet) {
  return packet.tcp_flags && (*packet.tcp_flags & (kTcpFin | kTcpRst));
}

bool is_mere_syn(const Packet& packet) {
  return packet.is_syn() && (*packet.tcp_flags & (kTcpFin | kTcpRst)) == 0;
}

bool is_redirect(const Packet& packet) {
  return (packet.protocol == IPPROTO_ICMP && packet.icmp_type == ICMP_REDIRECT) ||
         (packet.protocol == IPPROTO_ICMPV6 && packet.icmp_type == ND_REDIRECT);
}

bool is_neighbour_discovery(const Packet& packet) {
  return packet.protocol == IPPROTO_ICMPV6 && packet.icmp_type &&
         *packet.icmp_type >= ND_ROUTER_SOLICIT && *packet.icmp_type <= ND_NEIGHBOR_ADVERT;
}

struct HarmlessDrop {
  std::string_view reason;    // empty: any
  std::string_view function;  // empty: any
  bool (*matches)(const Packet&);
  std::string_view why;
};

constexpr auto kHarmlessDrops = std::to_array<HarmlessDrop>({
    {"", "", is_no_packet, "not a network packet"},
    {"QUEUE_PURGE", "", any_packet, "left in the queue of a socket that closed"},
    // Before the reason above existed (Linux 6.7).
    {"NOT_SPECIFIED", "skb_queue_purge", any_packet, "left in the queue of a socket that closed"},
    {"NOT_SPECIFIED", "tcp_v4_rcv", closes_connection, "end of a TCP connection"},
    {"NOT_SPECIFIED", "tcp_v6_rcv", closes_connection, "end of a TCP connection"},
    // The request that its first SYN has made is still there: tcp_check_req() answers once more. A
    // SYN that finds no room is freed without a reason, by another function.
    {"NOT_SPECIFIED", "tcp_v4_rcv", is_mere_syn, kRepeatedSyn},
    {"NOT_SPECIFIED", "tcp_v6_rcv", is_mere_syn, kRepeatedSyn},
    {"NO_SOCKET", "", is_reset, "reset of a connection that is gone already"},
    {"TCP_OLD_DATA", "", any_packet, "retransmission of data that had arrived"},
    // nf_nat_icmp_reply_translation() drops redirects of flows under NAT: whoever followed one
    // would go around the translation. A pod that reaches itself through its service causes them.
    {"NETFILTER_DROP", "nf_hook_slow", is_redirect, "ICMP redirect of a flow under NAT"},
    {"NOT_SPECIFIED", "ip6_mc_input", any_packet, "IPv6 multicast without a listener here"},
    {"IPV6DISABLED", "", is_neighbour_discovery, "neighbour discovery where IPv6 is off"},
});

}  // namespace

std::string_view noise_reason(std::string_view reason, std::string_view function,
                              const Packet& packet) {
  // What waited for a neighbour was never delivered, even if its queue is purged as any other.
  if (function.starts_with("neigh_")) return {};
  const auto found = std::ranges::find_if(kHarmlessDrops, [&](const HarmlessDrop& drop) {
    if (packet.is_syn() && drop.matches != is_mere_syn) return false;
    return (drop.reason.empty() || drop.reason == reason) &&
           (drop.function.empty() || drop.function == function) && drop.matches(packet);
  });
  return found == kHarmlessDrops.end() ? std::string_view{} : found->why;
}

}  // namespace droptrace
