// SPDX-License-Identifier: GPL-2.0-only
// From nf_tables' trace messages to the rule that dropped or queued a packet. Messages are joined
// to a way through the chains by their trace id, and ways to drops by the packet's own headers.
// Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/attribution.h"
#include "core/decode.h"
#include "core/ruleset.h"

namespace droptrace {

// The table that makes the kernel trace; what happens in it is no part of a packet's way.
inline constexpr const char* kTraceTable = "droptrace";

// One message of NFNLGRP_NFTRACE. Numbers in host order.
struct TraceMessage {
  std::uint32_t id = 0;  // the same for all messages of a packet; not unique for long
  unsigned nfproto = 0;  // of the packet; its table's family may be inet
  std::string table;
  std::string chain;
  std::optional<std::uint64_t> rule;     // handle; absent at a chain's end
  std::optional<std::uint32_t> verdict;  // NF_* or NFT_*; absent: the policy decided
  std::string target;                    // of a jump or goto
  std::optional<std::uint32_t> policy;   // NF_*
  std::vector<std::uint8_t> network;     // headers, in a base chain's first message only
  std::vector<std::uint8_t> transport;
};

// What of a packet's headers names it among others: all but what routers change on the way (the
// class, the hop count, checksums). nullopt if the bytes, which start at L3, do not reach that far.
std::optional<std::string> packet_identity(std::span<const std::uint8_t> bytes);

// A packet that a rule or a policy dropped or queued.
struct TracedVerdict {
  unsigned nfproto = 0;
  std::string table;
  std::string chain;
  std::optional<std::uint64_t> rule;   // handle; absent: the policy
  std::optional<std::uint16_t> queue;  // it was queued, not dropped
  std::vector<std::string> path;       // chains, base chain first; empty if messages are missing

  bool operator==(const TracedVerdict&) const = default;
};

class PacketTraces {
 public:
  // netns: where the message came from. now_ns: any monotonic clock.
  void add(std::uint32_t netns, const TraceMessage& message, std::uint64_t now_ns);

  // What dropped the packet or, where wants_queue, queued it if nothing has dropped it behind the
  // queue. nullopt if no trace tells, or if several contradict each other. It is told once.
  std::optional<TracedVerdict> take(std::uint32_t netns, const std::string& identity,
                                    bool wants_queue, std::uint64_t now_ns);

 private:
  // A packet on its way through a base chain and what that jumps to.
  struct Way {
    std::string identity;
    unsigned nfproto = 0;
    std::string table;
    // The chains that a return leads back to; a goto adds to the last of them.
    std::vector<std::vector<std::string>> calls;
    bool broken = false;  // messages are missing: where it has been is not known
    std::uint64_t seen_ns = 0;
  };
  struct Ended {
    std::uint32_t netns = 0;
    std::string identity;
    std::uint64_t time_ns = 0;
    TracedVerdict verdict;
  };

  void forget_old(std::uint64_t now_ns);
  static void step(Way& way, const TraceMessage& message);

  std::map<std::pair<std::uint32_t, std::uint32_t>, Way> ways_;  // by namespace and trace id
  std::deque<Ended> ended_;                                      // oldest first
};

// Gives the record the handles of the verdict's rule in a dump, and the hook. Returns what there is
// to say by name, the path only if it begins at a hook. nullopt, and nothing is changed, if the
// dump has no such rule or more than one.
std::optional<RuleFacts> place_verdict(NetfilterRecord& record, const TracedVerdict& verdict,
                                       const Ruleset& ruleset);

}  // namespace droptrace
