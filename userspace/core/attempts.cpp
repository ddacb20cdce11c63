// SPDX-License-Identifier: GPL-2.0-only
#include "core/attempts.h"

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <string_view>

namespace droptrace {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr unsigned kLongestWaitS = 120;  // TCP_RTO_MAX
constexpr std::size_t kMaxPlaces = 16;

// True if a wait between two SYNs is the schedule's. The kernel's timer wheel rounds a wait up by
// an eighth of it at most; the rest is what timers and drops may be late.
bool fits(std::int64_t wait_ns, unsigned scheduled_s) {
  constexpr std::int64_t kLatenessNs = 300'000'000;
  const std::int64_t scheduled_ns = scheduled_s * kSecondNs;
  return wait_ns >= scheduled_ns - kLatenessNs &&
         wait_ns <= scheduled_ns + scheduled_ns / 8 + kLatenessNs;
}

// Which SYNs of the schedule the first and the last of a row of SYNs are, 1 = first.
struct Numbering {
  unsigned first = 0;
  unsigned last = 0;
};

// Numbers SYNs sent at these times if the first of them is number first; between two of them others
// may be missing. nullopt if the schedule has no such waits. Its last entry is no SYN.
std::optional<Numbering> number_from(unsigned first, const std::vector<std::int64_t>& times_ns,
                                     const std::vector<unsigned>& schedule) {
  unsigned syn = first;
  for (std::size_t i = 1; i < times_ns.size(); ++i) {
    const std::int64_t wait_ns = times_ns[i] - times_ns[i - 1];
    unsigned next = syn + 1;
    while (next < schedule.size() && !fits(wait_ns, schedule[next - 1] - schedule[syn - 1])) ++next;
    if (next >= schedule.size()) return std::nullopt;
    syn = next;
  }
  return Numbering{first, syn};
}

// The numbering with the fewest SYNs missing, of equals the earliest. The first SYN is number
// lowest or later.
std::optional<Numbering> number_syns(unsigned lowest, const std::vector<std::int64_t>& times_ns,
                                     const std::vector<unsigned>& schedule) {
  std::optional<Numbering> best;
  for (unsigned first = lowest; first < schedule.size(); ++first) {
    const std::optional<Numbering> numbering = number_from(first, times_ns, schedule);
    if (!numbering) continue;
    const unsigned sent = numbering->last - numbering->first + 1;
    if (!best || sent < best->last - best->first + 1) best = numbering;
    if (sent == times_ns.size()) break;
  }
  return best;
}

// How often place was counted, this time included. Beyond the limit a new place is not kept.
unsigned count_place(std::map<std::string, unsigned>& places, const std::string& place) {
  if (places.size() >= kMaxPlaces && !places.contains(place)) return 1;
  return ++places[place];
}

}  // namespace

std::vector<unsigned> syn_schedule(const SynTimers& timers) {
  std::vector<unsigned> schedule = {0};
  for (unsigned i = 0; i < timers.linear_timeouts; ++i) schedule.push_back(schedule.back() + 1);
  unsigned wait_s = 1;
  for (unsigned i = 0; i <= timers.retries; ++i) {
    schedule.push_back(schedule.back() + wait_s);
    wait_s = std::min(2 * wait_s, kLongestWaitS);
  }
  return schedule;
}

std::size_t Attempts::KeyHash::operator()(const AttemptKey& key) const {
  std::size_t hash = key.isn;
  for (const Endpoint& end : {key.dialled.src, key.dialled.dst}) {
    const std::string_view address(reinterpret_cast<const char*>(end.address.bytes.data()),
                                   end.address.bytes.size());
    hash = hash * 31 + std::hash<std::string_view>{}(address);
    hash = hash * 31 + end.port.value_or(0);
  }
  return hash;
}

Attempts::Attempt& Attempts::find_or_add(const AttemptKey& key, std::int64_t time_ns) {
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) {
    by_age_.splice(by_age_.begin(), by_age_, found->second);
    return by_age_.front();
  }
  if (!by_age_.empty() && by_age_.size() >= capacity_) {
    by_key_.erase(by_age_.back().key);
    by_age_.pop_back();
    ++forgotten_;
  }
  Attempt& attempt = by_age_.emplace_front();
  attempt.key = key;
  attempt.seen_ns = time_ns;
  attempt.first_ns = time_ns;
  by_key_.emplace(key, by_age_.begin());
  return attempt;
}

void Attempts::number(Attempt& attempt, std::int64_t time_ns,
                      const std::vector<unsigned>& schedule) {
  attempt.row_ns.push_back(time_ns);
  const std::optional<Numbering> numbering =
      number_syns(attempt.row_lowest, attempt.row_ns, schedule);
  if (!numbering) {
    ++attempt.syn;
    attempt.row_ns = {time_ns};
    attempt.row_lowest = attempt.syn;
    return;
  }
  attempt.syn = numbering->last;
  const std::int64_t offset_ns = schedule[numbering->first - 1] * kSecondNs;
  attempt.first_ns = std::min(attempt.seen_ns, attempt.row_ns.front() - offset_ns);
}

AttemptState Attempts::add_drop(const AttemptKey& key, std::uint64_t time_ns,
                                const std::string& place, const std::optional<SynTimers>& timers) {
  const auto now_ns = static_cast<std::int64_t>(time_ns);
  const std::vector<unsigned> schedule = timers ? syn_schedule(*timers) : std::vector<unsigned>{};
  Attempt& attempt = find_or_add(key, now_ns);
  number(attempt, now_ns, schedule);
  ++attempt.dropped;

  AttemptState state;
  state.syn = attempt.syn;
  state.dropped = attempt.dropped;
  state.dropped_here = count_place(attempt.places, place);
  // Records of two CPUs may arrive in the wrong order.
  state.age_ns = static_cast<std::uint64_t>(std::max<std::int64_t>(now_ns - attempt.first_ns, 0));
  // A client that sends more SYNs than the schedule has timers of its own (TCP_SYNCNT).
  if (attempt.syn < schedule.size()) {
    state.gives_up_ns = static_cast<std::uint64_t>(schedule.back() * kSecondNs);
  }
  return state;
}

}  // namespace droptrace
