// SPDX-License-Identifier: GPL-2.0-only
// What many events come to: causes, pairs that talk, attempts, a timeline. Takes any number of
// events in bounded room; what does not fit is counted as "others" and "forgotten".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "recording/event.h"
#include "recording/event_json.h"
#include "report/report_event.h"

namespace droptrace {

constexpr std::size_t kOutcomes = 4;
using OutcomeCounts = std::array<std::uint64_t, kOutcomes>;  // by AttemptOutcome

// Events with one cause or, where no cause is known, with one reason, place and rule.
struct CauseGroup {
  ReportEvent first;  // of the group; stands for all
  std::string node;
  std::set<std::string> places;  // "node, forward hook"; not all, if there are many
  std::uint64_t events = 0;
  std::uint64_t attempts = 0;
  OutcomeCounts outcomes{};

  // "network-policy", or "NETFILTER_DROP"; "unanswered", where no drop was seen.
  std::string name() const;
};

// Who talks to whom.
struct TalkingPair {
  std::string client;
  std::string service;
  std::string endpoint;
  std::uint64_t events = 0;
  std::uint64_t attempts = 0;
  OutcomeCounts outcomes{};  // of the attempts
};

struct SynNote {
  std::int64_t time_ns = 0;
  std::uint32_t group = 0;
  std::uint32_t node = 0;
  std::optional<unsigned> syn;
  AttemptOutcome outcome = AttemptOutcome::kDropped;
};

struct ReportAttempt {
  std::uint32_t pair = 0;
  AttemptOutcome outcome = AttemptOutcome::kUnanswered;
  std::uint32_t syns = 0;
  std::optional<double> gives_up_ms;
  std::vector<SynNote> notes;  // the first of its SYNs
};

// Where in a node something died, for its picture.
struct Station {
  std::string where;
  std::string ifname;
  std::string peer;
  std::map<std::string, std::uint64_t> deaths;  // by hook, or the function where there is none
};

// A file, or a live run.
struct ReportSource {
  std::string file;
  Environment environment;
  std::uint64_t events = 0;
  std::int64_t first_ns = 0;
  std::int64_t last_ns = 0;
  std::map<std::string, std::uint64_t> lost;
  std::map<std::string, std::string> programs;
  std::map<std::string, Station> stations;  // by namespace and interface
  bool closed = false;
};

// Events per time: the buckets double their width whenever the time runs out of them.
class Timeline {
 public:
  static constexpr std::size_t kBuckets = 96;

  void add(std::int64_t time_ns, AttemptOutcome outcome);
  std::int64_t start_ns() const { return start_ns_; }
  std::int64_t bucket_ns() const { return bucket_ns_; }
  // Up to the last that is not empty.
  const std::vector<OutcomeCounts>& buckets() const { return buckets_; }

 private:
  void merge_pairs();

  std::int64_t start_ns_ = 0;
  std::int64_t bucket_ns_ = 1'000'000;
  std::vector<OutcomeCounts> buckets_;
};

class Summary {
 public:
  // What follows is from this file.
  void begin_source(std::string file);
  void add(const RecordedEvent& event);

  const std::vector<ReportSource>& sources() const { return sources_; }
  const std::vector<CauseGroup>& groups() const { return groups_; }
  const std::vector<TalkingPair>& pairs() const { return pairs_; }
  const Timeline& timeline() const { return timeline_; }
  const std::map<std::string, std::uint64_t>& reasons() const { return reasons_; }
  const std::map<std::string, std::uint64_t>& rules() const { return rules_; }
  const std::map<std::string, std::uint64_t>& locations() const { return locations_; }
  const OutcomeCounts& outcomes() const { return outcomes_; }  // of the attempts
  std::uint64_t events() const { return events_; }
  std::uint64_t attempts() const { return attempts_seen_; }
  std::uint64_t forgotten_attempts() const { return forgotten_; }
  std::int64_t first_ns() const;
  std::int64_t last_ns() const;

  // Most important first; of a pair's attempts only the worst.
  std::vector<const CauseGroup*> top_groups(std::size_t most) const;
  std::vector<const TalkingPair*> top_pairs(std::size_t most) const;
  std::vector<const ReportAttempt*> worst_attempts(std::size_t most) const;

 private:
  void add_line(const RecordedEvent& event);
  std::uint32_t group_of(const ReportEvent& event);
  std::uint32_t pair_of(const ReportEvent& event);
  void add_attempt(const ReportEvent& event, std::uint32_t group, std::uint32_t pair);
  std::uint32_t find_or_add_attempt(const ReportEvent& event, std::uint32_t pair);
  void add_station(const ReportEvent& event);

  std::vector<ReportSource> sources_;
  std::vector<CauseGroup> groups_;
  std::vector<TalkingPair> pairs_;
  std::vector<ReportAttempt> attempts_;
  std::unordered_map<std::string, std::uint32_t> group_index_;
  std::unordered_map<std::string, std::uint32_t> pair_index_;
  std::unordered_map<std::string, std::uint32_t> attempt_index_;
  std::map<std::string, std::uint64_t> reasons_;
  std::map<std::string, std::uint64_t> rules_;
  std::map<std::string, std::uint64_t> locations_;
  Timeline timeline_;
  OutcomeCounts outcomes_{};
  std::uint64_t events_ = 0;
  std::uint64_t attempts_seen_ = 0;
  std::uint64_t forgotten_ = 0;
};

// "node, forward hook", "pod:data/web-0, tcp_v4_rcv"
std::string place_of(const ReportEvent& event);

}  // namespace droptrace
