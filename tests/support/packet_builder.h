// SPDX-License-Identifier: GPL-2.0-only
// Builds a test's packet layer by layer, from L3 or a VLAN tag on. Each layer enters its number in
// the one before it, and bytes() fills in the IP length. Checksums stay zero: nothing under test
// looks at them.
#pragma once

#include <linux/if_ether.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/packet.h"

namespace droptrace {

struct Ipv4Fields {
  std::uint8_t ttl = 64;
  std::uint16_t fragment_offset = 0;  // in units of 8 bytes
  bool more_fragments = false;
  std::size_t options_length = 0;  // in bytes: a multiple of 4, at most 40
};

struct FragmentFields {
  std::uint16_t offset = 0;  // in units of 8 bytes
  bool more = false;
};

class PacketBuilder {
 public:
  PacketBuilder& vlan(std::uint16_t id, std::uint16_t tag_type = ETH_P_8021Q) {
    begin_ethertype(tag_type);
    add16(id);
    ethertype_at_ = bytes_.size();
    add16(0);
    return *this;
  }

  PacketBuilder& arp_request(std::string_view sender, std::string_view target) {
    begin_ethertype(ETH_P_ARP);
    add16(1);  // Ethernet
    add16(ETH_P_IP);
    add8(ETH_ALEN);
    add8(4);   // bytes of an IPv4 address
    add16(1);  // request
    add_zeros(ETH_ALEN);
    add_address(sender);
    add_zeros(ETH_ALEN);
    add_address(target);
    return *this;
  }

  PacketBuilder& ipv4(std::string_view src, std::string_view dst, Ipv4Fields fields = {}) {
    begin_ethertype(ETH_P_IP);
    const std::size_t start = bytes_.size();
    const std::size_t header_length = 20 + fields.options_length;
    add8(static_cast<std::uint8_t>(0x40 | header_length / 4));
    add8(0);
    length_field_ = {.at = bytes_.size(), .counts_from = start};
    add16(0);
    add16(0);  // identification
    add16(
        static_cast<std::uint16_t>((fields.more_fragments ? 0x2000 : 0) | fields.fragment_offset));
    add8(fields.ttl);
    add_next_header();
    add16(0);  // checksum
    add_address(src);
    add_address(dst);
    add_zeros(fields.options_length);
    return *this;
  }

  PacketBuilder& ipv6(std::string_view src, std::string_view dst, std::uint8_t hop_limit = 64) {
    begin_ethertype(ETH_P_IPV6);
    const std::size_t start = bytes_.size();
    add32(0x60000000);
    length_field_ = {.at = bytes_.size(), .counts_from = start + 40};
    add16(0);
    add_next_header();
    add8(hop_limit);
    add_address(src);
    add_address(dst);
    return *this;
  }

  // IPv6 extension headers. length is the whole header's in bytes: a multiple of 8.
  PacketBuilder& hop_by_hop(std::size_t length = 8) { return extension(IPPROTO_HOPOPTS, length); }
  PacketBuilder& routing(std::size_t length = 8) { return extension(IPPROTO_ROUTING, length); }
  PacketBuilder& destination_options(std::size_t length = 8) {
    return extension(IPPROTO_DSTOPTS, length);
  }

  PacketBuilder& fragment(FragmentFields fields) {
    upper_layer(IPPROTO_FRAGMENT);
    add_next_header();
    add8(0);
    add16(static_cast<std::uint16_t>(fields.offset << 3 | (fields.more ? 1 : 0)));
    add32(0);  // identification
    return *this;
  }

  // icv_length is the integrity check value's in bytes; RFC 4302 pads it to a multiple of 8 in all.
  PacketBuilder& authentication(std::size_t icv_length = 12) {
    upper_layer(IPPROTO_AH);
    add_next_header();
    add8(static_cast<std::uint8_t>((12 + icv_length) / 4 - 2));
    add_zeros(10 + icv_length);
    return *this;
  }

  PacketBuilder& tcp(std::uint16_t sport, std::uint16_t dport, std::uint8_t flags,
                     std::uint32_t seq = 0) {
    upper_layer(IPPROTO_TCP);
    add16(sport);
    add16(dport);
    add32(seq);
    add32(0);    // acknowledgement number
    add8(0x50);  // a header of five words
    add8(flags);
    add16(64240);  // window
    add32(0);      // checksum, urgent pointer
    return *this;
  }

  PacketBuilder& udp(std::uint16_t sport, std::uint16_t dport) {
    upper_layer(IPPROTO_UDP);
    add16(sport);
    add16(dport);
    add16(8);  // length, without a payload
    add16(0);  // checksum
    return *this;
  }

  PacketBuilder& sctp(std::uint16_t sport, std::uint16_t dport) {
    upper_layer(IPPROTO_SCTP);
    add16(sport);
    add16(dport);
    add32(0);  // verification tag
    add32(0);  // checksum
    return *this;
  }

  PacketBuilder& icmp(std::uint8_t type, std::uint8_t code) {
    return icmp_header(IPPROTO_ICMP, type, code);
  }
  PacketBuilder& icmpv6(std::uint8_t type, std::uint8_t code) {
    return icmp_header(IPPROTO_ICMPV6, type, code);
  }

  // Says which protocol follows without adding its header, as a later fragment does.
  PacketBuilder& upper_layer(std::uint8_t protocol) {
    bytes_.at(next_header_at_.value()) = protocol;
    return *this;
  }

  PacketBuilder& payload(std::span<const std::uint8_t> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }

  std::vector<std::uint8_t> bytes() const {
    std::vector<std::uint8_t> bytes = bytes_;
    if (length_field_) put16(bytes, length_field_->at, bytes.size() - length_field_->counts_from);
    return bytes;
  }

  // What skb->protocol holds for this packet, in host order.
  std::uint16_t ethertype() const { return ethertype_; }

  std::uint32_t length() const { return static_cast<std::uint32_t>(bytes_.size()); }

 private:
  struct LengthField {
    std::size_t at;
    std::size_t counts_from;
  };

  static void put16(std::vector<std::uint8_t>& bytes, std::size_t at, std::size_t value) {
    bytes.at(at) = static_cast<std::uint8_t>(value >> 8);
    bytes.at(at + 1) = static_cast<std::uint8_t>(value);
  }

  void add8(std::uint8_t value) { bytes_.push_back(value); }
  void add16(std::uint16_t value) {
    add8(static_cast<std::uint8_t>(value >> 8));
    add8(static_cast<std::uint8_t>(value));
  }
  void add32(std::uint32_t value) {
    add16(static_cast<std::uint16_t>(value >> 16));
    add16(static_cast<std::uint16_t>(value));
  }
  void add_zeros(std::size_t count) { bytes_.resize(bytes_.size() + count); }

  void add_address(std::string_view text) {
    const Address address = parse_address(text).value();
    payload(std::span(address.bytes).first(address.v6 ? 16 : 4));
  }

  void add_next_header() {
    next_header_at_ = bytes_.size();
    add8(IPPROTO_NONE);
  }

  void begin_ethertype(std::uint16_t type) {
    if (ethertype_at_) {
      put16(bytes_, *ethertype_at_, type);
    } else {
      ethertype_ = type;
    }
  }

  PacketBuilder& extension(std::uint8_t protocol, std::size_t length) {
    upper_layer(protocol);
    add_next_header();
    add8(static_cast<std::uint8_t>(length / 8 - 1));
    add_zeros(length - 2);
    return *this;
  }

  PacketBuilder& icmp_header(std::uint8_t protocol, std::uint8_t type, std::uint8_t code) {
    upper_layer(protocol);
    add8(type);
    add8(code);
    add16(0);  // checksum
    add32(0);
    return *this;
  }

  std::vector<std::uint8_t> bytes_;
  std::uint16_t ethertype_ = 0;
  std::optional<std::size_t> ethertype_at_;  // in the innermost VLAN tag
  std::optional<std::size_t> next_header_at_;
  std::optional<LengthField> length_field_;
};

// Parses the first size bytes of a packet. They stand in an allocation of just that size, so that
// the address sanitizer sees a read behind them.
inline Packet parse_first(const PacketBuilder& packet, std::size_t size) {
  const std::vector<std::uint8_t> all = packet.bytes();
  const auto exact = std::make_unique<std::uint8_t[]>(size);
  std::copy_n(all.begin(), size, exact.get());
  return parse_packet({exact.get(), size}, packet.ethertype(), packet.length());
}

}  // namespace droptrace
