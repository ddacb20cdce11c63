// SPDX-License-Identifier: GPL-2.0-only
#include "report/summary.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace droptrace {

namespace {

constexpr std::size_t kGroupsMost = 2000;
constexpr std::size_t kPairsMost = 5000;
constexpr std::size_t kCountersMost = 2000;
constexpr std::size_t kStationsMost = 500;
constexpr std::size_t kPlacesMost = 8;
constexpr std::size_t kAttemptsMost = 100'000;
constexpr std::size_t kAttemptsKept = 100;  // the worst, when there are too many
constexpr std::size_t kNotesMost = 12;
constexpr const char* kOthers = "others";
const std::string kNoDrop = "no drop seen";

void count(std::map<std::string, std::uint64_t>& counters, const std::string& key) {
  if (key.empty()) return;
  const bool full = counters.size() >= kCountersMost && !counters.contains(key);
  ++counters[full ? kOthers : key];
}

// An index of its own for each key; those beyond the limit have one together.
template <typename Item>
std::pair<std::uint32_t, bool> index_of(std::unordered_map<std::string, std::uint32_t>& index,
                                        std::vector<Item>& items, std::string key,
                                        std::size_t most) {
  if (items.size() >= most && !index.contains(key)) key.clear();
  const auto [place, fresh] = index.emplace(key, static_cast<std::uint32_t>(items.size()));
  if (fresh) items.emplace_back();
  return {place->second, fresh};
}

bool is_worse(const ReportAttempt& left, const ReportAttempt& right) {
  const auto weight = [](const ReportAttempt& attempt) {
    return std::pair(attempt.outcome != AttemptOutcome::kAnswered, attempt.syns);
  };
  return weight(left) > weight(right);
}

template <typename Item, typename Less>
std::vector<const Item*> best(const std::vector<Item>& items, std::size_t most, Less less) {
  std::vector<const Item*> result;
  result.reserve(items.size());
  for (const Item& item : items) result.push_back(&item);
  std::ranges::stable_sort(result, [&](const Item* a, const Item* b) { return less(*a, *b); });
  if (result.size() > most) result.resize(most);
  return result;
}

std::size_t at(AttemptOutcome outcome) { return static_cast<std::size_t>(outcome); }

}  // namespace

std::string place_of(const ReportEvent& event) {
  const std::string where = event.where.empty() ? "a namespace not known" : event.where;
  if (!event.hook.empty()) return where + ", " + event.hook + " hook";
  return event.function.empty() ? where : where + ", " + event.function;
}

std::string CauseGroup::name() const {
  if (!first.cause.empty()) return first.cause;
  return first.reason.empty() ? std::string(to_string(first.outcome)) : first.reason;
}

void Timeline::merge_pairs() {
  bucket_ns_ *= 2;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    const OutcomeCounts counts = std::exchange(buckets_[i], {});
    for (std::size_t kind = 0; kind < kOutcomes; ++kind) buckets_[i / 2][kind] += counts[kind];
  }
  buckets_.resize((buckets_.size() + 1) / 2);
}

void Timeline::add(std::int64_t time_ns, AttemptOutcome outcome) {
  time_ns = std::clamp<std::int64_t>(time_ns, 0, std::int64_t{1} << 62U);
  if (buckets_.empty()) start_ns_ = time_ns;
  // Events of another file may be earlier.
  while (time_ns < start_ns_) {
    const auto missing =
        static_cast<std::size_t>((start_ns_ - time_ns + bucket_ns_ - 1) / bucket_ns_);
    if (missing + buckets_.size() > kBuckets) {
      merge_pairs();
      continue;
    }
    buckets_.insert(buckets_.begin(), missing, OutcomeCounts{});
    start_ns_ -= static_cast<std::int64_t>(missing) * bucket_ns_;
  }
  while ((time_ns - start_ns_) / bucket_ns_ >= static_cast<std::int64_t>(kBuckets)) merge_pairs();
  const auto index = static_cast<std::size_t>((time_ns - start_ns_) / bucket_ns_);
  if (index >= buckets_.size()) buckets_.resize(index + 1);
  ++buckets_[index][at(outcome)];
}

void Summary::begin_source(std::string file) {
  ReportSource source;
  source.file = std::move(file);
  sources_.push_back(std::move(source));
}

void Summary::add_line(const RecordedEvent& event) {
  ReportSource& source = sources_.back();
  const std::string type = line_type(event.json);
  if (type == "environment") source.environment = parse_environment(event.json);
  if (type == "lost") {
    for (const auto& [cause, lost] : lost_causes(event.json)) source.lost[cause] += lost;
  }
  if (type == "summary") {
    source.closed = true;
    source.programs = summary_totals(event.json).programs;
  }
}

void Summary::add(const RecordedEvent& recorded) {
  if (sources_.empty()) begin_source("");
  if (!recorded.has_packet) {
    add_line(recorded);
    return;
  }
  const auto event = report_event(recorded.time_ns, recorded.json);
  if (!event) return;

  ReportSource& source = sources_.back();
  if (source.events == 0 || event->time_ns < source.first_ns) source.first_ns = event->time_ns;
  source.last_ns = std::max(source.last_ns, event->time_ns);
  ++source.events;

  const std::uint32_t pair = pair_of(*event);
  std::uint32_t group = std::numeric_limits<std::uint32_t>::max();
  if (event->outcome != AttemptOutcome::kAnswered) {
    ++events_;
    ++pairs_[pair].events;
    timeline_.add(event->time_ns, event->outcome);
    count(reasons_, event->reason);
    count(rules_, event->rule);
    count(locations_, event->function);
    group = group_of(*event);
    add_station(*event);
  }
  if (event->is_attempt) add_attempt(*event, group, pair);
}

std::uint32_t Summary::group_of(const ReportEvent& event) {
  const std::string place = place_of(event);
  // With a cause the group has more than one place.
  const std::string key =
      event.cause.empty() ? event.reason + '\n' + place + '\n' + event.rule : event.cause;
  const auto [index, fresh] = index_of(group_index_, groups_, key, kGroupsMost);
  CauseGroup& group = groups_[index];
  if (fresh) {
    group.first = event;
    if (group_index_.contains("")) group.first.reason = kOthers;
    group.node = sources_.back().environment.node;
  }
  if (group.places.size() < kPlacesMost) group.places.insert(place);
  ++group.events;
  ++group.outcomes[at(event.outcome)];
  return index;
}

std::uint32_t Summary::pair_of(const ReportEvent& event) {
  const auto [index, fresh] = index_of(
      pair_index_, pairs_, event.client + '\n' + event.service + '\n' + event.endpoint, kPairsMost);
  if (fresh) {
    const bool others = pair_index_.contains("");
    pairs_[index].client = others ? kOthers : event.client;
    pairs_[index].service = others ? "" : event.service;
    pairs_[index].endpoint = others ? "" : event.endpoint;
  }
  return index;
}

std::uint32_t Summary::find_or_add_attempt(const ReportEvent& event, std::uint32_t pair) {
  std::optional<std::uint32_t> index;
  for (const std::string& key : event.keys) {
    if (const auto found = attempt_index_.find(key); found != attempt_index_.end())
      index = found->second;
  }
  if (!index) {
    if (attempts_.size() >= kAttemptsMost) {
      forgotten_ += attempts_.size() - kAttemptsKept;
      std::ranges::stable_sort(attempts_, is_worse);
      attempts_.resize(kAttemptsKept);
      attempt_index_.clear();
    }
    index = static_cast<std::uint32_t>(attempts_.size());
    attempts_.emplace_back();
    attempts_.back().pair = pair;
    ++attempts_seen_;
    ++pairs_[pair].attempts;
    ++pairs_[pair].outcomes[at(AttemptOutcome::kUnanswered)];
    ++outcomes_[at(AttemptOutcome::kUnanswered)];
  }
  for (const std::string& key : event.keys) attempt_index_.emplace(key, *index);
  return *index;
}

void Summary::add_attempt(const ReportEvent& event, std::uint32_t group, std::uint32_t pair) {
  const std::size_t known = attempts_seen_;
  ReportAttempt& attempt = attempts_[find_or_add_attempt(event, pair)];
  const bool fresh = attempts_seen_ > known;
  if (fresh && group < groups_.size()) ++groups_[group].attempts;

  // Another node may tell more: which service it was, or what became of it.
  if (!event.service.empty() && pairs_[attempt.pair].service.empty() && attempt.pair != pair) {
    --pairs_[attempt.pair].attempts;
    --pairs_[attempt.pair].outcomes[at(attempt.outcome)];
    ++pairs_[pair].attempts;
    ++pairs_[pair].outcomes[at(attempt.outcome)];
    attempt.pair = pair;
  }
  if (event.outcome > attempt.outcome) {
    --outcomes_[at(attempt.outcome)];
    --pairs_[attempt.pair].outcomes[at(attempt.outcome)];
    attempt.outcome = event.outcome;
    ++outcomes_[at(attempt.outcome)];
    ++pairs_[attempt.pair].outcomes[at(attempt.outcome)];
  }
  if (event.outcome == AttemptOutcome::kAnswered) return;
  ++attempt.syns;
  if (event.gives_up_ms) attempt.gives_up_ms = event.gives_up_ms;
  if (attempt.notes.size() < kNotesMost)
    attempt.notes.push_back({event.time_ns, group, static_cast<std::uint32_t>(sources_.size() - 1),
                             event.syn, event.outcome});
}

void Summary::add_station(const ReportEvent& event) {
  auto& stations = sources_.back().stations;
  const std::string key = event.where + '\n' + event.ifname;
  if (stations.size() >= kStationsMost && !stations.contains(key)) return;
  Station& station = stations[key];
  station.where = event.where;
  station.ifname = event.ifname;
  if (!event.peer.empty()) station.peer = event.peer;
  const std::string& function = event.function.empty() ? kNoDrop : event.function;
  count(station.deaths, event.hook.empty() ? function : event.hook + " hook");
}

std::int64_t Summary::first_ns() const {
  std::int64_t first = std::numeric_limits<std::int64_t>::max();
  for (const ReportSource& source : sources_) {
    if (source.events > 0) first = std::min(first, source.first_ns);
  }
  return first == std::numeric_limits<std::int64_t>::max() ? 0 : first;
}

std::int64_t Summary::last_ns() const {
  std::int64_t last = 0;
  for (const ReportSource& source : sources_) last = std::max(last, source.last_ns);
  return last;
}

std::vector<const CauseGroup*> Summary::top_groups(std::size_t most) const {
  // What kills attempts comes before what kills many packets.
  return best(groups_, most, [](const CauseGroup& a, const CauseGroup& b) {
    return std::pair(a.attempts, a.events) > std::pair(b.attempts, b.events);
  });
}

std::vector<const TalkingPair*> Summary::top_pairs(std::size_t most) const {
  return best(pairs_, most, [](const TalkingPair& a, const TalkingPair& b) {
    return std::pair(a.attempts, a.events) > std::pair(b.attempts, b.events);
  });
}

std::vector<const ReportAttempt*> Summary::worst_attempts(std::size_t most) const {
  std::vector<const ReportAttempt*> worst;
  std::set<std::uint32_t> pairs;
  for (const ReportAttempt* attempt : best(attempts_, attempts_.size(), is_worse)) {
    if (worst.size() == most) break;
    if (!attempt->notes.empty() && pairs.insert(attempt->pair).second) worst.push_back(attempt);
  }
  return worst;
}

}  // namespace droptrace
