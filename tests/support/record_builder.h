// SPDX-License-Identifier: GPL-2.0-only
// Builds a test's ring-buffer record from named fields. What is not set is as the kernel side
// leaves what it does not know: zero.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "droptrace/event.h"

#include "core/address.h"
#include "tests/support/packet_builder.h"

namespace droptrace {

class RecordBuilder {
 public:
  RecordBuilder& time_ns(std::uint64_t value) { return set(drop_.time_ns, value); }
  RecordBuilder& location(std::uint64_t address) { return set(drop_.location, address); }
  RecordBuilder& cpu(std::uint32_t value) { return set(drop_.cpu, value); }
  RecordBuilder& netns(std::uint32_t inum) { return set(drop_.netns, inum); }
  RecordBuilder& sk_netns(std::uint32_t inum) { return set(drop_.sk_netns, inum); }
  RecordBuilder& iif(std::uint32_t ifindex) { return set(drop_.iif, ifindex); }
  RecordBuilder& mark(std::uint32_t value) { return set(drop_.mark, value); }

  RecordBuilder& reason(std::uint32_t value) {
    drop_.flags |= DT_HAS_REASON;
    return set(drop_.reason, value);
  }

  // Return addresses, innermost first.
  RecordBuilder& stack(const std::vector<std::uint64_t>& addresses) {
    return copy(addresses, drop_.stack).stack_size(addresses.size() * sizeof(std::uint64_t));
  }

  RecordBuilder& device(std::uint32_t ifindex, std::string_view name) {
    drop_.flags |= DT_HAS_DEVICE;
    return copy(name, drop_.ifname).set(drop_.ifindex, ifindex);
  }

  RecordBuilder& task(std::uint32_t tgid, std::string_view comm) {
    return copy(comm, drop_.comm).set(drop_.tgid, tgid);
  }

  // Names of the rule's or policy's table and chain, as the kernel side may tell them.
  RecordBuilder& nft_names(std::string_view table, std::string_view chain) {
    return copy(table, drop_.nft_table).copy(chain, drop_.nft_chain);
  }

  // A tuple's ports also set what ICMP keeps in their place.
  RecordBuilder& conntrack(const Tuple& original, const Tuple& reply, std::uint32_t status = 0) {
    drop_.flags |= DT_HAS_CONNTRACK;
    drop_.original = abi_tuple(original);
    drop_.reply = abi_tuple(reply);
    return set(drop_.ct_status, status);
  }

  // The packet travels from server to client.
  RecordBuilder& reply_direction() {
    drop_.flags |= DT_CONNTRACK_REPLY;
    return *this;
  }

  RecordBuilder& netfilter(const dt_netfilter& part) {
    drop_.netfilter = part;
    return *this;
  }

  RecordBuilder& answered_icmp(std::uint8_t type, std::uint8_t code) {
    drop_.flags |= DT_ANSWERED_ICMP;
    return set(drop_.icmp_type, type).set(drop_.icmp_code, code);
  }

  RecordBuilder& answered_reset() {
    drop_.flags |= DT_ANSWERED_RESET;
    return *this;
  }

  // Captures the packet as far as a record reaches.
  RecordBuilder& packet(const PacketBuilder& packet) {
    const std::vector<std::uint8_t> bytes = packet.bytes();
    const std::size_t captured = std::min(bytes.size(), sizeof(drop_.packet));
    drop_.protocol = htons(packet.ethertype());
    drop_.length = packet.length();
    return copy(std::span(bytes).first(captured), drop_.packet).snapped(captured);
  }

  // What a record claims of itself, true or not.
  RecordBuilder& stack_size(std::size_t bytes) {
    return set(drop_.stack_size, static_cast<std::uint32_t>(bytes));
  }
  RecordBuilder& snapped(std::size_t bytes) {
    return set(drop_.snapped, static_cast<std::uint16_t>(bytes));
  }
  RecordBuilder& conntrack_family(std::uint8_t family) {
    return set(drop_.original.family, family).set(drop_.reply.family, family);
  }

  std::vector<std::byte> bytes() const {
    const auto bytes = std::as_bytes(std::span(&drop_, 1));
    return {bytes.begin(), bytes.end()};
  }

 private:
  template <typename Number>
  RecordBuilder& set(Number& field, Number value) {
    field = value;
    return *this;
  }

  template <typename Range, typename Item, std::size_t size>
  RecordBuilder& copy(const Range& range, Item (&field)[size]) {
    std::ranges::copy(std::span<const Item>(range).first(std::min(range.size(), size)), field);
    return *this;
  }

  static dt_tuple abi_tuple(const Tuple& tuple) {
    dt_tuple abi{};
    std::ranges::copy(tuple.src.address.bytes, abi.src);
    std::ranges::copy(tuple.dst.address.bytes, abi.dst);
    abi.sport = htons(tuple.src.port.value_or(0));
    abi.dport = htons(tuple.dst.port.value_or(0));
    abi.family = tuple.src.address.v6 ? AF_INET6 : AF_INET;
    abi.protocol = tuple.protocol;
    return abi;
  }

  dt_drop drop_{};
};

}  // namespace droptrace
