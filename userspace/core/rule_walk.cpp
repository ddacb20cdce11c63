// SPDX-License-Identifier: GPL-2.0-only
#include "core/rule_walk.h"

#include <linux/netfilter_ipv4.h>

#include <algorithm>
#include <utility>

#include "core/reject.h"

namespace droptrace {
namespace {

constexpr std::size_t kStepsMax = 100'000;  // rules and elements looked at for one packet
constexpr std::size_t kDepthMax = 64;       // of jumps; nf_tables allows 16

// What may come of a rule or a chain: one of these, or several where it is not known which. That a
// packet of which the end is known has ended otherwise before cannot be.
enum Result : unsigned {
  kHit = 1,       // ended as asked
  kGone = 2,      // ended otherwise
  kAccepted = 4,  // left this base chain's rules for what comes behind them
  kNext = 8,      // went on to the next rule
  kLeft = 16,     // went back to where it was called from
};

struct BaseChain {
  const Table* table = nullptr;
  const Chain* chain = nullptr;
  bool legacy = false;
};

// One walk.
class Walking {
 public:
  Walking(const RuleWalker& walker, const Question& question)
      : walker_(walker), question_(question), packet_(question.packet) {}

  void forget_mark() { packet_.mark.reset(); }
  Walk run(const std::vector<BaseChain>& chains);

  bool failed() const { return failed_; }
  // A rule may have set the mark before another ended the packet: nobody knows what it was before.
  bool mark_was_set() const { return hit_behind_mark_; }

 private:
  unsigned enter(const BaseChain& base);
  unsigned walk_chain(const Chain& chain);
  unsigned apply(const Rule& rule);
  unsigned apply_map(const Rule& rule, const SetLookup& map);
  unsigned apply_verdict(const Rule& rule, const Verdict& verdict);
  unsigned call(const std::string& name, unsigned on_return);
  unsigned end_by(const Rule* rule, Verdict::Kind kind);
  bool is_asked_for(const Rule* rule, Verdict::Kind kind) const;
  void add_candidate(const Rule* rule);
  void count(std::size_t steps) {
    steps_ += steps;
    failed_ = failed_ || steps_ > kStepsMax;
  }

  const RuleWalker& walker_;
  const Question& question_;
  PacketFacts packet_;
  BaseChain base_;
  std::vector<const Chain*> path_;
  Walk walk_;
  std::size_t steps_ = 0;
  bool failed_ = false;
  bool mark_set_ = false;
  bool altered_ = false;
  bool hit_behind_mark_ = false;
};

// Chains of one priority are called in an order that no dump tells: all of them may be the first.
Walk Walking::run(const std::vector<BaseChain>& chains) {
  for (auto base = chains.begin(); base != chains.end() && !walk_.complete && !failed_;) {
    const int priority = base->chain->priority;
    bool stopped = false;
    for (; base != chains.end() && base->chain->priority == priority; ++base) {
      const unsigned result = enter(*base);
      if ((result & kAccepted) != 0) continue;
      stopped = true;
      walk_.complete = walk_.complete || (result & kHit) != 0;
    }
    if (stopped) break;
  }
  return std::move(walk_);
}

unsigned Walking::enter(const BaseChain& base) {
  base_ = base;
  path_.clear();
  // What these see has no connection yet.
  packet_.ct_states = base.chain->priority > NF_IP_PRI_CONNTRACK ? question_.packet.ct_states : 0;
  unsigned result = walk_chain(*base.chain);
  if ((result & kLeft) != 0) {
    result &= ~kLeft;
    result |= base.chain->policy_drop ? end_by(nullptr, Verdict::Kind::kDrop) : kAccepted;
  }
  // Only a connection's first packet sees these, and not if it has been translated elsewhere.
  return base.chain->nat ? result | kAccepted : result;
}

unsigned Walking::walk_chain(const Chain& chain) {
  if (path_.size() >= kDepthMax) {
    failed_ = true;
    return kLeft;
  }
  path_.push_back(&chain);
  unsigned result = 0;
  bool goes_on = true;
  for (const Rule& rule : chain.rules) {
    count(1);
    if (failed_) break;
    const unsigned of_rule = apply(rule);
    result |= of_rule & ~kNext;
    goes_on = (of_rule & kNext) != 0;
    if (!goes_on) break;
  }
  path_.pop_back();
  return goes_on ? result | kLeft : result;
}

unsigned Walking::apply(const Rule& rule) {
  if (!rule.logic) {
    failed_ = true;
    return kNext;
  }
  const RuleLogic& logic = *rule.logic;
  const Truth truth = evaluate(logic.matches, packet_);
  if (truth == Truth::kNo) return kNext;
  mark_set_ = mark_set_ || logic.sets_mark;
  altered_ = altered_ || logic.alters;
  const unsigned result =
      logic.map ? apply_map(rule, *logic.map) : apply_verdict(rule, logic.verdict);
  return truth == Truth::kYes ? result : result | kNext;
}

unsigned Walking::apply_map(const Rule& rule, const SetLookup& map) {
  const Found found = find_elements(map, packet_);
  if (!found.known) {
    failed_ = true;  // it may lead anywhere
    return kNext;
  }
  count(map.set ? map.set->elements.size() / 16 : 0);
  if (found.sure) return apply_verdict(rule, found.sure->verdict);
  unsigned result = kNext;
  for (const Element* element : found.possible) {
    if (failed_) break;
    result |= apply_verdict(rule, element->verdict);
  }
  return result;
}

unsigned Walking::apply_verdict(const Rule& rule, const Verdict& verdict) {
  switch (verdict.kind) {
    case Verdict::Kind::kContinue:
      return kNext;
    case Verdict::Kind::kAccept:
      return kAccepted;
    case Verdict::Kind::kReturn:
      return kLeft;
    case Verdict::Kind::kJump:
      return call(verdict.chain, kNext);
    case Verdict::Kind::kGoto:
      return call(verdict.chain, kLeft);
    case Verdict::Kind::kDrop:
    case Verdict::Kind::kReject:
    case Verdict::Kind::kQueue:
      return end_by(&rule, verdict.kind);
    case Verdict::Kind::kUnknown:
      return end_by(&rule, verdict.kind) | kAccepted | kNext;
  }
  return kNext;
}

unsigned Walking::call(const std::string& name, unsigned on_return) {
  const Chain* const chain = walker_.find_chain(*base_.table, name);
  if (!chain) {
    failed_ = true;
    return kNext;
  }
  const unsigned result = walk_chain(*chain);
  return (result & kLeft) != 0 ? (result & ~kLeft) | on_return : result;
}

bool Walking::is_asked_for(const Rule* rule, Verdict::Kind kind) const {
  if (base_.legacy ? !question_.legacy : !question_.nft) return false;
  if (question_.queued) {
    if (kind != Verdict::Kind::kQueue || !rule) return false;
    return !question_.queue || !rule->queues ||
           (rule->queues->first <= *question_.queue && *question_.queue <= rule->queues->second);
  }
  if (kind == Verdict::Kind::kQueue) return false;
  if (!question_.answer || kind == Verdict::Kind::kUnknown) return true;
  if (kind != Verdict::Kind::kReject || !rule) return false;
  const auto answer = answer_of_rule(rule->text, packet_.v6);
  return !answer || answer == question_.answer;
}

// By a rule, or by the policy of the base chain.
unsigned Walking::end_by(const Rule* rule, Verdict::Kind kind) {
  if (is_asked_for(rule, kind)) {
    add_candidate(rule);
    return kHit;
  }
  // What is in another queue comes back to the base chains behind this one.
  return kind == Verdict::Kind::kQueue ? kAccepted : kGone;
}

void Walking::add_candidate(const Rule* rule) {
  hit_behind_mark_ = hit_behind_mark_ || mark_set_;
  failed_ = failed_ || altered_;
  const Chain* const chain = rule ? path_.back() : base_.chain;
  const auto known = std::ranges::find_if(walk_.candidates, [&](const Candidate& each) {
    return each.rule == rule && each.chain == chain;
  });
  if (known == walk_.candidates.end())
    walk_.candidates.push_back({base_.table, chain, rule, base_.legacy, path_});
  else if (known->path != path_)
    known->path.clear();
}

bool is_of_family(NfFamily family, bool v6) {
  return family == NfFamily::kInet || family == (v6 ? NfFamily::kIp6 : NfFamily::kIp);
}

void add_base_chains(std::vector<BaseChain>& found, const std::vector<Table>& tables, bool legacy,
                     const Question& question) {
  for (const Table& table : tables) {
    if (!is_of_family(table.family, question.packet.v6)) continue;
    for (const Chain& chain : table.chains) {
      const bool seen_as_it_is =
          !question.from_priority || (chain.priority >= *question.from_priority && !chain.nat);
      if (chain.hook == question.hook && seen_as_it_is) found.push_back({&table, &chain, legacy});
    }
  }
}

}  // namespace

RuleWalker::RuleWalker(SharedTables nft, SharedTables legacy)
    : nft_(std::move(nft)), legacy_(std::move(legacy)) {
  for (const SharedTables& tables : {nft_, legacy_}) {
    if (!tables) continue;
    for (const Table& table : *tables) {
      auto& chains = chains_[&table];
      for (const Chain& chain : table.chains) chains.emplace(chain.name, &chain);
    }
  }
}

const Chain* RuleWalker::find_chain(const Table& table, std::string_view name) const {
  const auto chains = chains_.find(&table);
  if (chains == chains_.end()) return nullptr;
  const auto chain = chains->second.find(name);
  return chain == chains->second.end() ? nullptr : chain->second;
}

const Rule* RuleWalker::find_rule(NfFamily family, std::uint64_t table_handle,
                                  std::uint64_t rule_handle) const {
  if (!nft_) return nullptr;
  for (const Table& table : *nft_) {
    if (table.family != family || table.handle != table_handle) continue;
    for (const Chain& chain : table.chains) {
      const auto rule = std::ranges::find(chain.rules, rule_handle, &Rule::handle);
      if (rule != chain.rules.end()) return &*rule;
    }
  }
  return nullptr;
}

std::optional<Walk> RuleWalker::walk(const Question& question) const {
  std::vector<BaseChain> chains;
  if (nft_) add_base_chains(chains, *nft_, false, question);
  if (legacy_) add_base_chains(chains, *legacy_, true, question);
  std::ranges::stable_sort(chains, {}, [](const BaseChain& each) { return each.chain->priority; });

  // The packet's mark is the one that it ended with, so it counts only if no rule may have set it.
  Walking without_mark(*this, question);
  without_mark.forget_mark();
  Walk walk = without_mark.run(chains);
  if (without_mark.failed()) return std::nullopt;
  if (!question.packet.mark || without_mark.mark_was_set()) return walk;
  Walking with_mark(*this, question);
  walk = with_mark.run(chains);
  if (with_mark.failed()) return std::nullopt;
  return walk;
}

}  // namespace droptrace
