// SPDX-License-Identifier: GPL-2.0-only
// From the bytes of a ring-buffer record to a Record: the same facts, as typed values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/attribution.h"
#include "core/packet.h"

namespace droptrace {

// What conntrack held for the packet when it was dropped.
struct Conntrack {
  Tuple original;            // before NAT, from the client's side
  Tuple reply;               // what an answer looks like to the node: its source is the endpoint
  std::uint32_t status = 0;  // IPS_* bits
  bool reply_direction = false;  // the packet travels from server to client

  // NAT changed (or would have changed) a source or a destination.
  bool has_nat() const;
};

// What was sent to the sender of a packet that was dropped.
struct Answer {
  bool reset = false;  // a TCP reset; else an ICMP error
  std::uint8_t icmp_type = 0;
  std::uint8_t icmp_code = 0;
};

// A drop as the kernel recorded it. Numbers in host order.
struct Record {
  std::uint64_t boot_ns = 0;  // CLOCK_BOOTTIME
  std::uint64_t location = 0;
  std::vector<std::uint64_t> stack;     // return addresses, innermost first
  std::optional<std::uint32_t> reason;  // absent on kernels that give none (< 5.17)
  std::uint32_t cpu = 0;
  std::optional<std::uint32_t> netns;  // inode number
  std::optional<std::uint32_t> sk_netns;
  std::optional<std::uint32_t> ifindex;
  std::optional<std::uint32_t> iif;
  std::string ifname;  // empty: none
  std::string comm;    // current task; means something in process context only
  std::uint32_t tgid = 0;
  std::uint32_t mark = 0;
  std::optional<Conntrack> conntrack;
  std::optional<Answer> answer;
  std::optional<NetfilterRecord> netfilter;  // what the kernel side knows of its part
  std::optional<RuleFacts> rule;             // netfilter's numbers by name; added by user space
  std::optional<EvaluatedRules> evaluated;   // the same, where the numbers do not tell
  std::vector<std::uint8_t> bytes;           // from L3 on, as many as were captured
  Packet packet;                             // bytes, parsed
};

// Decodes one struct dt_drop. nullopt if the bytes are not one (wrong size or lengths inside).
std::optional<Record> decode_drop(std::span<const std::byte> bytes);

}  // namespace droptrace
