// SPDX-License-Identifier: GPL-2.0-only
#include "pipeline.h"

#include <utility>

#include "core/attempt_report.h"
#include "core/noise.h"
#include "core/silent_cause.h"
#include "recording/event_json.h"
#include "sink/json.h"

namespace droptrace {

namespace {

// What --syn leaves: attempts (SYN), their answers (SYN-ACK, RST, ICMP and ICMPv6 errors).
bool concerns_an_attempt(const Packet& packet) {
  if (packet.tcp_flags) return (*packet.tcp_flags & (kTcpSyn | kTcpRst)) != 0;
  if (!packet.icmp_type) return false;
  return packet.l3 == L3::kIpv6 ? *packet.icmp_type < 128  // RFC 4443 §2.1: errors
                                : *packet.icmp_type == 3;  // RFC 792: destination unreachable
}

}  // namespace

Pipeline::Pipeline(const Options& options, std::unique_ptr<Sink> sink, DropReasons reasons)
    : options_(options), names_{std::move(reasons), {}}, sink_(std::move(sink)) {
  enrich_options_.stack = options.stack;
  if (!options.filter.empty()) filter_.emplace(options.filter);
}

void Pipeline::set_observer(Observer observe, TextOptions text) {
  observe_ = std::move(observe);
  plain_text_ = std::make_unique<TextSink>(text);
}

bool Pipeline::is_filtered(const Record& record) const {
  return (filter_ && !filter_->matches(record)) ||
         (options_.syn_only && !concerns_an_attempt(record.packet));
}

// Counts the event as shown, or as what hides it.
bool Pipeline::passes(const Record& record, bool noise) {
  if (is_filtered(record)) {
    ++totals_.filtered;
    return false;
  }
  if (noise && !options_.noise) {
    ++totals_.noise;
    return false;
  }
  ++totals_.shown;
  return true;
}

void Pipeline::join_path(Drop& drop, const World& world) {
  if (!paths_) {
    // Then this is the only trace of an answer that got lost.
    if (drop.noise == kRepeatedSyn) drop.noise = {};
    return;
  }
  const Attempted* const attempt =
      paths_->add_drop(drop.record, drop.answer.has_value(), !drop.noise.empty());
  if (!attempt) return;
  // What dies outside the node may have had no business there.
  if (!drop.cause && drop.where == kHostPlace) drop.cause = leak_of(*attempt, world);
  if (options_.verbosity > 0) drop.path = describe_hops(*attempt, world);
}

std::string Pipeline::add_attempt(const Attempted& attempt, const World& world,
                                  const CounterChange* change) {
  if (!options_.all && !touches_cluster(attempt, world)) return {};
  const AttemptReport report = report_of(attempt, world, names_, enrich_options_, change);
  if (is_filtered(report.drop.record)) return {};
  const std::string json = JsonSink().attempt(report);
  note_expectation(json);
  if (observe_) {
    RecordedEvent event = recorded_event(report.drop, plain_text_->attempt(report), json);
    event.ends_attempt = true;
    observe_(event);
  }
  return sink_->attempt(report);
}

std::string Pipeline::add(Record record, const World& world) {
  ++totals_.seen;
  Drop drop = enrich(std::move(record), world, names_, enrich_options_);
  count_attempt(drop, attempts_, world);
  join_path(drop, world);
  if (!passes(drop.record, !drop.noise.empty())) return {};
  std::string text = sink_->drop(drop);
  if (!is_expecting() && !observe_) return text;
  const std::string json = options_.output == OutputFormat::kJson ? text : JsonSink().drop(drop);
  note_expectation(json);
  if (observe_) observe_(recorded_event(drop, plain_text_->drop(drop), json));
  return text;
}

std::string Pipeline::replay(const RecordedEvent& event) {
  if (!event.has_packet) {
    const std::string type = line_type(event.json);
    if (type == "summary") return replay_summary(event);
    if (observe_) observe_(event);
    if (type == "lost") {
      for (const auto& [cause, count] : lost_causes(event.json)) totals_.lost[cause] += count;
    }
    const bool shown = options_.output == OutputFormat::kJson && type == "lost";
    return shown ? event.json + '\n' : std::string();
  }
  if (event.ends_attempt) {
    if (is_filtered(event.record)) return {};
  } else {
    ++totals_.seen;
    if (!passes(event.record, event.noise)) return {};
  }
  note_expectation(event.json);
  if (observe_) observe_(event);
  return (options_.output == OutputFormat::kJson ? event.json : event.text) + '\n';
}

// The figures of the run that was recorded, less what this one hides of it.
std::string Pipeline::replay_summary(const RecordedEvent& event) {
  const Totals then = summary_totals(event.json);
  const bool hides = totals_.noise + totals_.filtered > 0;
  totals_.seen = then.seen;
  totals_.noise += then.noise;
  totals_.filtered += then.filtered;
  const std::string line = hides ? with_totals(event.json, totals_) : event.json;
  see_line(event.time_ns, line);
  return options_.output == OutputFormat::kJson ? line + '\n' : std::string();
}

void Pipeline::see_line(std::int64_t time_ns, const std::string& json_line) const {
  if (observe_) observe_(recorded_line(time_ns, json_line));
}

bool Pipeline::is_expecting() const { return !options_.expect_drop.empty() && !expected_seen_; }

void Pipeline::note_expectation(std::string_view json_line) {
  if (!is_expecting()) return;
  for (const auto& [key, value] : options_.expect_drop) {
    if (json_field(json_line, key) != value) return;
  }
  expected_seen_ = true;
}

std::string Pipeline::report_lost(std::int64_t time_ns,
                                  const std::map<std::string, std::uint64_t>& lost) {
  std::map<std::string, std::uint64_t> fresh;
  for (const auto& [cause, count] : lost) {
    std::uint64_t& reported = totals_.lost[cause];
    if (count > reported) fresh[cause] = count - reported;
    reported = count;
  }
  if (fresh.empty()) return {};
  see_line(time_ns, JsonSink().lost(time_ns, fresh));
  return sink_->lost(time_ns, fresh);
}

std::string Pipeline::finish(std::int64_t time_ns,
                             const std::map<std::string, std::string>& programs) {
  totals_.programs = programs;
  if (observe_) see_line(time_ns, JsonSink().summary(time_ns, totals_));
  return sink_->summary(time_ns, totals_);
}

std::optional<std::string_view> Pipeline::disappointment() const {
  if (!options_.expect_drop.empty() && !expected_seen_) return "the expected drop was not seen";
  if (options_.expect_none && totals_.shown > 0) return "a drop was seen, and none was expected";
  return std::nullopt;
}

}  // namespace droptrace
