// SPDX-License-Identifier: GPL-2.0-only
// Every kind of packet, cut off at every length: each field is known from the byte on that ends it.
#include <cstddef>
#include <map>
#include <sstream>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "core/packet.h"
#include "tests/support/packet_builder.h"

namespace droptrace {
namespace {

constexpr const char* kPod = "10.244.0.5";
constexpr const char* kService = "10.96.0.10";
constexpr const char* kPod6 = "fd00:10:244::5";
constexpr const char* kService6 = "fd00:10:96::a";

// The fields that are known, by name.
using Fields = std::map<std::string, std::string>;

Fields fields_of(const Packet& packet) {
  Fields fields;
  const auto add = [&fields](const char* name, const auto& number) {
    if (number) fields[name] = std::to_string(*number);
  };
  if (packet.l3 != L3::kOther) fields["l3"] = std::to_string(static_cast<int>(packet.l3));
  if (packet.src) fields["src"] = to_string(*packet.src);
  if (packet.dst) fields["dst"] = to_string(*packet.dst);
  if (packet.later_fragment) fields["later_fragment"] = "yes";
  add("ethertype", packet.ethertype);
  add("vlan", packet.vlan);
  add("protocol", packet.protocol);
  add("sport", packet.sport);
  add("dport", packet.dport);
  add("tcp_flags", packet.tcp_flags);
  add("seq", packet.seq);
  add("icmp_type", packet.icmp_type);
  add("icmp_code", packet.icmp_code);
  add("ttl", packet.ttl);
  return fields;
}

std::string to_text(const Fields& fields) {
  std::ostringstream text;
  for (const auto& [name, value] : fields) text << name << '=' << value << ' ';
  return text.str();
}

// How many bytes must be captured for each field to be known. A field that is not named here must
// never be known.
using Reach = std::map<std::string, std::size_t>;

void check_every_length(const PacketBuilder& packet, const Reach& reach) {
  const Fields whole = fields_of(parse_first(packet, packet.length()));
  CHECK(whole.size() == reach.size());
  for (std::size_t size = 0; size <= packet.length(); ++size) {
    CAPTURE(size);
    Fields expected;
    for (const auto& [name, end] : reach) {
      if (size >= end) expected[name] = whole.at(name);
    }
    CHECK(to_text(fields_of(parse_first(packet, size))) == to_text(expected));
  }
}

Reach ipv4_reach(std::size_t start = 0) {
  return {{"l3", start},       {"ethertype", start}, {"ttl", start + 9}, {"protocol", start + 10},
          {"src", start + 16}, {"dst", start + 20}};
}

// chain is the number of bytes up to and including the field that names the upper layer.
Reach ipv6_reach(std::size_t chain = 7, std::size_t start = 0) {
  return {{"l3", start},      {"ethertype", start}, {"protocol", start + chain},
          {"ttl", start + 8}, {"src", start + 24},  {"dst", start + 40}};
}

Reach with_ports(Reach reach, std::size_t start) {
  reach.insert({{"sport", start + 2}, {"dport", start + 4}});
  return reach;
}

Reach with_tcp(Reach reach, std::size_t start) {
  reach.insert({{"seq", start + 8}, {"tcp_flags", start + 14}});
  return with_ports(std::move(reach), start);
}

Reach with_icmp(Reach reach, std::size_t start) {
  reach.insert({{"icmp_type", start + 1}, {"icmp_code", start + 2}});
  return reach;
}

Reach with(Reach reach, const std::string& name, std::size_t end) {
  reach[name] = end;
  return reach;
}

PacketBuilder ipv4() { return PacketBuilder{}.ipv4(kPod, kService); }
PacketBuilder ipv6() { return PacketBuilder{}.ipv6(kPod6, kService6); }

TEST_CASE("truncated IPv4 packets are read as far as they go") {
  check_every_length(ipv4().tcp(40112, 80, kTcpSyn, 7), with_tcp(ipv4_reach(), 20));
  check_every_length(ipv4().udp(5353, 53), with_ports(ipv4_reach(), 20));
  check_every_length(ipv4().sctp(5353, 53), with_ports(ipv4_reach(), 20));
  check_every_length(ipv4().icmp(8, 0), with_icmp(ipv4_reach(), 20));
  check_every_length(
      PacketBuilder{}.ipv4(kPod, kService, {.options_length = 12}).tcp(40112, 80, kTcpSyn, 7),
      with_tcp(ipv4_reach(), 32));
  check_every_length(
      PacketBuilder{}.ipv4(kPod, kService, {.fragment_offset = 185}).tcp(40112, 80, kTcpSyn, 7),
      with(ipv4_reach(), "later_fragment", 8));
}

TEST_CASE("truncated IPv6 packets are read as far as they go") {
  check_every_length(ipv6().tcp(40112, 80, kTcpSyn, 7), with_tcp(ipv6_reach(), 40));
  check_every_length(ipv6().udp(5353, 53), with_ports(ipv6_reach(), 40));
  check_every_length(ipv6().sctp(5353, 53), with_ports(ipv6_reach(), 40));
  check_every_length(ipv6().icmpv6(128, 0), with_icmp(ipv6_reach(), 40));
}

TEST_CASE("truncated IPv6 extension headers are read as far as they go") {
  const auto tcp = [](PacketBuilder packet) { return packet.tcp(40112, 80, kTcpSyn, 7); };
  check_every_length(tcp(ipv6().hop_by_hop()), with_tcp(ipv6_reach(41), 48));
  check_every_length(tcp(ipv6().routing(24)), with_tcp(ipv6_reach(41), 64));
  check_every_length(tcp(ipv6().destination_options(16)), with_tcp(ipv6_reach(41), 56));
  check_every_length(tcp(ipv6().authentication()), with_tcp(ipv6_reach(41), 64));
  check_every_length(tcp(ipv6().fragment({.more = true})), with_tcp(ipv6_reach(41), 48));
  check_every_length(tcp(ipv6().fragment({.offset = 185})),
                     with(ipv6_reach(41), "later_fragment", 44));
  check_every_length(
      tcp(ipv6().hop_by_hop().routing(24).fragment({}).authentication().destination_options()),
      with_tcp(ipv6_reach(40 + 8 + 24 + 8 + 24 + 1), 40 + 8 + 24 + 8 + 24 + 8));
}

TEST_CASE("truncated ARP and VLAN packets are read as far as they go") {
  const Reach arp{{"l3", 0}, {"ethertype", 0}, {"src", 18}, {"dst", 28}};
  check_every_length(PacketBuilder{}.arp_request("10.244.0.1", "10.244.0.5"), arp);

  const auto vlan = [] { return PacketBuilder{}.vlan(100); };
  const auto qinq = [] { return PacketBuilder{}.vlan(200, ETH_P_8021AD).vlan(100); };
  check_every_length(vlan().ipv4(kPod, kService).tcp(40112, 80, kTcpSyn, 7),
                     with(with_tcp(ipv4_reach(4), 24), "vlan", 2));
  check_every_length(vlan().ipv6(kPod6, kService6).udp(5353, 53),
                     with(with_ports(ipv6_reach(7, 4), 44), "vlan", 2));
  check_every_length(vlan().arp_request("10.244.0.1", "10.244.0.5"),
                     {{"l3", 4}, {"ethertype", 4}, {"vlan", 2}, {"src", 22}, {"dst", 32}});
  check_every_length(qinq().ipv4(kPod, kService).icmp(8, 0),
                     with(with_icmp(ipv4_reach(8), 28), "vlan", 2));
}

}  // namespace
}  // namespace droptrace
