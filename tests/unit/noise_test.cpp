// SPDX-License-Identifier: GPL-2.0-only
#include "core/noise.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

#include <cstdint>
#include <string_view>

#include <doctest/doctest.h>

#include "tests/support/packet_builder.h"

namespace droptrace {
namespace {

Packet parse(const PacketBuilder& packet) {
  return parse_packet(packet.bytes(), packet.ethertype(), packet.length());
}

Packet tcp(int flags) {
  return parse(PacketBuilder{}
                   .ipv4("10.244.0.5", "10.244.0.6")
                   .tcp(40112, 8080, static_cast<std::uint8_t>(flags)));
}

Packet udp() { return parse(PacketBuilder{}.ipv4("10.244.0.5", "10.244.0.6").udp(40112, 53)); }

Packet icmp(std::uint8_t type) {
  return parse(PacketBuilder{}.ipv4("10.244.0.1", "10.244.0.5").icmp(type, 0));
}

Packet icmpv6(std::uint8_t type) {
  return parse(PacketBuilder{}.ipv6("fe80::1", "ff02::1").icmpv6(type, 0));
}

bool is_noise(std::string_view reason, std::string_view function, const Packet& packet) {
  return !noise_reason(reason, function, packet).empty();
}

TEST_CASE("what a closing socket had queued is noise") {
  CHECK(is_noise("QUEUE_PURGE", "inet_sock_destruct", tcp(kTcpAck | kTcpPush)));
  CHECK(is_noise("QUEUE_PURGE", "skb_queue_purge_reason", icmp(ICMP_DEST_UNREACH)));
}

TEST_CASE("what waited for a neighbour that was never found is no noise") {
  CHECK_FALSE(is_noise("QUEUE_PURGE", "neigh_destroy", udp()));
}

TEST_CASE("FIN and RST at the end of a TCP connection are noise") {
  CHECK(is_noise("NOT_SPECIFIED", "tcp_v4_rcv", tcp(kTcpFin | kTcpAck)));
  CHECK(is_noise("NOT_SPECIFIED", "tcp_v6_rcv", tcp(kTcpRst)));
  CHECK_FALSE(is_noise("NOT_SPECIFIED", "tcp_v4_rcv", tcp(kTcpAck | kTcpPush)));
  CHECK_FALSE(is_noise("NOT_SPECIFIED", "nfqnl_reinject", tcp(kTcpFin | kTcpAck)));
}

TEST_CASE("a reset that finds no socket is noise, a question that finds none is not") {
  CHECK(is_noise("NO_SOCKET", "tcp_v4_rcv", tcp(kTcpRst | kTcpAck)));
  CHECK_FALSE(is_noise("NO_SOCKET", "tcp_v4_rcv", tcp(kTcpSyn | kTcpAck)));
  CHECK_FALSE(is_noise("NO_SOCKET", "__udp4_lib_rcv", udp()));
}

TEST_CASE("a SYN is noise only where it is answered once more") {
  CHECK(noise_reason("NOT_SPECIFIED", "tcp_v4_rcv", tcp(kTcpSyn)) == kRepeatedSyn);
  CHECK(noise_reason("NOT_SPECIFIED", "tcp_v6_rcv", tcp(kTcpSyn)) == kRepeatedSyn);
  CHECK_FALSE(is_noise("NOT_SPECIFIED", "tcp_v4_rcv", tcp(kTcpSyn | kTcpAck)));
  CHECK_FALSE(is_noise("NOT_SPECIFIED", "tcp_v4_do_rcv", tcp(kTcpSyn)));
  CHECK_FALSE(is_noise("NO_SOCKET", "tcp_v4_rcv", tcp(kTcpSyn)));
  CHECK_FALSE(is_noise("QUEUE_PURGE", "skb_queue_purge_reason", tcp(kTcpSyn)));
}

TEST_CASE("data that arrives twice is noise") {
  CHECK(is_noise("TCP_OLD_DATA", "tcp_data_queue", tcp(kTcpAck)));
}

TEST_CASE("an ICMP redirect that NAT suppresses is noise") {
  CHECK(is_noise("NETFILTER_DROP", "nf_hook_slow", icmp(ICMP_REDIRECT)));
  CHECK(is_noise("NETFILTER_DROP", "nf_hook_slow", icmpv6(ND_REDIRECT)));
  CHECK_FALSE(is_noise("NETFILTER_DROP", "nft_do_chain", icmp(ICMP_REDIRECT)));
  CHECK_FALSE(is_noise("NETFILTER_DROP", "nf_hook_slow", icmp(ICMP_DEST_UNREACH)));
  CHECK_FALSE(is_noise("NETFILTER_DROP", "nf_hook_slow", udp()));
}

TEST_CASE("IPv6 multicast without a listener is noise") {
  CHECK(is_noise("NOT_SPECIFIED", "ip6_mc_input", icmpv6(MLD_LISTENER_REPORT)));
  CHECK_FALSE(is_noise("NOT_SPECIFIED", "ip6_input_finish", icmpv6(MLD_LISTENER_REPORT)));
}

TEST_CASE("neighbour discovery where IPv6 is off is noise, other IPv6 there is not") {
  CHECK(is_noise("IPV6DISABLED", "ip6_rcv_core", icmpv6(ND_ROUTER_SOLICIT)));
  CHECK(is_noise("IPV6DISABLED", "ip6_rcv_core", icmpv6(ND_NEIGHBOR_SOLICIT)));
  CHECK_FALSE(is_noise("IPV6DISABLED", "ip6_rcv_core", icmpv6(ICMP6_ECHO_REQUEST)));
}

TEST_CASE("an skb without a network packet is noise whatever the reason") {
  CHECK(is_noise("NOT_SPECIFIED", "unix_release_sock", Packet{}));
  CHECK(is_noise("SOCKET_FILTER", "netlink_broadcast", Packet{}));
}

TEST_CASE("an unknown ethertype is a network packet") {
  Packet lldp;
  lldp.ethertype = 0x88cc;
  CHECK_FALSE(is_noise("UNHANDLED_PROTO", "__netif_receive_skb_core", lldp));
}

TEST_CASE("a SYN that is dropped anywhere else is no noise") {
  const Packet syn = tcp(kTcpSyn);
  CHECK_FALSE(is_noise("QUEUE_PURGE", "inet_sock_destruct", syn));
  CHECK_FALSE(is_noise("TCP_OLD_DATA", "tcp_data_queue", syn));
  CHECK_FALSE(is_noise("NOT_SPECIFIED", "tcp_v4_rcv", tcp(kTcpSyn | kTcpFin)));
  CHECK_FALSE(is_noise("NO_SOCKET", "tcp_v4_rcv", tcp(kTcpSyn | kTcpRst)));
}

TEST_CASE("a drop that no row knows is no noise") {
  CHECK_FALSE(is_noise("NETFILTER_DROP", "nft_do_chain", tcp(kTcpAck)));
  CHECK_FALSE(is_noise("IP_RPFILTER", "ip_rcv_finish_core", udp()));
}

}  // namespace
}  // namespace droptrace
