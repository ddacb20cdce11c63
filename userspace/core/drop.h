// SPDX-License-Identifier: GPL-2.0-only
// A drop as the sinks show it: the kernel's record plus what the world and earlier drops tell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/attempts.h"
#include "core/attribution.h"
#include "core/cause.h"
#include "core/decode.h"
#include "core/hook.h"
#include "core/hop.h"
#include "core/world.h"

namespace droptrace {

// Which part of netfilter dropped the packet, as far as is known.
enum class NetfilterBackend { kNfTables, kIpTables, kNfqueue, kConntrack, kNat, kBpf, kOther };

// As the JSON schema spells it: "nf_tables", …
std::string_view to_string(NetfilterBackend backend);

struct NetfilterFacts {
  NetfilterBackend backend = NetfilterBackend::kOther;
  std::optional<Hook> hook;
  std::optional<NfFamily> family;          // of the rule's table
  std::optional<std::uint64_t> handle;     // of the rule that dropped or queued
  bool policy = false;                     // the base chain's policy dropped
  std::optional<RuleFacts> rule;           // by name; of a policy only table and chain
  std::optional<std::uint16_t> queue;      // NFQUEUE number
  bool queue_failed = false;               // nobody listens to the queue, or it is full
  std::optional<std::string> queue_owner;  // comm of the process that gave an NFQUEUE verdict
  std::optional<std::string> function;     // of the hook, that dropped the packet
  std::vector<std::string> functions;      // of the hook, one of which did, if that is not known
  bool from_frame = false;                 // read off the frame of the function that dropped
  bool from_counter = false;               // its counter is the one that moved
  bool from_hook = false;                  // noted by a program on the verdict
  bool from_trace = false;                 // nf_tables' packet tracing named it
  bool queue_flushed = false;              // its queue was emptied: there was no verdict
  bool evaluated = false;                  // a dump of the rules was evaluated for the packet
  std::optional<bool> queue_bypass;        // without a listener, packets pass the rule that queued
  std::vector<std::string> candidates;     // the first rules that may have done it, if several
  std::size_t candidate_count = 0;         // of all of them
  bool candidates_complete = false;        // it is surely one of them

  // The rule, or what else dropped the packet, was observed in the kernel for this packet.
  bool exact() const { return from_frame || from_counter || from_hook || from_trace; }
};

// Who has an address of the drop; for a pod of another node, which node it is on.
struct Party {
  std::optional<Owner> owner;
  std::optional<Address> remote_node;
};

struct Drop {
  Record record;
  std::int64_t time_ns = 0;          // CLOCK_REALTIME, since the epoch
  std::string reason;                // "NETFILTER_DROP"
  std::string location;              // "nft_do_chain+0x3e8"
  std::vector<std::string> stack;    // from the location outwards; only if it was asked for
  std::optional<std::string> where;  // "node"; absent if the namespace is not known
  std::optional<std::string> peer;   // "netns:podA/eth0"
  std::string where_process;         // comm of one in there, where "where" is but a number
  std::optional<std::string> comm;   // only where the current task caused the drop
  std::optional<NetfilterFacts> netfilter;
  std::optional<AddressClass> src_class;  // of the packet's addresses as they were at the drop
  std::optional<AddressClass> dst_class;
  // "NS/NAME:PORTNAME" dialled, found from the address before NAT.
  std::optional<std::string> service;
  // "s/NS/SERVICE" of the packet's addresses as they were at the drop.
  std::optional<std::string> src_name;
  std::optional<std::string> dst_name;
  // By the addresses of the packet and of its flow; what nobody is known to have is absent.
  std::map<Address, Party> parties;
  std::optional<AttemptState> attempt;  // only of a connection attempt's SYN
  std::optional<std::string> answer;  // "rst", "icmp 3/3": the sender was told; else it was silent
  std::vector<HopView> path;          // of the attempt so far; only if it was asked for
  std::optional<Cause> cause;         // where more is known than the place
  std::string_view noise;             // why this drop is harmless; empty: not known to be

  // The flow as the client dialled it, before NAT; the packet's own if there was no NAT.
  std::optional<Tuple> dialled() const;
  // The endpoint that NAT chose for the dialled service; nullopt if it changed no destination.
  std::optional<Endpoint> endpoint() const;
  // nullptr if nothing is known of the address.
  const Party* party(const Address& address) const;
};

}  // namespace droptrace
