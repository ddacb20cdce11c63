// SPDX-License-Identifier: GPL-2.0-only
#include "core/decode.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

#include "droptrace/event.h"

namespace droptrace {
namespace {

std::optional<std::uint32_t> if_set(std::uint32_t number) {
  if (number == 0) return std::nullopt;
  return number;
}

// The kernel fills a name's last byte only if the name is cut off there.
template <std::size_t kLength>
std::string name_of(const char (&name)[kLength]) {
  return {name, strnlen(name, sizeof(name))};
}

// Other protocols keep a query id, a key or nothing where these have their ports.
bool has_ports(std::uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_DCCP:
    case IPPROTO_SCTP:
      return true;
    default:
      return false;
  }
}

std::optional<Tuple> tuple_of(const dt_tuple& tuple) {
  if (tuple.family != AF_INET && tuple.family != AF_INET6) return std::nullopt;
  const auto endpoint_of = [&](std::span<const std::uint8_t> bytes, std::uint16_t port) {
    Endpoint endpoint;
    endpoint.address = *address_from_bytes(bytes.first(tuple.family == AF_INET ? 4 : 16));
    if (has_ports(tuple.protocol)) endpoint.port = ntohs(port);
    return endpoint;
  };
  return Tuple{endpoint_of(tuple.src, tuple.sport), endpoint_of(tuple.dst, tuple.dport),
               tuple.protocol};
}

std::optional<Conntrack> conntrack_of(const dt_drop& drop) {
  if ((drop.flags & DT_HAS_CONNTRACK) == 0) return std::nullopt;
  const std::optional<Tuple> original = tuple_of(drop.original);
  const std::optional<Tuple> reply = tuple_of(drop.reply);
  if (!original || !reply) return std::nullopt;
  return Conntrack{*original, *reply, drop.ct_status, (drop.flags & DT_CONNTRACK_REPLY) != 0};
}

std::optional<Answer> answer_of(const dt_drop& drop) {
  if ((drop.flags & DT_ANSWERED_RESET) != 0) return Answer{.reset = true};
  if ((drop.flags & DT_ANSWERED_ICMP) == 0) return std::nullopt;
  return Answer{false, drop.icmp_type, drop.icmp_code};
}

NetfilterRecord::Kind kind_of(std::uint8_t kind) {
  switch (kind) {
    case DT_NF_NFT_RULE:
      return NetfilterRecord::Kind::kNftRule;
    case DT_NF_NFT_POLICY:
      return NetfilterRecord::Kind::kNftPolicy;
    case DT_NF_XT_RULE:
      return NetfilterRecord::Kind::kXtRule;
    case DT_NF_XT_UNKNOWN:
      return NetfilterRecord::Kind::kXtUnknown;
    case DT_NF_QUEUE_VERDICT:
      return NetfilterRecord::Kind::kQueueVerdict;
    case DT_NF_QUEUE_FAILED:
      return NetfilterRecord::Kind::kQueueFailed;
    default:
      return NetfilterRecord::Kind::kNotFound;
  }
}

std::optional<NetfilterRecord> netfilter_of(const dt_netfilter& netfilter) {
  if (netfilter.kind == DT_NF_NONE && netfilter.has_hook == 0) return std::nullopt;
  NetfilterRecord record;
  record.kind = kind_of(netfilter.kind);
  record.netns = if_set(netfilter.netns);
  if (netfilter.has_hook != 0) record.hook = hook_from_number(netfilter.pf, netfilter.hook);
  record.family = family_from_number(netfilter.family);
  record.table = netfilter.table;
  record.chain = netfilter.chain;
  record.rule = netfilter.rule;
  for (std::size_t i = 0; i < netfilter.depth && i < DT_PATH_DEPTH; ++i)
    record.path.push_back({netfilter.path[i].chain, netfilter.path[i].next_rule});
  if (netfilter.has_queue != 0) record.queue = netfilter.queue;
  for (std::size_t i = 0; i < netfilter.functions && i < DT_HOOK_FUNCTIONS; ++i)
    record.functions.push_back(netfilter.function[i]);
  record.has_entry = netfilter.has_entry != 0;
  record.has_function = netfilter.has_function != 0 && record.functions.size() == 1;
  record.from_hook = netfilter.from_hook != 0;
  return record;
}

}  // namespace

bool Conntrack::has_nat() const { return reply != original.reversed(); }

std::optional<Record> decode_drop(std::span<const std::byte> bytes) {
  dt_drop drop;
  if (bytes.size() != sizeof(drop)) return std::nullopt;
  std::memcpy(&drop, bytes.data(), sizeof(drop));
  if (drop.stack_size > sizeof(drop.stack) || drop.stack_size % sizeof(drop.stack[0]) != 0 ||
      drop.snapped > sizeof(drop.packet)) {
    return std::nullopt;
  }

  Record record;
  record.boot_ns = drop.time_ns;
  record.location = drop.location;
  record.stack.assign(drop.stack, drop.stack + drop.stack_size / sizeof(drop.stack[0]));
  if ((drop.flags & DT_HAS_REASON) != 0) record.reason = drop.reason;
  record.cpu = drop.cpu;
  record.netns = if_set(drop.netns);
  record.sk_netns = if_set(drop.sk_netns);
  record.ifindex = if_set(drop.ifindex);
  record.iif = if_set(drop.iif);
  record.ifname = name_of(drop.ifname);
  record.comm = name_of(drop.comm);
  record.tgid = drop.tgid;
  record.mark = drop.mark;
  record.conntrack = conntrack_of(drop);
  record.answer = answer_of(drop);
  record.netfilter = netfilter_of(drop.netfilter);
  if (record.netfilter) {
    NetfilterRecord& netfilter = *record.netfilter;
    if (!netfilter.netns) netfilter.netns = record.netns;
    netfilter.table_name = name_of(drop.nft_table);
    netfilter.chain_name = name_of(drop.nft_chain);
  }
  record.bytes.assign(drop.packet, drop.packet + drop.snapped);
  record.packet = parse_packet(record.bytes, ntohs(drop.protocol), drop.length);
  return record;
}

}  // namespace droptrace
