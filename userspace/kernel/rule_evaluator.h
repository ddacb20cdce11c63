// SPDX-License-Identifier: GPL-2.0-only
// Evaluates the rules of the namespace where a packet was dropped, for what the kernel side could
// not tell of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>

#include "core/evaluation.h"
#include "kernel/netns.h"
#include "kernel/rule_book.h"
#include "kernel/xt_tables.h"

namespace droptrace {

class RuleEvaluator {
 public:
  RuleEvaluator(RuleBook& rules, XtTables& xt_tables) : rules_(rules), xt_tables_(xt_tables) {}

  // Adds what the rules say to the record, now_ns being CLOCK_BOOTTIME. False if more may be known
  // in a moment.
  bool evaluate(Record& record, const Inquiry& inquiry, std::uint64_t now_ns,
                const std::map<std::uint32_t, NetnsRef>& live);

 private:
  using Clock = std::chrono::steady_clock;
  struct Space {
    SharedTables nft;
    SharedTables legacy;
    std::unique_ptr<RuleWalker> walker;  // through these
  };

  const RuleWalker& walker_of(std::uint32_t netns, SharedTables nft, SharedTables legacy);
  bool has_time();

  RuleBook& rules_;
  XtTables& xt_tables_;
  std::map<std::uint32_t, Space> spaces_;
  Clock::time_point second_{};
  Clock::duration spent_{};  // in this second
};

}  // namespace droptrace
