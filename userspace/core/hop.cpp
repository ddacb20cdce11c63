// SPDX-License-Identifier: GPL-2.0-only
#include "core/hop.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "droptrace/path.h"

namespace droptrace {
namespace {

constexpr std::size_t kIpv4Length = 20;
constexpr std::uint32_t kIpv6Length = 40;
constexpr std::size_t kTcpLength = 20;

// An IPv6 socket holds an IPv4 address as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2).
Address address_of(std::span<const std::uint8_t, 16> bytes, bool v6) {
  static constexpr std::array<std::uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
  if (!v6) return *address_from_bytes(bytes.first(4));
  if (std::ranges::equal(bytes.first(12), kMapped)) return *address_from_bytes(bytes.last(4));
  return *address_from_bytes(bytes);
}

std::optional<Tuple> tuple_of(const dt_tuple& tuple) {
  if (tuple.family != AF_INET && tuple.family != AF_INET6) return std::nullopt;
  const bool v6 = tuple.family == AF_INET6;
  const std::span<const std::uint8_t, 16> src(tuple.src);
  const std::span<const std::uint8_t, 16> dst(tuple.dst);
  return Tuple{{address_of(src, v6), ntohs(tuple.sport)},
               {address_of(dst, v6), ntohs(tuple.dport)},
               IPPROTO_TCP};
}

void put16(std::vector<std::uint8_t>& bytes, std::size_t at, std::uint32_t number) {
  bytes[at] = static_cast<std::uint8_t>(number >> 8U);
  bytes[at + 1] = static_cast<std::uint8_t>(number);
}

void put32(std::vector<std::uint8_t>& bytes, std::size_t at, std::uint32_t number) {
  put16(bytes, at, number >> 16U);
  put16(bytes, at + 2, number);
}

void put_ip(std::vector<std::uint8_t>& bytes, const Hop& hop) {
  const auto& src = hop.tuple.src.address.bytes;
  const auto& dst = hop.tuple.dst.address.bytes;
  const std::uint32_t length =
      hop.length != 0 ? hop.length : static_cast<std::uint32_t>(bytes.size());
  if (hop.tuple.dst.address.v6) {
    bytes[0] = 0x60;
    put16(bytes, 4, length - kIpv6Length);
    bytes[6] = IPPROTO_TCP;
    bytes[7] = hop.ttl;
    std::ranges::copy(src, bytes.begin() + 8);
    std::ranges::copy(dst, bytes.begin() + 24);
  } else {
    bytes[0] = 0x45;
    put16(bytes, 2, length);
    bytes[8] = hop.ttl;
    bytes[9] = IPPROTO_TCP;
    std::copy_n(src.begin(), 4, bytes.begin() + 12);
    std::copy_n(dst.begin(), 4, bytes.begin() + 16);
  }
}

}  // namespace

std::string_view Hop::event_text() const {
  switch (event) {
    case HopEvent::kTransmit:
      return "xmit";
    case HopEvent::kReceive:
      return "receive";
    case HopEvent::kRetransmit:
      return "retransmit";
    case HopEvent::kSynAckAgain:
      return "synack-retransmit";
    case HopEvent::kReset:
      return "reset";
    case HopEvent::kIcmp:
      return "icmp";
    case HopEvent::kWasReset:
      return "was-reset";
    case HopEvent::kEstablished:
      return "established";
    case HopEvent::kClosed:
      return "closed";
    case HopEvent::kHook:
      return to_string(hook);
  }
  return "";
}

Tuple Hop::from_client() const {
  return is_answer() || event == HopEvent::kSynAckAgain ? tuple.reversed() : tuple;
}

std::optional<Hop> decode_hop(std::span<const std::byte> bytes) {
  dt_hop raw;
  if (bytes.size() != sizeof(raw)) return std::nullopt;
  std::memcpy(&raw, bytes.data(), sizeof(raw));
  const auto tuple = tuple_of(raw.tuple);
  if (!tuple || raw.event > DT_HOP_HOOK) return std::nullopt;

  Hop hop;
  hop.boot_ns = raw.time_ns;
  hop.netns = raw.netns;
  hop.ifindex = raw.ifindex;
  hop.isn = raw.isn;
  hop.length = raw.length;
  hop.event = static_cast<HopEvent>(raw.event);  // in the same order
  hop.tcp_flags = raw.tcp_flags;
  hop.icmp_type = raw.icmp_type;
  hop.icmp_code = raw.icmp_code;
  if (hop.event == HopEvent::kHook) {
    const auto hook = hook_from_number(raw.tuple.family, raw.hook);
    if (!hook) return std::nullopt;
    hop.hook = *hook;
  }
  hop.ttl = raw.ttl;
  hop.tuple = *tuple;
  if ((raw.flags & DT_HOP_HAS_ORIGINAL) != 0) hop.original = tuple_of(raw.original);
  hop.ifname.assign(raw.ifname, strnlen(raw.ifname, sizeof(raw.ifname)));
  return hop;
}

Record record_of(const Hop& hop, const Tuple& dialled) {
  const bool v6 = hop.tuple.dst.address.v6;
  const std::size_t ip = v6 ? kIpv6Length : kIpv4Length;
  Record record;
  record.boot_ns = hop.boot_ns;
  if (hop.netns != 0) record.netns = hop.netns;
  if (hop.ifindex != 0) record.ifindex = hop.ifindex;
  record.ifname = hop.ifname;
  record.bytes.resize(ip + kTcpLength);
  put_ip(record.bytes, hop);
  put16(record.bytes, ip, hop.tuple.src.port.value_or(0));
  put16(record.bytes, ip + 2, hop.tuple.dst.port.value_or(0));
  // What is known of an answer is what it acknowledges.
  put32(record.bytes, hop.is_answer() ? ip + 8 : ip + 4, hop.is_answer() ? hop.isn + 1 : hop.isn);
  record.bytes[ip + 12] = kTcpLength / 4 << 4U;
  record.bytes[ip + 13] = hop.tcp_flags != 0 ? hop.tcp_flags : std::uint8_t{kTcpSyn};
  const auto length = hop.length != 0 ? hop.length : static_cast<std::uint32_t>(ip + kTcpLength);
  record.packet = parse_packet(record.bytes, v6 ? 0x86dd : 0x0800, length);
  if (hop.is_answer()) record.packet.seq.reset();
  const Tuple there = hop.from_client();
  if (there != dialled) record.conntrack = Conntrack{dialled, there.reversed(), 0, hop.is_answer()};
  return record;
}

}  // namespace droptrace
