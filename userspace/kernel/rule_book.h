// SPDX-License-Identifier: GPL-2.0-only
// The packet-filter rules of each namespace, kept up to date and remembered after they are deleted.
// Structure (chains, positions, jumps) is read by netlink when the rule set's generation has
// changed, at once; the rules' text is read by the node's own tools, in the background.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/attribution.h"
#include "core/rule_walk.h"
#include "core/ruleset.h"
#include "kernel/event_loop.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/tool.h"

namespace droptrace {

class RuleBook {
 public:
  explicit RuleBook(EventLoop& loop) : loop_(loop) {}

  // Records that are named from here on happened before now: each namespace's generation is asked
  // for once, not for each of them.
  void begin_round() { ++round_; }

  // Names what the record says by handles, from the rules as they are or as they were; nullopt if
  // no rule set seen has it. live: namespaces that can be entered.
  std::optional<RuleFacts> name(const NetfilterRecord& record,
                                const std::map<std::uint32_t, NetnsRef>& live);

  // What the node's tools print for the rules of a namespace, with all that they match.
  struct Dump {
    SharedTables tables;   // nullptr: not known
    bool reading = false;  // it may be in a moment
  };
  // As they were when the packet was dropped: nothing if the rules are known to have changed since.
  Dump dump(std::uint32_t netns, std::chrono::steady_clock::time_point dropped_at,
            const std::map<std::uint32_t, NetnsRef>& live);

  // The rules of a namespace as they are now; nullptr if they are not known. Valid until the next
  // call of this class.
  const Ruleset* rules(std::uint32_t netns, const std::map<std::uint32_t, NetnsRef>& live);

  // True while the text of this namespace's rules is being read.
  bool reading(const std::optional<std::uint32_t>& netns) const;

  // Call now and then: ends programs that hang, forgets namespaces that are gone.
  void housekeep(const std::map<std::uint32_t, NetnsRef>& live);

  // Starts reading a namespace's rules, so that they are known before the first drop. With text
  // only what a dump of few rules holds: others take the node's tools too long.
  void prepare(std::uint32_t netns, const NetnsRef& ref, bool with_text);

 private:
  struct Key {
    NfFamily family;
    std::uint64_t table;
    std::uint64_t rule;
    auto operator<=>(const Key&) const = default;
  };
  using History = std::map<Key, RuleFacts>;
  struct Space {
    std::uint64_t checked_round = 0;
    bool current = false;  // the structure was that of the generation in checked_round
    std::optional<std::uint64_t> netns_cookie;
    std::string path;  // where the text is read
    std::optional<std::uint32_t> generation;
    std::optional<std::uint32_t> text_generation;        // whose text was read, or is being read
    std::optional<std::uint32_t> live_generation;        // as it was when it was asked for last
    std::chrono::steady_clock::time_point live_since{};  // when it was first seen
    bool has_changed = false;                            // live_generation is not the first one
    SharedTables dumped;  // what the tools have printed in dumped_generation
    std::optional<std::uint32_t> dumped_generation;
    std::optional<std::uint32_t> dump_tried;  // generation of which a dump was asked for
    std::chrono::steady_clock::time_point text_started{};
    std::chrono::steady_clock::time_point text_rest_until{};
    std::chrono::steady_clock::time_point dump_wanted{};  // when it was asked for last
    Ruleset rules;
    History history;  // rules of this and of earlier generations
    std::chrono::steady_clock::time_point rest_until{};
    std::vector<std::unique_ptr<Tool>> tools;  // reading text right now
    Ruleset before;                            // the structure when they were started
    std::string json;
    std::string text;
    std::vector<Table> saved;
  };

  // True if the structure is that of the current generation.
  bool refresh(Space& space, const NetnsRef& ref);
  // The same, once a round.
  void check(Space& space, const NetnsRef* ref);
  void read_text(Space& space, const NetnsRef& ref);
  void start_tools(Space& space);
  void finish_text(Space& space);
  void keep_dump(Space& space, const std::vector<Table>& tables,
                 const std::optional<std::uint32_t>& generation);
  static void remember(History& history, const std::vector<Table>& tables);

  EventLoop& loop_;
  NetnsSwitch switch_;
  std::uint64_t round_ = 1;
  std::map<std::uint32_t, Space> spaces_;
};

}  // namespace droptrace
