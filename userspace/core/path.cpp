// SPDX-License-Identifier: GPL-2.0-only
#include "core/path.h"

#include <algorithm>
#include <utility>

namespace droptrace {
namespace {

constexpr std::size_t kMaxHops = 32;
constexpr std::uint64_t kKeptNs = 150'000'000'000;  // above TCP_RTO_MAX: the next SYN is known
constexpr std::size_t kMaxAnswered = 1024;

// NAT changes one end at a time, or conntrack tells both.
bool is_related(const Attempted& attempt, const Tuple& there,
                const std::optional<Tuple>& original) {
  if (original == attempt.dialled || there == attempt.dialled) return true;
  const auto shares_end = [&](const Tuple& tuple) {
    return tuple.src == there.src || tuple.dst == there.dst;
  };
  if (shares_end(attempt.dialled)) return true;
  return std::ranges::any_of(attempt.hops, [&](const Hop& hop) {
    return shares_end(hop.from_client()) || (original && hop.original == original);
  });
}

// The number that an answer acknowledges, less one.
std::optional<std::uint32_t> acknowledged(const Record& record) {
  const auto& bytes = record.bytes;
  if (bytes.empty()) return std::nullopt;
  const bool v6 = record.packet.l3 == L3::kIpv6;
  if (v6 && (bytes.size() < 40 || bytes[6] != 6)) return std::nullopt;
  const std::size_t at = (v6 ? 40U : (bytes[0] & 0xfU) * 4U) + 8U;
  if (bytes.size() < at + 4) return std::nullopt;
  const std::uint32_t number = std::uint32_t{bytes[at]} << 24U |
                               std::uint32_t{bytes[at + 1]} << 16U |
                               std::uint32_t{bytes[at + 2]} << 8U | bytes[at + 3];
  return number - 1;
}

const Hop* last_of(const std::vector<Hop>& hops, bool (Hop::*is_one)() const) {
  const Hop* last = nullptr;
  for (const Hop& hop : hops) {
    if ((hop.*is_one)() && (!last || hop.boot_ns >= last->boot_ns)) last = &hop;
  }
  return last;
}

}  // namespace

unsigned Attempted::syn() const { return std::max({syns, retransmits + 1, 1U}); }

Outcome Attempted::outcome() const {
  if (established) return Outcome::kAnswered;
  if (was_reset || refused) return Outcome::kRejected;
  if (answer_ns != 0) {
    const Hop* const answer = last_answer();
    return answer && answer->is_reset() ? Outcome::kRejected : Outcome::kAnswered;
  }
  return dropped > 0 ? Outcome::kDropped : Outcome::kUnanswered;
}

const Hop* Attempted::last_syn() const { return last_of(hops, &Hop::is_syn); }
const Hop* Attempted::last_answer() const { return last_of(hops, &Hop::is_answer); }

Paths::List::iterator Paths::find(std::uint32_t isn, const Tuple& there,
                                  const std::optional<Tuple>& original) {
  const auto [first, last] = by_isn_.equal_range(isn);
  for (auto found = first; found != last; ++found) {
    if (is_related(found->second->attempt, there, original)) return found->second;
  }
  return open_.end();
}

void Paths::erase(List& list, List::iterator entry) {
  const auto [first, last] = by_isn_.equal_range(entry->attempt.isn);
  for (auto found = first; found != last; ++found) {
    if (found->second != entry) continue;
    by_isn_.erase(found);
    break;
  }
  list.erase(entry);
}

bool Paths::is_silent(const Entry& entry) {
  return entry.attempt.outcome() == Outcome::kUnanswered;
}

void Paths::make_room() {
  if (by_isn_.size() < capacity_) return;
  if (!judged_.empty()) {
    erase(judged_, judged_.begin());
    return;
  }
  if (is_silent(open_.front())) ++forgotten_;
  erase(open_, open_.begin());
}

Paths::List::iterator Paths::begin(const Hop& hop, std::uint64_t lost) {
  make_room();
  Entry& entry = open_.emplace_back();
  entry.lost = lost;
  entry.attempt.isn = hop.isn;
  entry.attempt.first_ns = hop.boot_ns;
  entry.attempt.dialled = hop.original.value_or(hop.tuple);
  const auto added = std::prev(open_.end());
  by_isn_.emplace(hop.isn, added);
  return added;
}

void Paths::add_packet(Attempted& attempt, const Hop& hop) {
  const bool is_first_place =
      attempt.has_place && hop.same_place(attempt.place) && hop.same_event(attempt.place);
  if (hop.is_syn()) {
    const bool again = std::ranges::any_of(attempt.hops, [&](const Hop& other) {
      return other.is_syn() && other.same_place(hop) && other.same_event(hop);
    });
    if (is_first_place || again || !attempt.has_place) {
      attempt.hops.clear();
      attempt.left_out = 0;
      attempt.place = hop;
      attempt.has_place = true;
      ++attempt.syns;
      if (attempt.answer_ns != 0) attempt.answer_ignored = true;
      attempt.answer_ns = 0;
    }
  } else if (hop.is_answer() && attempt.has_place && hop.same_place(attempt.place)) {
    attempt.answer_ns = hop.boot_ns;
  }
  if (attempt.hops.size() < kMaxHops)
    attempt.hops.push_back(hop);
  else
    ++attempt.left_out;
}

void Paths::note_answered(Attempted& attempt) {
  attempt.established = true;
  const bool had_trouble = attempt.reported || attempt.dropped > 0 || attempt.syn() > 1;
  if (had_trouble && answered_.size() < kMaxAnswered) answered_.push_back(attempt);
  if (!keeps_hops_) attempt.hops = {};
}

void Paths::add(const Hop& hop, std::uint64_t lost) {
  auto entry = find(hop.isn, hop.from_client(), hop.original);
  if (entry == open_.end()) {
    if (!hop.is_syn() && hop.event != HopEvent::kRetransmit) return;
    entry = begin(hop, lost);
  }
  Attempted& attempt = entry->attempt;
  attempt.last_ns = std::max(attempt.last_ns, hop.boot_ns);
  if (attempt.established) return;  // what was on its way still
  switch (hop.event) {
    case HopEvent::kTransmit:
    case HopEvent::kReceive:
    case HopEvent::kHook:
      return add_packet(attempt, hop);
    case HopEvent::kEstablished:
      return note_answered(attempt);
    case HopEvent::kRetransmit:
      ++attempt.retransmits;
      return;
    case HopEvent::kWasReset:
      attempt.was_reset = true;
      break;
    case HopEvent::kIcmp:
      attempt.refused = true;
      break;
    case HopEvent::kClosed:
      attempt.closed = true;
      return;
    case HopEvent::kReset:
    case HopEvent::kSynAckAgain:
      break;
  }
  if (attempt.hops.size() < kMaxHops) attempt.hops.push_back(hop);
}

const Attempted* Paths::add_drop(const Record& record, bool answered, bool harmless) {
  const Packet& packet = record.packet;
  const std::optional<Tuple> tuple = packet.tuple();
  if (!tuple || !packet.tcp_flags || !packet.seq) return nullptr;
  const bool is_answer = (*packet.tcp_flags & kTcpAck) != 0;
  if ((*packet.tcp_flags & (kTcpSyn | kTcpRst)) == 0) return nullptr;
  const std::optional<std::uint32_t> isn = is_answer ? acknowledged(record) : packet.seq;
  if (!isn) return nullptr;
  const std::optional<Tuple> original =
      record.conntrack ? std::optional(record.conntrack->original) : std::nullopt;
  const auto entry = find(*isn, is_answer ? tuple->reversed() : *tuple, original);
  if (entry == open_.end()) return nullptr;
  if (!harmless) ++entry->attempt.dropped;
  if (answered) entry->attempt.refused = true;
  // It has come to the client's place, but no further.
  if (is_answer && !harmless) entry->attempt.answer_ns = 0;
  return &entry->attempt;
}

// What was lost may have been the answer. A client that goes on trying has none.
bool Paths::is_known(Entry& entry, std::uint64_t lost) {
  if (entry.lost == lost) return true;
  entry.attempt.incomplete = true;
  if (entry.attempt.retransmits > 0) return true;
  ++unknown_;
  return false;
}

std::vector<Attempted> Paths::judge(std::uint64_t now_ns, std::uint64_t after_ns,
                                    std::uint64_t lost) {
  std::vector<Attempted> results = std::exchange(answered_, {});
  while (!open_.empty() && open_.front().attempt.first_ns + after_ns <= now_ns) {
    const auto entry = open_.begin();
    Attempted& attempt = entry->attempt;
    if (is_silent(*entry) && is_known(*entry, lost)) {
      attempt.reported = true;
      results.push_back(attempt);
    }
    if (attempt.outcome() == Outcome::kAnswered && !keeps_hops_) attempt.hops = {};
    judged_.splice(judged_.end(), open_, entry);
  }
  while (!judged_.empty() && judged_.front().attempt.last_ns + kKeptNs <= now_ns)
    erase(judged_, judged_.begin());
  return results;
}

std::vector<Attempted> Paths::judge_closed(std::uint64_t lost) {
  std::vector<Attempted> results = std::exchange(answered_, {});
  for (Entry& entry : open_) {
    if (!entry.attempt.closed || !is_silent(entry) || !is_known(entry, lost)) continue;
    entry.attempt.reported = true;
    results.push_back(entry.attempt);
  }
  return results;
}

const Attempted* Paths::find_dialled(const Tuple& dialled) const {
  for (const List* const list : {&open_, &judged_}) {
    for (auto entry = list->rbegin(); entry != list->rend(); ++entry) {
      if (entry->attempt.dialled == dialled) return &entry->attempt;
    }
  }
  return nullptr;
}

std::vector<const Attempted*> Paths::pending(std::uint64_t now_ns, std::uint64_t for_ns) const {
  std::vector<const Attempted*> found;
  for (const Entry& entry : open_) {
    if (entry.attempt.first_ns + for_ns > now_ns) break;
    if (is_silent(entry)) found.push_back(&entry.attempt);
  }
  return found;
}

}  // namespace droptrace
