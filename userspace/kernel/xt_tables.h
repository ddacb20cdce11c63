// SPDX-License-Identifier: GPL-2.0-only
// The tables of ip_tables and ip6_tables in each namespace: tells the kernel side which rules can
// drop, and names the one whose counter moved. The kernel replaces a table whole at each change,
// and may put the next but one where this one was: a table is followed under a number of its own,
// from one change to the next, and what cannot be told from a change is not known.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/attribution.h"
#include "core/rule_walk.h"
#include "core/ruleset.h"
#include "kernel/bpf_object.h"
#include "kernel/event_loop.h"
#include "kernel/netns.h"
#include "kernel/tool.h"
#include "kernel/xt_sockopt.h"

namespace droptrace {

class XtTables {
 public:
  XtTables(EventLoop& loop, BpfObject& bpf) : loop_(loop), bpf_(bpf) {}

  using Live = std::map<std::uint32_t, NetnsRef>;  // namespaces that can be entered

  // Looks for tables that are new or have changed. Call now and then.
  void housekeep(const Live& live);

  // What the record says about the tables: the kernel side may have met one that it does not know.
  void listen(const NetfilterRecord& record, const Live& live);

  // Names the rule or policy; nullopt if the record has none or its table is forgotten.
  std::optional<RuleFacts> name(const NetfilterRecord& record) const;

  // Changes of this namespace's tables so far, as far as they were seen.
  std::uint64_t changes(std::uint32_t netns) const;

  // What iptables-save prints for the tables of a namespace, with all that their rules match.
  struct Dump {
    SharedTables tables;   // nullptr: not known
    bool reading = false;  // it may be in a moment
  };
  // As they were when the packet was dropped: nothing if they are known to have changed since.
  // unknown: the kernel side has met a table that it had not been told of.
  Dump dump(std::uint32_t netns, std::chrono::steady_clock::time_point dropped_at, bool unknown);

  // True while the text of this namespace's rules is being read.
  bool reading(const std::optional<std::uint32_t>& netns) const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Table {
    NfFamily family = NfFamily::kIp;
    std::string name;
    std::uint64_t info = 0;  // where the kernel has its rules
    std::uint32_t netns = 0;
    XtBlob blob;  // as it was read last
    std::vector<XtRule> rules;
    std::map<std::uint32_t, std::string> texts;  // by offset
    bool has_texts = false;
    std::optional<droptrace::Table> saved;  // all that was printed for it
    bool follows_another = false;           // it has taken the place of one that was followed
    Clock::time_point followed_at{};
    std::optional<Clock::time_point> replaced_at;
  };
  using Tables = std::map<std::uint64_t, Table>;  // by our number
  struct Space {
    std::string path;
    std::optional<dt_xt_list> list;  // as it was at the last look
    std::uint64_t changes = 0;
    Clock::time_point check_at{};    // the next look at the rules themselves
    Clock::time_point rest_until{};  // too early for another look that a record asks for
    std::vector<std::unique_ptr<Tool>> tools;
    std::vector<droptrace::Table> saved;  // what they have printed
    SharedTables dumped;                  // made of the tables with these numbers
    std::vector<std::uint64_t> dumped_numbers;
  };

  void look(std::uint32_t netns, Space& space, bool distrust);
  void read_tables(std::uint32_t netns, Space& space, bool distrust);
  void follow(Table table);
  void replace(Table& table);
  void forget_old();
  void read_texts(std::uint32_t netns, Space& space);
  void finish_texts(std::uint32_t netns, Space& space);
  static void take_texts(Table& table, const droptrace::Table& saved);
  bool all_followed(std::uint32_t netns, const Space& space);
  Tables::iterator find_current(std::uint32_t netns, const dt_xt_entry& entry);

  EventLoop& loop_;
  BpfObject& bpf_;
  NetnsSwitch switch_;
  std::map<std::uint32_t, Space> spaces_;
  Tables tables_;
  std::uint64_t last_number_ = 0;
};

}  // namespace droptrace
