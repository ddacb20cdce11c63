// SPDX-License-Identifier: GPL-2.0-only
// The way of a packet through a namespace's rules: which of them can have ended it. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/hook.h"
#include "core/rule_match.h"
#include "core/ruleset.h"

namespace droptrace {

// What became of a packet, and what it was like.
struct Question {
  Hook hook = Hook::kForward;
  bool queued = false;                 // a rule handed it to a queue; else it was dropped
  std::optional<std::uint16_t> queue;  // nullopt: to any
  std::optional<std::string> answer;   // "rst", "icmp 3/3": only a rule that rejects did that
  bool nft = true;                     // a rule of nf_tables can have done it
  bool legacy = true;                  // one of ip_tables can
  // NAT has changed the packet in this hook: chains that come before have seen another one.
  std::optional<int> from_priority;
  PacketFacts packet;
};

struct Candidate {
  const Table* table = nullptr;
  const Chain* chain = nullptr;
  const Rule* rule = nullptr;  // nullptr: the policy of the base chain
  bool legacy = false;
  std::vector<const Chain*> path;  // base chain first; empty if there are several ways
};

struct Walk {
  std::vector<Candidate> candidates;  // in the order in which the packet meets them
  bool complete = false;              // it is surely one of them: nothing gets past the last one
};

using SharedTables = std::shared_ptr<const std::vector<Table>>;

class RuleWalker {
 public:
  // Either may be nullptr: there are none.
  RuleWalker(SharedTables nft, SharedTables legacy);
  RuleWalker(const RuleWalker&) = delete;
  RuleWalker& operator=(const RuleWalker&) = delete;

  // nullopt where the rules cannot be followed: they are too many, nested too deep, go where
  // packets alone decide, or change the packet on its way.
  std::optional<Walk> walk(const Question& question) const;

  // nullptr if the table has no such chain.
  const Chain* find_chain(const Table& table, std::string_view name) const;
  // The rule of nf_tables with these handles; nullptr if there is none.
  const Rule* find_rule(NfFamily family, std::uint64_t table, std::uint64_t rule) const;

 private:
  SharedTables nft_;
  SharedTables legacy_;
  std::map<const Table*, std::unordered_map<std::string_view, const Chain*>> chains_;
};

}  // namespace droptrace
