// SPDX-License-Identifier: GPL-2.0-only
#include "core/packet_trace.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>

namespace droptrace {
namespace {

constexpr std::size_t kWaysMax = 4096;
constexpr std::size_t kEndedMax = 4096;
constexpr std::size_t kCallsMax = 32;                     // twice NFT_JUMP_STACK_SIZE
constexpr std::uint64_t kDropMemoryNs = 5'000'000'000;    // a drop's record comes within a moment
constexpr std::uint64_t kQueueMemoryNs = 60'000'000'000;  // a verdict of a listener takes longer

using Bytes = std::span<const std::uint8_t>;

void append(std::string& text, Bytes bytes) { text.append(bytes.begin(), bytes.end()); }

// The start of the L4 header without its checksum.
bool append_transport(std::string& identity, std::uint8_t protocol, Bytes bytes) {
  const auto take = [&](std::size_t size) {
    if (bytes.size() < size) return false;
    append(identity, bytes.first(size));
    return true;
  };
  switch (protocol) {
    case IPPROTO_TCP:
      return take(16);  // up to the window (RFC 9293 §3.1)
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
      return take(6);  // ports and length (RFC 768)
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:  // type and code; behind the checksum what depends on them
      if (bytes.size() < 8) return false;
      append(identity, bytes.first(2));
      append(identity, bytes.subspan(4, 4));
      return true;
    default:
      return take(4);
  }
}

std::optional<std::string> ipv4_identity(Bytes bytes) {
  const std::size_t header = static_cast<std::size_t>(bytes[0] & 0x0FU) * 4;
  if (header < 20 || bytes.size() < header) return std::nullopt;
  std::string identity;
  append(identity, bytes.subspan(2, 6));  // length, identification, fragment (RFC 791 §3.1)
  append(identity, bytes.subspan(9, 1));  // protocol
  append(identity, bytes.subspan(12, 8));
  const bool later_fragment = (bytes[6] & 0x1FU) != 0 || bytes[7] != 0;
  if (!later_fragment && !append_transport(identity, bytes[9], bytes.subspan(header)))
    return std::nullopt;
  return identity;
}

std::optional<std::string> ipv6_identity(Bytes bytes) {
  constexpr std::size_t kHeader = 40;
  if (bytes.size() < kHeader) return std::nullopt;
  std::string identity("6");
  identity += static_cast<char>(bytes[1] & 0x0FU);
  append(identity, bytes.subspan(2, 5));  // flow label, length, next header (RFC 8200 §3)
  append(identity, bytes.subspan(8, 32));
  // A trace cuts extension headers off, so that what follows is no place to look at.
  switch (bytes[6]) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_ICMPV6:
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
      if (!append_transport(identity, bytes[6], bytes.subspan(kHeader))) return std::nullopt;
      return identity;
    default:
      return std::nullopt;
  }
}

std::optional<std::string> identity_of(const TraceMessage& message) {
  const Bytes network = message.network;
  // A header with so many options that the kernel has cut it.
  if (!network.empty() && network[0] >> 4U == 4 &&
      network.size() < static_cast<std::size_t>(network[0] & 0x0FU) * 4)
    return std::nullopt;
  std::vector<std::uint8_t> bytes = message.network;
  bytes.insert(bytes.end(), message.transport.begin(), message.transport.end());
  return packet_identity(bytes);
}

bool is(const std::optional<std::uint32_t>& verdict, int code) {
  return verdict && static_cast<std::int32_t>(*verdict) == code;
}

// NF_* of a rule or of the policy; nullopt while the packet goes on through the chains.
std::optional<std::uint32_t> final_verdict(const TraceMessage& message) {
  const auto code = message.policy ? message.policy : message.verdict;
  if (!code || static_cast<std::int32_t>(*code) < 0) return std::nullopt;
  return code;
}

bool fits(const Table& table, const TracedVerdict& verdict) {
  if (table.name != verdict.table) return false;
  const auto family = family_from_number(verdict.nfproto);
  const bool is_ip = family == NfFamily::kIp || family == NfFamily::kIp6;
  return table.family == family || (is_ip && table.family == NfFamily::kInet);
}

const Chain* chain_of(const Table& table, const std::string& name) {
  const auto found = std::ranges::find(table.chains, name, &Chain::name);
  return found == table.chains.end() ? nullptr : &*found;
}

// The rule with this handle; without one, a policy that drops.
bool has_rule(const Chain& chain, const std::optional<std::uint64_t>& handle) {
  if (!handle) return chain.hook && chain.policy_drop;
  return std::ranges::find(chain.rules, *handle, &Rule::handle) != chain.rules.end();
}

}  // namespace

std::optional<std::string> packet_identity(Bytes bytes) {
  if (bytes.empty()) return std::nullopt;
  const unsigned version = bytes[0] >> 4U;
  if (version == 4) return ipv4_identity(bytes);
  if (version == 6) return ipv6_identity(bytes);
  return std::nullopt;
}

// What the message says about the way; the message's own chain is where the packet is now.
void PacketTraces::step(Way& way, const TraceMessage& message) {
  if (way.calls.back().back() != message.chain || way.table != message.table) {
    way.broken = true;
    return;
  }
  if (is(message.verdict, NFT_JUMP)) {
    if (way.calls.size() >= kCallsMax) way.broken = true;
    if (!way.broken) way.calls.push_back({message.target});
  } else if (is(message.verdict, NFT_GOTO)) {
    if (way.calls.back().size() >= kCallsMax) way.broken = true;
    if (!way.broken) way.calls.back().push_back(message.target);
  } else if (is(message.verdict, NFT_RETURN) ||
             (is(message.verdict, NFT_CONTINUE) && !message.rule)) {
    // The end of a chain; behind that of the base chain comes its policy.
    if (way.calls.size() > 1)
      way.calls.pop_back();
    else
      way.calls.front().resize(1);
  }
}

void PacketTraces::add(std::uint32_t netns, const TraceMessage& message, std::uint64_t now_ns) {
  forget_old(now_ns);
  if (message.table == kTraceTable) return;
  const auto key = std::make_pair(netns, message.id);
  if (!message.network.empty()) {
    const auto identity = identity_of(message);
    if (!identity) {
      ways_.erase(key);
      return;
    }
    if (ways_.size() >= kWaysMax) ways_.clear();
    ways_[key] = Way{*identity, message.nfproto, message.table, {{message.chain}}, false, now_ns};
  }
  const auto found = ways_.find(key);
  if (found == ways_.end()) return;
  Way& way = found->second;
  way.seen_ns = now_ns;
  step(way, message);
  const auto verdict = final_verdict(message);
  if (!verdict) return;
  const std::uint32_t code = *verdict & NF_VERDICT_MASK;
  if (code == NF_DROP || code == NF_QUEUE) {
    TracedVerdict traced{way.nfproto, message.table, message.chain, message.rule, {}, {}};
    if (message.policy) traced.rule.reset();
    if (code == NF_QUEUE) traced.queue = static_cast<std::uint16_t>(*verdict >> 16U);
    if (!way.broken) {
      for (const auto& call : way.calls)
        traced.path.insert(traced.path.end(), call.begin(), call.end());
    }
    if (ended_.size() >= kEndedMax) ended_.pop_front();
    ended_.push_back({netns, way.identity, now_ns, std::move(traced)});
  }
  ways_.erase(found);
}

void PacketTraces::forget_old(std::uint64_t now_ns) {
  while (!ended_.empty() && ended_.front().time_ns + kQueueMemoryNs < now_ns) ended_.pop_front();
}

std::optional<TracedVerdict> PacketTraces::take(std::uint32_t netns, const std::string& identity,
                                                bool wants_queue, std::uint64_t now_ns) {
  const auto is_it = [&](const Ended& each) {
    return each.netns == netns && each.identity == identity &&
           (each.verdict.queue || each.time_ns + kDropMemoryNs >= now_ns);
  };
  const auto end = ended_.end();
  auto drop = end;  // the oldest of each
  auto queue = end;
  bool ambiguous = false;
  for (auto each = ended_.begin(); each != end; ++each) {
    if (!is_it(*each)) continue;
    auto& known = each->verdict.queue ? queue : drop;
    if (known == end)
      known = each;
    else if (known->verdict != each->verdict && (!each->verdict.queue || wants_queue))
      ambiguous = true;
  }
  // Nothing that was queued has been dropped by a rule, else that would be the drop.
  const auto told = drop != end ? drop : wants_queue ? queue : end;
  if (ambiguous) std::erase_if(ended_, is_it);
  if (ambiguous || told == end) return std::nullopt;
  TracedVerdict verdict = std::move(told->verdict);
  ended_.erase(told);
  return verdict;
}

std::optional<RuleFacts> place_verdict(NetfilterRecord& record, const TracedVerdict& verdict,
                                       const Ruleset& ruleset) {
  const Table* table = nullptr;
  const Chain* chain = nullptr;
  for (const Table& each : ruleset.nft) {
    const Chain* found = fits(each, verdict) ? chain_of(each, verdict.chain) : nullptr;
    if (!found || !has_rule(*found, verdict.rule)) continue;
    if (table) return std::nullopt;
    table = &each;
    chain = found;
  }
  if (!table) return std::nullopt;
  record.family = table->family;
  record.table = table->handle;
  record.chain = chain->handle;
  RuleFacts facts;
  facts.table = table->name;
  facts.chain = chain->name;
  // Somebody else may have switched tracing on in the middle of the packet's way.
  const Chain* base = verdict.path.empty() ? nullptr : chain_of(*table, verdict.path.front());
  if (!base || !base->hook) return facts;
  facts.path = verdict.path;
  if (!record.hook) record.hook = base->hook;
  return facts;
}

}  // namespace droptrace
