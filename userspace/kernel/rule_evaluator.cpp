// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/rule_evaluator.h"

#include <utility>

namespace droptrace {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t kSpacesMax = 64;       // namespaces whose rules are kept at hand
constexpr milliseconds kTimePerSecond{100};  // for all drops; those beyond have no rule

bool met_unknown_table(const Record& record) {
  return record.netfilter && record.netfilter->kind == NetfilterRecord::Kind::kXtUnknown;
}

}  // namespace

const RuleWalker& RuleEvaluator::walker_of(std::uint32_t netns, SharedTables nft,
                                           SharedTables legacy) {
  if (spaces_.size() >= kSpacesMax && !spaces_.contains(netns)) spaces_.clear();
  Space& space = spaces_[netns];
  if (!space.walker || space.nft != nft || space.legacy != legacy) {
    space.walker = std::make_unique<RuleWalker>(nft, legacy);
    space.nft = std::move(nft);
    space.legacy = std::move(legacy);
  }
  return *space.walker;
}

bool RuleEvaluator::has_time() {
  const auto now = Clock::now();
  if (now - second_ >= std::chrono::seconds(1)) {
    second_ = now;
    spent_ = {};
  }
  return spent_ < kTimePerSecond;
}

bool RuleEvaluator::evaluate(Record& record, const Inquiry& inquiry, std::uint64_t now_ns,
                             const std::map<std::uint32_t, NetnsRef>& live) {
  if (!has_time()) return true;
  const auto start = Clock::now();
  const std::chrono::nanoseconds age(now_ns > record.boot_ns ? now_ns - record.boot_ns : 0);
  const auto dropped_at = start - age;
  RuleBook::Dump nft;
  XtTables::Dump legacy;
  if (inquiry.question.nft) {
    nft = rules_.dump(inquiry.netns, dropped_at, live);
    if (!nft.tables) return !nft.reading;
  }
  if (inquiry.question.legacy) {
    legacy = xt_tables_.dump(inquiry.netns, dropped_at, met_unknown_table(record));
    if (!legacy.tables) return !legacy.reading;
  }
  const RuleWalker& walker =
      walker_of(inquiry.netns, std::move(nft.tables), std::move(legacy.tables));
  if (inquiry.wants_rule) {
    record.evaluated = evaluate_rules(walker, inquiry);
  } else if (record.rule && record.netfilter && record.netfilter->family) {
    const NetfilterRecord& frame = *record.netfilter;
    const Rule* const rule = walker.find_rule(*frame.family, frame.table, frame.rule);
    if (rule) record.rule->element = matched_element(*rule, inquiry.question.packet);
  }
  spent_ += Clock::now() - start;
  return true;
}

}  // namespace droptrace
