// SPDX-License-Identifier: GPL-2.0-only
// A namespace's packet-filter rules as values: from the dumps of nft and iptables-save, or from the
// kernel's own tables, to "which rule is handle 42". Pure: text and bytes in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/hook.h"
#include "core/rule_match.h"

namespace droptrace {

enum class NfFamily { kIp, kIp6, kInet, kBridge, kArp, kNetdev };

// As nft spells it: "ip", …
std::string_view to_string(NfFamily family);
// From NFPROTO_* (include/uapi/linux/netfilter.h); nullopt if it is none of these.
std::optional<NfFamily> family_from_number(unsigned nfproto);

// Where netfilter calls a base chain: at a hook, in the order of the priorities.
struct HookPoint {
  Hook hook = Hook::kPrerouting;
  int priority = 0;

  bool operator==(const HookPoint&) const = default;
};

// Where iptables hooks in FORWARD of filter, and so on; nullopt if the chain is not built into the
// table.
std::optional<HookPoint> builtin_hook_point(std::string_view table, std::string_view chain);

struct Rule {
  std::uint64_t handle = 0;  // nft's number, unique in its table; 0: legacy rules have none
  unsigned number = 0;       // 1-based position in its chain, as iptables --line-numbers prints it
  std::string text;  // as nft or iptables-save prints it; empty if only the kernel was asked
  std::string comment;
  std::string target;  // chain that it jumps or goes to, if it is one chain
  // Queues that it hands packets to, first and last; "queue num 100-103 bypass".
  std::optional<std::pair<std::uint16_t, std::uint16_t>> queues;
  bool is_goto = false;      // it goes to target and does not come back
  bool verdict_map = false;  // a map decides where it goes; only known from the kernel's own dump
  bool queue_bypass = false;
  std::shared_ptr<const RuleLogic> logic;  // nullptr if only the kernel was asked

  // But for the logic, which the text says as well.
  bool operator==(const Rule& other) const;
};

struct Chain {
  std::string name;
  std::uint64_t handle = 0;  // 0: legacy
  std::optional<Hook> hook;  // only of a base chain
  int priority = 0;
  bool policy_drop = false;
  bool nat = false;  // called for the first packet of a connection, by the NAT code
  std::vector<Rule> rules;

  bool operator==(const Chain&) const = default;
};

struct Table {
  NfFamily family = NfFamily::kIp;
  std::string name;
  std::uint64_t handle = 0;  // 0: legacy
  bool xtables = false;  // written by iptables-nft: its rules are shown as iptables-save has them
  std::vector<Chain> chains;

  bool operator==(const Table&) const = default;
};

struct RuleRef {
  const Table* table = nullptr;
  const Chain* chain = nullptr;
  const Rule* rule = nullptr;
};

struct Ruleset {
  std::vector<Table> nft;     // nf_tables, iptables-nft's tables among them
  std::vector<Table> legacy;  // ip_tables and ip6_tables

  // By handles, which never repeat in a table. nullopt if there is no such rule or chain.
  std::optional<RuleRef> nft_rule(std::uint64_t table_handle, NfFamily family,
                                  std::uint64_t rule_handle) const;
  const Chain* nft_chain(std::uint64_t table_handle, NfFamily family,
                         std::uint64_t chain_handle) const;
  // A legacy rule by its place. nullopt if there is none.
  std::optional<RuleRef> legacy_rule(NfFamily family, std::string_view table,
                                     std::string_view chain, unsigned number) const;
  // Rules that hand packets to this queue, in either backend.
  std::vector<RuleRef> rules_of_queue(std::uint16_t queue) const;
};

// nf_tables' tables from `nft -j -a list ruleset` (handles, hooks, jumps, comments) and
// `nft -a list ruleset` (the rules' text, found by handle). text may be empty. nullopt if json is
// no dump of nft.
std::optional<std::vector<Table>> parse_nft(std::string_view json, std::string_view text);

// Tables from iptables-save or ip6tables-save (family kIp or kIp6). Lines that are none of its are
// passed over. Used as they are for legacy.
std::vector<Table> parse_iptables_save(std::string_view text, NfFamily family);

// Gives the rules of iptables-nft's tables what iptables-nft-save prints for them: text, comment
// and queues. A chain whose rules differ in number or in where they jump to (the dumps were taken
// at different times) is left alone.
void use_iptables_text(std::vector<Table>& nft, const std::vector<Table>& saved);

// A rule in the binary table of ip_tables or ip6_tables, where the kernel counts it. What ends a
// chain is an entry as well, one past its last rule: a base chain's policy, any other's return.
struct XtRule {
  std::uint32_t offset = 0;  // from the start of the table's entries
  std::string chain;
  unsigned number = 0;  // 1-based
  bool policy = false;
  bool drops = false;    // its own verdict is DROP
  bool rejects = false;  // target REJECT
  std::string target;    // name of its target extension; empty: a standard verdict or a jump
  std::optional<std::uint32_t> jump;  // offset of the entry that it jumps or goes to
  bool returns = true;                // a jump's target returns here; not so with --goto
  std::string comment;
  std::vector<std::string> printed;  // some of what iptables-save prints of it: "--dport 80"
};

// The entries that IPT_SO_GET_ENTRIES returns (include/uapi/linux/netfilter_ipv4/ip_tables.h, and
// the IPv6 twin): names of chains from their error targets, positions, verdicts. hook_entries and
// underflows are of IPT_SO_GET_INFO, of the hooks in valid_hooks. nullopt if the bytes contradict
// themselves.
struct XtLayout {
  std::uint32_t valid_hooks = 0;  // bit n: hook n of NF_INET_*
  std::uint32_t hook_entries[5] = {};
  std::uint32_t underflows[5] = {};
};
std::optional<std::vector<XtRule>> parse_xt_entries(std::span<const std::byte> entries,
                                                    const XtLayout& layout, NfFamily family);

// May this be the table of these rules, as iptables-save has printed it? The two are read at
// different times, and a table that was another one in between looks the same before and after.
bool is_saved_as(const std::vector<XtRule>& rules, const Table& saved);

}  // namespace droptrace
