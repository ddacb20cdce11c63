// SPDX-License-Identifier: GPL-2.0-only
// A SYN or its answer at one place of its way, and what becomes of the client's socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/address.h"
#include "core/decode.h"
#include "core/hook.h"

namespace droptrace {

enum class HopEvent {
  kTransmit,
  kReceive,
  kRetransmit,   // the client has sent its SYN again
  kSynAckAgain,  // the server has sent its SYN-ACK again
  kReset,        // the SYN is answered by a reset
  kIcmp,         // the SYN is answered by an ICMP error
  kWasReset,     // the client's socket has taken a reset
  kEstablished,  // the client's socket has taken the SYN-ACK
  kClosed,       // the client's socket has given up
  kHook,         // it has passed a hook of netfilter
};

// Numbers in host order.
struct Hop {
  std::uint64_t boot_ns = 0;  // CLOCK_BOOTTIME
  std::uint32_t netns = 0;    // inode number
  std::uint32_t ifindex = 0;  // 0: of a socket
  std::uint32_t isn = 0;      // the client's initial sequence number
  std::uint32_t length = 0;   // of the packet, from L3
  HopEvent event = HopEvent::kTransmit;
  std::uint8_t tcp_flags = 0;  // of the packet
  std::uint8_t icmp_type = 0;
  std::uint8_t icmp_code = 0;
  Hook hook = Hook::kPrerouting;  // of kHook
  std::uint8_t ttl = 0;
  Tuple tuple;                    // as the packet or the socket has it
  std::optional<Tuple> original;  // as it was dialled, where conntrack tells
  std::string ifname;

  // A packet that a device or a hook passes on.
  bool is_packet() const {
    return event == HopEvent::kTransmit || event == HopEvent::kReceive || event == HopEvent::kHook;
  }
  bool is_syn() const { return is_packet() && (tcp_flags & (kTcpSyn | kTcpAck)) == kTcpSyn; }
  bool is_answer() const { return is_packet() && !is_syn(); }
  bool is_reset() const { return is_packet() && (tcp_flags & kTcpRst) != 0; }
  // The addresses there, from the client to the server.
  Tuple from_client() const;
  bool same_place(const Hop& other) const {
    return netns == other.netns && ifindex == other.ifindex;
  }
  bool same_event(const Hop& other) const { return event == other.event && hook == other.hook; }
  // As the JSON schema spells it: "xmit", "receive", "forward", "reset", …
  std::string_view event_text() const;
};

// A hop in words.
struct HopView {
  std::optional<std::uint32_t> netns;
  std::string where;  // that namespace: "node", "pod:NS/NAME"
  std::string ifname;
  std::string event;
  std::uint64_t offset_ns = 0;  // since the first hop
  std::optional<Packet> packet;
  std::string note;  // what has changed here: "DNAT to 10.244.0.6:8080"
};

// Decodes one struct dt_hop. nullopt if the bytes are not one.
std::optional<Hop> decode_hop(std::span<const std::byte> bytes);

// A record with the packet of the hop, for what works on packets: dialled is what it was before
// NAT.
Record record_of(const Hop& hop, const Tuple& dialled);

}  // namespace droptrace
