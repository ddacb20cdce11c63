// SPDX-License-Identifier: GPL-2.0-only
#include "core/evaluation.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter_ipv4.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/rule_values.h"

namespace droptrace {
namespace {

constexpr std::size_t kCandidatesMax = 8;  // shown
constexpr Hook kIpHooks[] = {Hook::kPrerouting, Hook::kInput, Hook::kForward, Hook::kOutput,
                             Hook::kPostrouting};

bool is_ip_hook(Hook hook) { return std::ranges::find(kIpHooks, hook) != std::end(kIpHooks); }

// Where the stack crosses a bridge before anything of IP: its frames pass IP's hooks (br_netfilter)
// with devices that the record does not tell, and hooks of its own.
enum class Crossing { kNone, kBridgedIp, kBridge };

Crossing crossing_of(const std::vector<std::string_view>& functions) {
  for (const std::string_view function : functions) {
    if (function.starts_with("br_nf_")) return Crossing::kBridgedIp;
    if (function.starts_with("br_")) return Crossing::kBridge;
    for (const std::string_view prefix : {"ip_", "ip6_", "__ip_", "__ip6_", "ipv6_"}) {
      if (function.starts_with(prefix)) return Crossing::kNone;
    }
  }
  return Crossing::kNone;
}

// The entry that the packet itself carries; what is noted or looked up of another namespace's has
// no status.
const Conntrack* own_conntrack(const Record& record) {
  if (!record.conntrack) return nullptr;
  const Conntrack& conntrack = *record.conntrack;
  return conntrack.status == 0 && conntrack.has_nat() ? nullptr : &conntrack;
}

// An error message carries the entry of the connection that it is about.
bool is_about(const Conntrack& conntrack, const Packet& packet) {
  return packet.protocol && *packet.protocol != conntrack.original.protocol;
}

// As nf_conntrack_in() has found it (resolve_normal_ct()).
std::uint32_t state_of(const Conntrack& conntrack, const Packet& packet) {
  if ((conntrack.status & IPS_TEMPLATE) != 0) return 0;
  if (is_about(conntrack, packet)) return kCtRelated;
  if (conntrack.reply_direction || (conntrack.status & IPS_SEEN_REPLY) != 0) return kCtEstablished;
  return (conntrack.status & IPS_EXPECTED) != 0 ? kCtRelated : kCtNew;
}

void add_connection(PacketFacts& facts, const Record& record, const EvaluationScope& scope) {
  if (const Conntrack* const own = own_conntrack(record)) {
    facts.ct_states = state_of(*own, record.packet);
    facts.ct_status = own->status;
    facts.ct_reply = own->reply_direction;
  } else if (scope.conntrack_is_read) {
    facts.ct_states = kCtInvalid | kCtUntracked;
  }
}

// skb->dev is the device that the packet came in by, until it is sent.
void add_devices(PacketFacts& facts, const Record& record, Hook hook, const World& world) {
  const bool has_name = !record.ifname.empty();
  if (hook == Hook::kPrerouting || hook == Hook::kInput || hook == Hook::kForward) {
    if (has_name) facts.in = record.ifname;
  } else if (hook == Hook::kPostrouting) {
    if (has_name) facts.out = record.ifname;
    const Link* const link =
        record.netns && record.iif ? world.link(*record.netns, *record.iif) : nullptr;
    if (link) facts.in = link->name;
  }
}

std::optional<bool> is_local(const std::optional<Address>& address, const Netns* netns) {
  if (!address) return std::nullopt;
  if (is_loopback(*address)) return true;
  if (!netns || netns->addresses.empty()) return std::nullopt;
  return netns->addresses.contains(*address);
}

PacketFacts facts_of(const Record& record, std::uint32_t netns, const World& world,
                     const EvaluationScope& scope) {
  const Packet& packet = record.packet;
  PacketFacts facts;
  facts.v6 = packet.l3 == L3::kIpv6;
  facts.src = packet.src;
  facts.dst = packet.dst;
  facts.protocol = packet.protocol;
  facts.sport = packet.sport;
  facts.dport = packet.dport;
  facts.tcp_flags = packet.tcp_flags;
  facts.icmp_type = packet.icmp_type;
  facts.icmp_code = packet.icmp_code;
  facts.later_fragment = packet.later_fragment;
  facts.mark = record.mark;
  // A socket of another namespace is none to the rules of this one.
  facts.has_socket = record.sk_netns && *record.sk_netns == netns;
  const Netns* const known = world.netns(netns);
  facts.src_local = is_local(packet.src, known);
  facts.dst_local = is_local(packet.dst, known);
  add_connection(facts, record, scope);
  return facts;
}

// NAT changes destinations in the first hooks of a packet and sources in its last.
std::optional<int> priority_of_nat(const Record& record, Hook hook) {
  const Conntrack* const own = own_conntrack(record);
  const auto now = record.packet.tuple();
  if (!own || !now || is_about(*own, record.packet)) return std::nullopt;
  const Tuple& before = own->reply_direction ? own->reply : own->original;
  if (hook == Hook::kPrerouting || hook == Hook::kOutput) {
    if (now->dst != before.dst) return NF_IP_PRI_NAT_DST;
  } else if (hook == Hook::kPostrouting || hook == Hook::kInput) {
    if (now->src != before.src) return NF_IP_PRI_NAT_SRC;
  }
  return std::nullopt;
}

std::optional<std::string> answer_text(const std::optional<Answer>& answer) {
  if (!answer) return std::nullopt;
  if (answer->reset) return "rst";
  return fmt::format("icmp {}/{}", answer->icmp_type, answer->icmp_code);
}

bool is_named(const Record& record) {
  using Kind = NetfilterRecord::Kind;
  if (!record.netfilter) return false;
  const Kind kind = record.netfilter->kind;
  return kind == Kind::kNftRule || kind == Kind::kNftPolicy || kind == Kind::kXtRule;
}

// What has ended the packet there; false if it is nothing that rules do.
bool add_end(Inquiry& inquiry, const Record& record, const DropSite& site,
             const EvaluationScope& scope) {
  Question& question = inquiry.question;
  const bool in_queue = site.function == "nf_queue" || reinjects(site.function);
  if (in_queue) {
    using Kind = NetfilterRecord::Kind;
    const bool flushed = reinjects(site.function) && !handles_verdict(site.functions);
    const auto kind = record.netfilter ? record.netfilter->kind : Kind::kQueueVerdict;
    // Accepted, and then dropped by something behind the queue.
    if (!flushed && kind != Kind::kQueueVerdict && kind != Kind::kQueueFailed) return false;
    question.queued = true;
    if (record.netfilter && !flushed) question.queue = record.netfilter->queue;
    inquiry.by_rule = true;
    return true;
  }
  question.answer = answer_text(record.answer);
  if (site.function.starts_with("nft_")) {
    question.legacy = false;
    inquiry.by_rule = true;
    return true;
  }
  question.nft = !scope.nft_frees;
  return site.function == "nf_hook_slow";
}

RuleFacts describe(const Candidate& candidate, const PacketFacts& packet) {
  RuleFacts facts;
  facts.table = candidate.table->name;
  facts.chain = candidate.chain->name;
  facts.policy = candidate.rule == nullptr;
  for (const Chain* chain : candidate.path) facts.path.push_back(chain->name);
  if (!candidate.rule) return facts;
  facts.number = candidate.rule->number;
  facts.text = candidate.rule->text;
  facts.comment = candidate.rule->comment;
  facts.element = matched_element(*candidate.rule, packet);
  return facts;
}

// "ip filter FORWARD #3: -A FORWARD …", "policy of ip filter FORWARD".
std::string shown(const Candidate& candidate) {
  const std::string place = fmt::format("{} {} {}", to_string(candidate.table->family),
                                        candidate.table->name, candidate.chain->name);
  if (!candidate.rule) return "policy of " + place;
  const std::string& text = candidate.rule->text;
  return fmt::format("{} #{}{}{}", place, candidate.rule->number, text.empty() ? "" : ": ", text);
}

// The walks of all hooks where the packet can have been.
std::optional<Walk> walk_hooks(const RuleWalker& rules, const Inquiry& inquiry) {
  if (!inquiry.any_hook) return rules.walk(inquiry.question);
  Walk all;
  Question question = inquiry.question;
  for (const Hook hook : kIpHooks) {
    question.hook = hook;
    auto walk = rules.walk(question);
    if (!walk) return std::nullopt;
    std::ranges::move(walk->candidates, std::back_inserter(all.candidates));
  }
  return all;
}

std::optional<bool> common_bypass(const std::vector<Candidate>& candidates) {
  const bool first = candidates.front().rule->queue_bypass;
  const bool same = std::ranges::all_of(
      candidates, [&](const Candidate& each) { return each.rule->queue_bypass == first; });
  return same ? std::optional(first) : std::nullopt;
}

}  // namespace

std::optional<Inquiry> inquiry_of(const Record& record, const DropSite& site, const World& world,
                                  const EvaluationScope& scope) {
  Inquiry inquiry;
  const L3 l3 = record.packet.l3;
  const auto& frame = record.netfilter;
  const auto netns = frame && frame->netns ? frame->netns : record.netns;
  if (!netns || (l3 != L3::kIpv4 && l3 != L3::kIpv6)) return std::nullopt;
  inquiry.netns = *netns;
  inquiry.wants_rule = !is_named(record);
  if (!inquiry.wants_rule) {
    if (frame->kind != NetfilterRecord::Kind::kNftRule) return std::nullopt;
  } else if (!add_end(inquiry, record, site, scope)) {
    return std::nullopt;
  }
  const auto hook = frame && frame->hook ? frame->hook : hook_of_stack(site.functions);
  const Crossing crossing = crossing_of(site.functions);
  if (crossing == Crossing::kBridge || (hook && !is_ip_hook(*hook))) return std::nullopt;
  inquiry.any_hook = !hook;
  if (!hook && inquiry.wants_rule && !inquiry.question.queued) return std::nullopt;

  inquiry.question.packet = facts_of(record, *netns, world, scope);
  if (!hook) return inquiry;
  inquiry.question.hook = *hook;
  inquiry.question.from_priority = priority_of_nat(record, *hook);
  if (crossing == Crossing::kNone) add_devices(inquiry.question.packet, record, *hook, world);
  return inquiry;
}

std::optional<EvaluatedRules> evaluate_rules(const RuleWalker& rules, const Inquiry& inquiry) {
  const auto walk = walk_hooks(rules, inquiry);
  if (!walk || walk->candidates.empty()) return std::nullopt;
  const std::vector<Candidate>& candidates = walk->candidates;
  EvaluatedRules result;
  result.count = candidates.size();
  result.complete = walk->complete || inquiry.by_rule;
  if (inquiry.question.queued) result.bypass = common_bypass(candidates);
  if (candidates.size() == 1 && result.complete) {
    const Candidate& only = candidates.front();
    result.rule = describe(only, inquiry.question.packet);
    result.family = only.table->family;
    result.legacy = only.legacy;
    if (only.rule && only.rule->handle != 0) result.handle = only.rule->handle;
    return result;
  }
  for (const Candidate& candidate : candidates) {
    if (result.candidates.size() == kCandidatesMax) break;
    result.candidates.push_back(shown(candidate));
  }
  return result;
}

std::string matched_element(const Rule& rule, const PacketFacts& packet) {
  if (!rule.logic) return {};
  const SetLookup* lookup = rule.logic->map ? &*rule.logic->map : nullptr;
  for (const Match& match : rule.logic->matches) {
    const bool names = match.test == Match::Test::kInSet && !match.negated && match.lookup.set &&
                       match.lookup.set->named;
    if (names && !rule.logic->map) lookup = &match.lookup;
  }
  const Element* const element = lookup ? find_elements(*lookup, packet).sure : nullptr;
  return element ? element->text : std::string();
}

}  // namespace droptrace
