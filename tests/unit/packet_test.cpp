// SPDX-License-Identifier: GPL-2.0-only
#include "core/packet.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/packet_builder.h"

namespace droptrace {
namespace {

constexpr const char* kPod = "10.244.0.5";
constexpr const char* kService = "10.96.0.10";
constexpr const char* kPod6 = "fd00:10:244::5";
constexpr const char* kService6 = "fd00:10:96::a";

// The bits at either end of the field.
constexpr std::uint16_t kFragmentOffsets[] = {1, 0x1000};

Address address(std::string_view text) { return parse_address(text).value(); }

Packet parse(const PacketBuilder& packet) { return parse_first(packet, packet.length()); }

PacketBuilder ipv4() { return PacketBuilder{}.ipv4(kPod, kService); }
PacketBuilder ipv6() { return PacketBuilder{}.ipv6(kPod6, kService6); }

TEST_CASE("a TCP SYN over IPv4 is read field by field") {
  const Packet packet =
      parse(PacketBuilder{}.ipv4(kPod, kService, {.ttl = 63}).tcp(40112, 80, kTcpSyn, 0xfedcba98));
  CHECK(packet.l3 == L3::kIpv4);
  CHECK(packet.ethertype == ETH_P_IP);
  CHECK_FALSE(packet.vlan.has_value());
  CHECK(packet.src == address(kPod));
  CHECK(packet.dst == address(kService));
  CHECK(packet.protocol == IPPROTO_TCP);
  CHECK(packet.sport == 40112);
  CHECK(packet.dport == 80);
  CHECK(packet.tcp_flags == kTcpSyn);
  CHECK(packet.seq == 0xfedcba98);
  CHECK(packet.ttl == 63);
  CHECK_FALSE(packet.icmp_type.has_value());
  CHECK_FALSE(packet.later_fragment);
  CHECK(packet.length == 40);
}

TEST_CASE("a TCP SYN over IPv6 is read field by field") {
  const Packet packet =
      parse(PacketBuilder{}.ipv6(kPod6, kService6, 63).tcp(40112, 443, kTcpSyn, 7));
  CHECK(packet.l3 == L3::kIpv6);
  CHECK(packet.ethertype == ETH_P_IPV6);
  CHECK(packet.src == address(kPod6));
  CHECK(packet.dst == address(kService6));
  CHECK(packet.sport == 40112);
  CHECK(packet.dport == 443);
  CHECK(packet.is_syn());
  CHECK(packet.ttl == 63);
  CHECK(packet.length == 60);
}

TEST_CASE("UDP and SCTP have ports and nothing of TCP") {
  for (const PacketBuilder& built :
       {ipv4().udp(5353, 53), ipv4().sctp(5353, 53), ipv6().udp(5353, 53), ipv6().sctp(5353, 53)}) {
    const Packet packet = parse(built);
    CHECK(packet.sport == 5353);
    CHECK(packet.dport == 53);
    CHECK_FALSE(packet.tcp_flags.has_value());
    CHECK_FALSE(packet.seq.has_value());
    CHECK_FALSE(packet.is_syn());
  }
}

TEST_CASE("ICMP and ICMPv6 have type and code, and no ports") {
  const Packet unreachable = parse(ipv4().icmp(3, 13));
  CHECK(unreachable.protocol == IPPROTO_ICMP);
  CHECK(unreachable.icmp_type == 3);
  CHECK(unreachable.icmp_code == 13);
  CHECK_FALSE(unreachable.sport.has_value());

  const Packet too_big = parse(ipv6().icmpv6(2, 0));
  CHECK(too_big.protocol == IPPROTO_ICMPV6);
  CHECK(too_big.icmp_type == 2);
  CHECK(too_big.icmp_code == 0);
  CHECK_FALSE(too_big.dport.has_value());
}

TEST_CASE("ARP gives the sender's and the target's protocol address") {
  const Packet packet = parse(PacketBuilder{}.arp_request("10.244.0.1", "10.244.0.5"));
  CHECK(packet.l3 == L3::kArp);
  CHECK(packet.src == address("10.244.0.1"));
  CHECK(packet.dst == address("10.244.0.5"));
  CHECK_FALSE(packet.protocol.has_value());
  CHECK_FALSE(packet.tuple().has_value());
}

TEST_CASE("ARP for other protocols or address sizes has no addresses") {
  const PacketBuilder request = PacketBuilder{}.arp_request("10.244.0.1", "10.244.0.5");
  for (const std::size_t field : {2u, 3u, 4u, 5u}) {
    CAPTURE(field);
    std::vector<std::uint8_t> bytes = request.bytes();
    ++bytes.at(field);
    const Packet packet = parse_packet(bytes, ETH_P_ARP, request.length());
    CHECK(packet.l3 == L3::kArp);
    CHECK_FALSE(packet.src.has_value());
    CHECK_FALSE(packet.dst.has_value());
  }
}

TEST_CASE("a VLAN tag gives its id and is not part of the length") {
  // 0xa064: priority 5 and id 100.
  const Packet packet =
      parse(PacketBuilder{}.vlan(0xa064).ipv4(kPod, kService).tcp(40112, 80, kTcpSyn, 7));
  CHECK(packet.vlan == 100);
  CHECK(packet.ethertype == ETH_P_IP);
  CHECK(packet.dport == 80);
  CHECK(packet.length == 40);
}

TEST_CASE("of several VLAN tags the outer one gives the id") {
  const Packet packet = parse(
      PacketBuilder{}.vlan(200, ETH_P_8021AD).vlan(100).vlan(300).ipv6(kPod6, kService6).udp(1, 2));
  CHECK(packet.vlan == 200);
  CHECK(packet.ethertype == ETH_P_IPV6);
  CHECK(packet.dport == 2);
  CHECK(packet.length == 48);
}

TEST_CASE("bytes that are all VLAN tags come to an end") {
  PacketBuilder tags;
  for (int i = 0; i < 64; ++i) tags.vlan(100);
  std::vector<std::uint8_t> bytes = tags.bytes();
  bytes.at(bytes.size() - 2) = ETH_P_8021Q >> 8;
  const Packet packet = parse_packet(bytes, ETH_P_8021Q, tags.length());
  CHECK(packet.l3 == L3::kOther);
  CHECK(packet.vlan == 100);
  CHECK_FALSE(packet.ethertype.has_value());
}

TEST_CASE("IPv4 options are stepped over") {
  for (const std::size_t options_length : {0u, 4u, 20u, 40u}) {
    CAPTURE(options_length);
    const Packet packet = parse(PacketBuilder{}
                                    .ipv4(kPod, kService, {.options_length = options_length})
                                    .tcp(40112, 80, kTcpSyn, 7));
    CHECK(packet.sport == 40112);
    CHECK(packet.dport == 80);
  }
}

TEST_CASE("an IPv4 header length below its minimum leaves L4 unknown") {
  const PacketBuilder built = ipv4().tcp(40112, 80, kTcpSyn, 7);
  std::vector<std::uint8_t> bytes = built.bytes();
  for (const std::uint8_t first : std::vector<std::uint8_t>{0x40, 0x41, 0x44}) {
    CAPTURE(first);
    bytes.at(0) = first;
    const Packet packet = parse_packet(bytes, ETH_P_IP, built.length());
    CHECK(packet.dst == address(kService));
    CHECK(packet.protocol == IPPROTO_TCP);
    CHECK_FALSE(packet.sport.has_value());
  }
}

TEST_CASE("a missing total length does not hide L4") {
  const PacketBuilder built = ipv4().tcp(40112, 80, kTcpSyn, 7);
  std::vector<std::uint8_t> bytes = built.bytes();
  std::fill_n(bytes.begin() + 2, 2, std::uint8_t{0});
  CHECK(parse_packet(bytes, 0, built.length()).is_syn());
}

TEST_CASE("the first IPv4 fragment has an L4 header, later ones have none") {
  const Packet first = parse(
      PacketBuilder{}.ipv4(kPod, kService, {.more_fragments = true}).tcp(40112, 80, kTcpSyn, 7));
  CHECK_FALSE(first.later_fragment);
  CHECK(first.is_syn());

  for (const std::uint16_t offset : kFragmentOffsets) {
    for (const bool more : {false, true}) {
      const Packet later =
          parse(PacketBuilder{}
                    .ipv4(kPod, kService, {.fragment_offset = offset, .more_fragments = more})
                    .tcp(40112, 80, kTcpSyn, 7));
      CHECK(later.later_fragment);
      CHECK(later.protocol == IPPROTO_TCP);
      CHECK_FALSE(later.sport.has_value());
      CHECK_FALSE(later.is_syn());
    }
  }
}

TEST_CASE("the first IPv6 fragment has an L4 header, later ones have none") {
  const Packet first = parse(ipv6().fragment({.more = true}).udp(5353, 53));
  CHECK_FALSE(first.later_fragment);
  CHECK(first.dport == 53);

  for (const std::uint16_t offset : kFragmentOffsets) {
    const Packet later = parse(ipv6().fragment({.offset = offset, .more = true}).udp(5353, 53));
    CHECK(later.later_fragment);
    CHECK(later.protocol == IPPROTO_UDP);
    CHECK_FALSE(later.dport.has_value());
  }
}

TEST_CASE("a later fragment of an IPv6 extension header does not tell the protocol") {
  const Packet packet =
      parse(ipv6().fragment({.offset = 1}).destination_options().tcp(40112, 80, kTcpSyn, 7));
  CHECK(packet.later_fragment);
  CHECK(packet.dst == address(kService6));
  CHECK_FALSE(packet.protocol.has_value());
}

TEST_CASE("an IPv6 header chain that is too long leaves the protocol unknown") {
  const auto chain = [](int headers) {
    PacketBuilder packet = ipv6();
    for (int i = 0; i < headers; ++i) packet.destination_options();
    return packet.tcp(40112, 80, kTcpSyn, 7);
  };
  CHECK(parse(chain(8)).is_syn());
  const Packet packet = parse(chain(9));
  CHECK(packet.dst == address(kService6));
  CHECK_FALSE(packet.protocol.has_value());
  CHECK_FALSE(packet.dport.has_value());
}

TEST_CASE("an IPv6 extension header that claims more than was captured hides L4") {
  const PacketBuilder built = ipv6().hop_by_hop().tcp(40112, 80, kTcpSyn, 7);
  std::vector<std::uint8_t> bytes = built.bytes();
  bytes.at(41) = 255;
  const Packet packet = parse_packet(bytes, ETH_P_IPV6, built.length());
  CHECK(packet.protocol == IPPROTO_TCP);
  CHECK_FALSE(packet.sport.has_value());
}

TEST_CASE("protocols without ports are named and not read further") {
  const std::vector<std::uint8_t> payload(16, 0xff);
  for (const std::uint8_t protocol : std::vector<std::uint8_t>{IPPROTO_ESP, IPPROTO_NONE}) {
    const Packet packet = parse(ipv6().upper_layer(protocol).payload(payload));
    CHECK(packet.protocol == protocol);
    CHECK_FALSE(packet.sport.has_value());
    CHECK_FALSE(packet.icmp_type.has_value());
  }
}

TEST_CASE("without an ethertype the version nibble decides") {
  const PacketBuilder v4 = ipv4().tcp(40112, 80, kTcpSyn, 7);
  const Packet packet4 = parse_packet(v4.bytes(), 0, v4.length());
  CHECK(packet4.l3 == L3::kIpv4);
  CHECK(packet4.ethertype == ETH_P_IP);
  CHECK(packet4.dport == 80);

  const PacketBuilder v6 = ipv6().tcp(40112, 80, kTcpSyn, 7);
  const Packet packet6 = parse_packet(v6.bytes(), 0, v6.length());
  CHECK(packet6.l3 == L3::kIpv6);
  CHECK(packet6.ethertype == ETH_P_IPV6);
  CHECK(packet6.dport == 80);
}

TEST_CASE("without an ethertype, other nibbles and no bytes at all say nothing") {
  const PacketBuilder arp = PacketBuilder{}.arp_request("10.244.0.1", "10.244.0.5");
  for (const Packet& packet :
       {parse_packet(arp.bytes(), 0, arp.length()), parse_packet({}, 0, arp.length())}) {
    CHECK(packet.l3 == L3::kOther);
    CHECK_FALSE(packet.ethertype.has_value());
    CHECK_FALSE(packet.src.has_value());
    CHECK(packet.length == 28);
  }
}

TEST_CASE("a version nibble that contradicts the ethertype leaves the ethertype alone") {
  const PacketBuilder v4 = ipv4().tcp(40112, 80, kTcpSyn, 7);
  const PacketBuilder v6 = ipv6().tcp(40112, 80, kTcpSyn, 7);
  for (const Packet& packet : {parse_packet(v4.bytes(), ETH_P_IPV6, v4.length()),
                               parse_packet(v6.bytes(), ETH_P_IP, v6.length())}) {
    CHECK(packet.l3 == L3::kOther);
    CHECK_FALSE(packet.src.has_value());
    CHECK_FALSE(packet.protocol.has_value());
    CHECK_FALSE(packet.ttl.has_value());
  }
  CHECK(parse_packet(v4.bytes(), ETH_P_IPV6, v4.length()).ethertype == ETH_P_IPV6);
}

TEST_CASE("an ethertype that is not parsed is kept") {
  const std::vector<std::uint8_t> bytes(64, 0x45);
  const Packet packet = parse_packet(bytes, ETH_P_LLDP, 64);
  CHECK(packet.l3 == L3::kOther);
  CHECK(packet.ethertype == ETH_P_LLDP);
  CHECK_FALSE(packet.src.has_value());
}

TEST_CASE("a packet's tuple holds both endpoints, with ports only where they are known") {
  const PacketBuilder syn = ipv4().tcp(40112, 80, kTcpSyn, 7);
  const Endpoint client{address(kPod), 40112};
  const Endpoint server{address(kService), 80};
  CHECK(parse(syn).tuple() == Tuple{client, server, IPPROTO_TCP});
  CHECK(parse_first(syn, 22).tuple() == Tuple{client, {server.address, {}}, IPPROTO_TCP});
  CHECK(parse(ipv4().icmp(8, 0)).tuple() ==
        Tuple{{client.address, {}}, {server.address, {}}, IPPROTO_ICMP});
  CHECK_FALSE(parse_first(syn, 19).tuple().has_value());
  CHECK_FALSE(parse_first(ipv6().hop_by_hop().udp(1, 2), 40).tuple().has_value());
}

TEST_CASE("a connection attempt has SYN and not ACK") {
  const auto is_syn = [](int flags) {
    return parse(ipv4().tcp(40112, 80, static_cast<std::uint8_t>(flags), 7)).is_syn();
  };
  CHECK(is_syn(kTcpSyn));
  CHECK(is_syn(kTcpSyn | kTcpEce | kTcpCwr));
  CHECK_FALSE(is_syn(kTcpSyn | kTcpAck));
  CHECK_FALSE(is_syn(kTcpAck));
  CHECK_FALSE(is_syn(0));
  CHECK_FALSE(parse_first(ipv4().tcp(40112, 80, kTcpSyn, 7), 33).is_syn());
}

TEST_CASE("TCP flags are written as tcpdump writes them") {
  CHECK(tcp_flags_text(kTcpSyn) == "S");
  CHECK(tcp_flags_text(kTcpSyn | kTcpAck) == "S.");
  CHECK(tcp_flags_text(kTcpRst | kTcpAck) == "R.");
  CHECK(tcp_flags_text(kTcpFin | kTcpPush | kTcpAck) == "FP.");
  CHECK(tcp_flags_text(kTcpSyn | kTcpEce | kTcpCwr) == "SEW");
  CHECK(tcp_flags_text(kTcpAck) == ".");
  CHECK(tcp_flags_text(0) == "none");
  CHECK(tcp_flags_text(0xff) == "FSRP.UEW");
}

TEST_CASE("protocols have names, or else numbers") {
  CHECK(protocol_name(IPPROTO_TCP) == "tcp");
  CHECK(protocol_name(IPPROTO_UDP) == "udp");
  CHECK(protocol_name(IPPROTO_ICMP) == "icmp");
  CHECK(protocol_name(IPPROTO_ICMPV6) == "icmpv6");
  CHECK(protocol_name(IPPROTO_SCTP) == "sctp");
  CHECK(protocol_name(IPPROTO_GRE) == "47");
  CHECK(protocol_name(0) == "0");
}

}  // namespace
}  // namespace droptrace
