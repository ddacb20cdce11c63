// SPDX-License-Identifier: GPL-2.0-only
// From what the kernel side read off a frame, in numbers, to the rule as a person knows it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/hook.h"
#include "core/ruleset.h"

namespace droptrace {

// A jump on the packet's way, in handles: where it would have gone on.
struct PathStep {
  std::uint64_t chain = 0;
  std::uint64_t next_rule = 0;  // 0: the jump was the chain's last rule. kXtRule, from_hook: who
                                // jumped
};

// What the kernel side found out about netfilter's part in a drop.
struct NetfilterRecord {
  enum class Kind {
    kNftRule,
    kNftPolicy,
    kXtRule,     // rule or policy: table is a number of XtTables, rule and the path are offsets
    kXtUnknown,  // ip_tables has changed; its tables have to be read again
    kQueueVerdict,
    kQueueFailed,
    kNotFound
  };
  Kind kind = Kind::kNotFound;
  std::optional<std::uint32_t> netns;  // of the hook
  std::optional<Hook> hook;
  std::optional<NfFamily> family;  // of the rule's table
  std::string table_name;          // where the kernel side was asked for names; may be cut
  std::string chain_name;
  std::uint64_t table = 0;  // handles
  std::uint64_t chain = 0;
  std::uint64_t rule = 0;
  std::vector<PathStep> path;  // base chain first; left-overs may follow
  std::optional<std::uint16_t> queue;
  std::vector<std::uint64_t> functions;  // of the hook: one of these dropped the packet
  bool has_function = false;             // the first one did
  bool has_entry = false;                // the packet had a conntrack entry
  bool traced = false;     // the rule, which may be the one that queued, is from a packet trace
  bool from_hook = false;  // noted at the verdict; of a queue: the rule that queued the packet

  // A rule of nf_tables that dropped or queued the packet: table and rule are handles.
  bool has_nft_rule() const;
};

// Where the rule is, by name. Everything is known or absent, nothing guessed.
struct RuleFacts {
  std::string table;
  std::string chain;
  std::optional<unsigned> number;
  std::string text;
  std::string comment;
  std::string element;  // of the set or map that the rule looks up: the packet's, as nft prints it
  std::vector<std::string> path;  // chains, base chain first, ending with the rule's; may be empty
  bool policy = false;            // of ip_tables: the base chain's policy, which has no number
};

// What is left of the rules once a dump of them has been evaluated for the packet.
struct EvaluatedRules {
  std::optional<RuleFacts> rule;  // if there is only one
  std::optional<NfFamily> family;
  std::optional<std::uint64_t> handle;
  bool legacy = false;                  // it is one of ip_tables
  std::vector<std::string> candidates;  // if there is more than one: the first of them
  std::size_t count = 0;                // of all that there are
  bool complete = false;                // it is surely one of them
  std::optional<bool> bypass;           // of rules that queue: without a listener packets pass
};

// Names the record's rule or policy in a dump of its namespace; nullopt if the dump does not have
// it (it is from another time).
std::optional<RuleFacts> name_rule(const NetfilterRecord& record, const Ruleset& ruleset);

// The chains on the way to the rule's: each step's jump must go to the next chain. What the jump
// stack has behind that is left over. Empty if the rules say otherwise.
std::vector<std::string> name_path(const NetfilterRecord& record, const Ruleset& ruleset);

// Names a rule or policy of ip_tables by its offset in the table; nullopt if there is none.
std::optional<RuleFacts> name_xt_rule(const NetfilterRecord& record, std::string_view table,
                                      const std::vector<XtRule>& rules);

}  // namespace droptrace
