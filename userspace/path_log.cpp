// SPDX-License-Identifier: GPL-2.0-only
#include "path_log.h"

#include <linux/netlink.h>

#include <cerrno>
#include <set>
#include <utility>

#include "core/hop.h"
#include "kernel/conntrack.h"
#include "kernel/error.h"

namespace droptrace {

namespace {

constexpr std::uint64_t kSuspiciousNs = 300'000'000;  // no healthy answer takes so long
constexpr std::size_t kAtATime = 64;                  // unanswered attempts, each time it is asked

}  // namespace

PathLog::Loading PathLog::begin(const WatchMaps& maps, BpfOptions options,
                                const KernelTypes& types) {
  return std::async(std::launch::async, [&maps, options = std::move(options), &types] {
    return std::make_unique<PathHooks>(maps, options, types);
  });
}

std::optional<std::string> PathLog::use(Loading loading, BpfObject& bpf) {
  try {
    hooks_ = loading.get();
  } catch (const Error& error) {
    bpf.set_state("dt_path", error.what());
    return error.what();
  }
  for (const auto& [program, state] : hooks_->programs()) bpf.set_state(program, state);
  return std::nullopt;
}

void PathLog::drain() {
  if (!hooks_) return;
  const std::uint64_t lost = hooks_->lost();
  hooks_->consume([&](std::span<const std::byte> bytes) {
    if (const auto hop = decode_hop(bytes))
      paths_.add(*hop, lost);
    else
      ++malformed_;
  });
}

void PathLog::watch_counters(const Live& live) {
  std::set<std::uint32_t> all;
  for (const auto& [inum, ref] : live) all.insert(inum);
  watches_all_ = true;
  counters_.watch(all, live, all.size());
}

// Retransmissions will move the counters once more.
void PathLog::watch_pending(std::uint64_t now_ns, const Live& live) {
  if (watches_all_) return;
  std::set<std::uint32_t> suspects;
  for (const Attempted* const attempt : paths_.pending(now_ns, kSuspiciousNs)) {
    if (const std::uint32_t netns = suspect_netns(*attempt)) suspects.insert(netns);
  }
  counters_.watch(suspects, live);
}

std::optional<CounterChange> PathLog::change(const Attempted& attempt, const Live& live) const {
  const std::uint32_t netns = suspect_netns(attempt);
  return netns != 0 ? counters_.change(netns, live) : std::nullopt;
}

void PathLog::ask_conntrack(Attempted& attempt) {
  if (!conntrack_) conntrack_ = NetlinkSocket::open(NETLINK_NETFILTER);
  if (!conntrack_) return;
  int error = 0;
  attempt.entry = find_dialled(*conntrack_, attempt.dialled, error);
  attempt.has_no_entry = error == ENOENT;
}

std::vector<PathLog::Judged> PathLog::judge(std::uint64_t now_ns, bool all, const Live& live) {
  std::vector<Judged> results;
  if (!hooks_ || after_ns_ == 0) return results;
  const std::uint64_t lost = hooks_->lost();
  auto attempts = paths_.judge(now_ns, after_ns_, lost);
  if (all) {
    for (Attempted& attempt : paths_.judge_closed(lost)) attempts.push_back(std::move(attempt));
  }
  for (Attempted& attempt : attempts) {
    if (results.size() == kAtATime) {
      not_shown_ += attempts.size() - results.size();
      break;
    }
    Judged& judged = results.emplace_back();
    if (attempt.outcome() == Outcome::kUnanswered) {
      judged.change = change(attempt, live);
      ask_conntrack(attempt);
    }
    judged.attempt = std::move(attempt);
  }
  watch_pending(now_ns, live);
  return results;
}

void PathLog::add_losses(std::map<std::string, std::uint64_t>& lost) const {
  if (!hooks_) return;
  const auto add = [&](const char* cause, std::uint64_t count) {
    if (count > 0) lost[cause] = count;
  };
  add("path_hops", hooks_->lost());
  add("path_malformed", malformed_);
  add("attempts_forgotten", paths_.forgotten());
  add("attempts_unknown", paths_.unknown());
  add("attempts_not_shown", not_shown_);
}

}  // namespace droptrace
