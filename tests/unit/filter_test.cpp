// SPDX-License-Identifier: GPL-2.0-only
#include "core/filter.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/record_builder.h"

namespace droptrace {
namespace {

Endpoint endpoint(std::string_view address, std::uint16_t port) {
  return {parse_address(address).value(), port};
}

Record record(const RecordBuilder& builder) { return decode_drop(builder.bytes()).value(); }

Record record(const PacketBuilder& packet) { return record(RecordBuilder{}.packet(packet)); }

bool matches(const std::string& expression, const Record& record) {
  return PacketFilter(expression).matches(record);
}

std::string error_of(const std::string& expression) {
  try {
    const PacketFilter filter(expression);
  } catch (const FilterError& error) {
    return error.what();
  }
  return "";
}

const Endpoint kClient = endpoint("10.244.0.5", 40112);
const Endpoint kService = endpoint("10.96.100.10", 80);
const Endpoint kServer = endpoint("10.244.0.6", 8080);

const Endpoint kClient6 = endpoint("fd00:10:244::5", 40112);
const Endpoint kService6 = endpoint("fd00:10:96::a", 80);
const Endpoint kServer6 = endpoint("fd00:10:244::6", 8080);

PacketBuilder syn_to_server() {
  return PacketBuilder{}.ipv4("10.244.0.5", "10.244.0.6").tcp(40112, 8080, kTcpSyn);
}

RecordBuilder under_nat(const PacketBuilder& packet) {
  return RecordBuilder{}.packet(packet).conntrack({kClient, kService, IPPROTO_TCP},
                                                  {kServer, kClient, IPPROTO_TCP});
}

RecordBuilder under_nat6(const PacketBuilder& packet) {
  return RecordBuilder{}.packet(packet).conntrack({kClient6, kService6, IPPROTO_TCP},
                                                  {kServer6, kClient6, IPPROTO_TCP});
}

TEST_CASE("addresses, ports and flags of the packet are matched") {
  const Record syn = record(syn_to_server());
  CHECK(matches("", syn));
  CHECK(matches("host 10.244.0.6 and tcp dst port 8080", syn));
  CHECK(matches("tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn", syn));
  CHECK(matches("ip proto 6 and src net 10.244.0.0/16", syn));
  CHECK_FALSE(matches("udp", syn));
  CHECK_FALSE(matches("dst host 10.244.0.5", syn));
  CHECK_FALSE(matches("ip6", syn));
}

TEST_CASE("IPv6, ARP and packets of unknown type are matched as what they are") {
  CHECK(matches("ip6 and dst port 53",
                record(PacketBuilder{}.ipv6("fd00::5", "fd00::a").udp(4000, 53))));
  CHECK(matches("arp and host 10.244.0.1",
                record(PacketBuilder{}.arp_request("10.244.0.5", "10.244.0.1"))));
  CHECK_FALSE(matches("ip or ip6 or arp", record(RecordBuilder{})));
  CHECK(matches("not tcp", record(RecordBuilder{})));
}

TEST_CASE("a VLAN tag is matched, and what is behind it") {
  const Record tagged = record(PacketBuilder{}.vlan(7).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2));
  CHECK(matches("vlan 7 and dst host 10.0.0.2", tagged));
  CHECK_FALSE(matches("vlan 8", tagged));
}

TEST_CASE("the length on the wire counts, not what was captured") {
  const std::vector<std::uint8_t> data(1400);
  const Record long_packet =
      record(PacketBuilder{}.ipv4("10.0.0.1", "10.0.0.2").udp(1, 2).payload(data));
  REQUIRE(long_packet.bytes.size() < 300);
  CHECK(matches("len = 1442", long_packet));  // with the Ethernet header, as tcpdump counts
  CHECK(matches("greater 1000", long_packet));
}

TEST_CASE("a packet matches as the client dialled it, before NAT") {
  const Record syn = record(under_nat(syn_to_server()));
  CHECK(matches("dst host 10.96.100.10 and dst port 80", syn));
  CHECK(matches("dst host 10.244.0.6 and dst port 8080", syn));
  CHECK(matches("src host 10.244.0.5 and src port 40112", syn));
}

TEST_CASE("the two forms of a packet are not mixed") {
  const Record syn = record(under_nat(syn_to_server()));
  CHECK_FALSE(matches("dst host 10.96.100.10 and dst port 8080", syn));
  CHECK_FALSE(matches("dst host 10.244.0.6 and dst port 80", syn));
}

TEST_CASE("an answer matches as coming from the service") {
  const Record answer = record(
      under_nat(
          PacketBuilder{}.ipv4("10.244.0.6", "10.244.0.5").tcp(8080, 40112, kTcpSyn | kTcpAck))
          .reply_direction());
  CHECK(matches("src host 10.96.100.10 and src port 80 and dst host 10.244.0.5", answer));
  CHECK_FALSE(matches("dst host 10.96.100.10", answer));
}

TEST_CASE("IPv4 options and VLAN tags before the ports are respected") {
  CHECK(matches("dst port 80",
                record(under_nat(PacketBuilder{}
                                     .ipv4("10.244.0.5", "10.244.0.6", {.options_length = 8})
                                     .tcp(40112, 8080, kTcpSyn)))));
  CHECK(matches("vlan 7 and vlan 8 and dst host 10.96.100.10 and dst port 80",
                record(under_nat(PacketBuilder{}
                                     .vlan(7, ETH_P_8021AD)
                                     .vlan(8)
                                     .ipv4("10.244.0.5", "10.244.0.6")
                                     .tcp(40112, 8080, kTcpSyn)))));
}

TEST_CASE("NAT of IPv6 is undone too") {
  const Record syn = record(under_nat6(
      PacketBuilder{}.ipv6("fd00:10:244::5", "fd00:10:244::6").tcp(40112, 8080, kTcpSyn)));
  CHECK(matches("dst host fd00:10:96::a and dst port 80", syn));
  CHECK_FALSE(matches("dst host fd00:10:96::a and dst port 8080", syn));
}

TEST_CASE("IPv6 extension headers are left as they are") {
  const Record syn = record(under_nat6(PacketBuilder{}
                                           .ipv6("fd00:10:244::5", "fd00:10:244::6")
                                           .hop_by_hop()
                                           .tcp(40112, 8080, kTcpSyn)));
  CHECK(matches("dst host fd00:10:96::a and ip6[40] = 6 and ip6[41] = 0", syn));
}

TEST_CASE("a later fragment has addresses before NAT and no ports") {
  const Record fragment =
      record(under_nat(PacketBuilder{}
                           .ipv4("10.244.0.5", "10.244.0.6", {.fragment_offset = 185})
                           .upper_layer(IPPROTO_TCP)
                           .payload(std::vector<std::uint8_t>(64, 0xaa))));
  CHECK(matches("dst host 10.96.100.10 and ip[20:4] = 0xaaaaaaaa", fragment));
}

TEST_CASE("an ICMP error is not taken for a packet of the flow it is about") {
  const Record error = record(
      under_nat(PacketBuilder{}.ipv4("10.244.0.1", "10.244.0.5").icmp(3, 1)).reply_direction());
  CHECK(matches("icmp and src host 10.244.0.1", error));
  CHECK_FALSE(matches("host 10.96.100.10", error));
}

TEST_CASE("a packet cut off inside its headers matches by what was captured") {
  RecordBuilder builder = under_nat(syn_to_server());
  CHECK(matches("dst host 10.96.100.10", record(builder.snapped(20))));
  CHECK_FALSE(matches("dst port 80 or dst port 8080", record(builder.snapped(20))));
  CHECK_FALSE(matches("dst host 10.96.100.10", record(builder.snapped(10))));
  CHECK_FALSE(matches("host 10.244.0.6", record(builder.snapped(0))));
}

TEST_CASE("a filter can be moved") {
  PacketFilter filter("udp");
  filter = PacketFilter("tcp");
  const PacketFilter moved = std::move(filter);
  CHECK(moved.matches(record(syn_to_server())));
}

TEST_CASE("an expression that libpcap does not take is refused in its words") {
  CHECK(error_of("host").find("syntax error") != std::string::npos);
  CHECK(error_of("tcp port 99999").find("99999") != std::string::npos);
  CHECK(error_of("tcp port 80") == "");
}

}  // namespace
}  // namespace droptrace
