// SPDX-License-Identifier: GPL-2.0-only
#include "core/ruleset.h"

#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>

#include <algorithm>
#include <tuple>

namespace droptrace {
namespace {

struct BuiltinChain {
  std::string_view table;
  std::string_view chain;
  HookPoint place;
};

// The priorities of IPv6 (NF_IP6_PRI_*) have the same values.
constexpr BuiltinChain kBuiltinChains[] = {
    {"raw", "PREROUTING", {Hook::kPrerouting, NF_IP_PRI_RAW}},
    {"raw", "OUTPUT", {Hook::kOutput, NF_IP_PRI_RAW}},
    {"mangle", "PREROUTING", {Hook::kPrerouting, NF_IP_PRI_MANGLE}},
    {"mangle", "INPUT", {Hook::kInput, NF_IP_PRI_MANGLE}},
    {"mangle", "FORWARD", {Hook::kForward, NF_IP_PRI_MANGLE}},
    {"mangle", "OUTPUT", {Hook::kOutput, NF_IP_PRI_MANGLE}},
    {"mangle", "POSTROUTING", {Hook::kPostrouting, NF_IP_PRI_MANGLE}},
    {"nat", "PREROUTING", {Hook::kPrerouting, NF_IP_PRI_NAT_DST}},
    {"nat", "INPUT", {Hook::kInput, NF_IP_PRI_NAT_SRC}},
    {"nat", "OUTPUT", {Hook::kOutput, NF_IP_PRI_NAT_DST}},
    {"nat", "POSTROUTING", {Hook::kPostrouting, NF_IP_PRI_NAT_SRC}},
    {"filter", "INPUT", {Hook::kInput, NF_IP_PRI_FILTER}},
    {"filter", "FORWARD", {Hook::kForward, NF_IP_PRI_FILTER}},
    {"filter", "OUTPUT", {Hook::kOutput, NF_IP_PRI_FILTER}},
    {"security", "INPUT", {Hook::kInput, NF_IP_PRI_SECURITY}},
    {"security", "FORWARD", {Hook::kForward, NF_IP_PRI_SECURITY}},
    {"security", "OUTPUT", {Hook::kOutput, NF_IP_PRI_SECURITY}},
};

const Table* find_table(const std::vector<Table>& tables, NfFamily family, std::uint64_t handle) {
  const auto found = std::ranges::find_if(
      tables, [&](const Table& table) { return table.family == family && table.handle == handle; });
  return found == tables.end() ? nullptr : &*found;
}

void add_rules_of_queue(std::vector<RuleRef>& found, const std::vector<Table>& tables,
                        std::uint16_t queue) {
  for (const Table& table : tables) {
    for (const Chain& chain : table.chains) {
      for (const Rule& rule : chain.rules) {
        if (rule.queues && rule.queues->first <= queue && queue <= rule.queues->second) {
          found.push_back({&table, &chain, &rule});
        }
      }
    }
  }
}

}  // namespace

std::string_view to_string(NfFamily family) {
  switch (family) {
    case NfFamily::kIp:
      return "ip";
    case NfFamily::kIp6:
      return "ip6";
    case NfFamily::kInet:
      return "inet";
    case NfFamily::kBridge:
      return "bridge";
    case NfFamily::kArp:
      return "arp";
    case NfFamily::kNetdev:
      return "netdev";
  }
  return {};
}

std::optional<NfFamily> family_from_number(unsigned nfproto) {
  switch (nfproto) {
    case NFPROTO_IPV4:
      return NfFamily::kIp;
    case NFPROTO_IPV6:
      return NfFamily::kIp6;
    case NFPROTO_INET:
      return NfFamily::kInet;
    case NFPROTO_BRIDGE:
      return NfFamily::kBridge;
    case NFPROTO_ARP:
      return NfFamily::kArp;
    case NFPROTO_NETDEV:
      return NfFamily::kNetdev;
    default:
      return std::nullopt;
  }
}

bool Rule::operator==(const Rule& other) const {
  const auto all = [](const Rule& rule) {
    return std::tie(rule.handle, rule.number, rule.text, rule.comment, rule.target, rule.queues,
                    rule.is_goto, rule.verdict_map, rule.queue_bypass);
  };
  return all(*this) == all(other);
}

std::optional<HookPoint> builtin_hook_point(std::string_view table, std::string_view chain) {
  const auto found = std::ranges::find_if(kBuiltinChains, [&](const BuiltinChain& builtin) {
    return builtin.table == table && builtin.chain == chain;
  });
  if (found == std::end(kBuiltinChains)) return std::nullopt;
  return found->place;
}

std::optional<RuleRef> Ruleset::nft_rule(std::uint64_t table_handle, NfFamily family,
                                         std::uint64_t rule_handle) const {
  const Table* const table = find_table(nft, family, table_handle);
  if (!table) return std::nullopt;
  for (const Chain& chain : table->chains) {
    const auto rule = std::ranges::find(chain.rules, rule_handle, &Rule::handle);
    if (rule != chain.rules.end()) return RuleRef{table, &chain, &*rule};
  }
  return std::nullopt;
}

const Chain* Ruleset::nft_chain(std::uint64_t table_handle, NfFamily family,
                                std::uint64_t chain_handle) const {
  const Table* const table = find_table(nft, family, table_handle);
  if (!table) return nullptr;
  const auto chain = std::ranges::find(table->chains, chain_handle, &Chain::handle);
  return chain == table->chains.end() ? nullptr : &*chain;
}

std::optional<RuleRef> Ruleset::legacy_rule(NfFamily family, std::string_view table,
                                            std::string_view chain, unsigned number) const {
  for (const Table& candidate : legacy) {
    if (candidate.family != family || candidate.name != table) continue;
    const auto found = std::ranges::find(candidate.chains, chain, &Chain::name);
    if (found == candidate.chains.end()) return std::nullopt;
    const auto rule = std::ranges::find(found->rules, number, &Rule::number);
    if (rule == found->rules.end()) return std::nullopt;
    return RuleRef{&candidate, &*found, &*rule};
  }
  return std::nullopt;
}

std::vector<RuleRef> Ruleset::rules_of_queue(std::uint16_t queue) const {
  std::vector<RuleRef> found;
  add_rules_of_queue(found, nft, queue);
  add_rules_of_queue(found, legacy, queue);
  return found;
}

}  // namespace droptrace
