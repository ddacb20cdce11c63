// SPDX-License-Identifier: GPL-2.0-only
#include "report/metrics.h"

#include <fmt/format.h>

namespace droptrace {

namespace {

constexpr std::size_t kSeriesMost = 500;

// Label values as the text format wants them (its section "Comments, help text and type
// information").
std::string quoted(std::string_view value) {
  std::string result = "\"";
  for (const char byte : value) {
    if (byte == '\n') {
      result += "\\n";
      continue;
    }
    if (byte == '"' || byte == '\\') result += '\\';
    result += byte;
  }
  return result + '"';
}

std::string head(std::string_view name, std::string_view type, std::string_view help) {
  return fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

std::string one(std::string_view name, std::string_view type, std::string_view help,
                std::uint64_t value) {
  return head(name, type, help) + fmt::format("{} {}\n", name, value);
}

std::string by_label(std::string_view name, std::string_view label,
                     const std::map<std::string, std::uint64_t>& values) {
  std::string text;
  for (const auto& [value, count] : values)
    text += fmt::format("{}{{{}={}}} {}\n", name, label, quoted(value), count);
  return text;
}

}  // namespace

void Metrics::add(const ReportEvent& event) {
  // Each attempt once: with the first of its SYNs that died, or with its end.
  const bool died =
      event.outcome == AttemptOutcome::kDropped || event.outcome == AttemptOutcome::kRejected;
  if (event.is_attempt && (!died || event.dropped == 1u))
    ++attempts_[std::string(to_string(event.outcome))];
  if (!died) return;
  Series series{event.reason, event.cause, event.hook, event.direction};
  if (drops_.size() >= kSeriesMost && !drops_.contains(series))
    series = {"other", "", "", "unknown_to_unknown"};
  ++drops_[series];
}

std::string Metrics::text(const MetricsNow& now) const {
  std::string text = head(
      "droptrace_drops_total", "counter",
      "Dropped packets that were shown, by reason, cause, netfilter hook and classes of address.");
  for (const auto& [series, count] : drops_) {
    const auto& [reason, cause, hook, direction] = series;
    text += fmt::format("droptrace_drops_total{{reason={},cause={},hook={},direction={}}} {}\n",
                        quoted(reason), quoted(cause), quoted(hook), quoted(direction), count);
  }
  text += head("droptrace_syn_attempts_total", "counter",
               "Connection attempts, by the first that became known of them.");
  std::map<std::string, std::uint64_t> attempts = {
      {"dropped", 0}, {"rejected", 0}, {"unanswered", 0}, {"answered", 0}};
  for (const auto& [outcome, count] : attempts_) attempts[outcome] = count;
  text += by_label("droptrace_syn_attempts_total", "outcome", attempts);

  text += one("droptrace_seen_total", "counter", "Drops that passed the kernel side's filter.",
              now.totals.seen);
  text += head("droptrace_hidden_total", "counter", "Drops that were not shown, by why.");
  text += by_label("droptrace_hidden_total", "why",
                   {{"filtered", now.totals.filtered}, {"noise", now.totals.noise}});
  text += head("droptrace_lost_records_total", "counter",
               "Records that the tracer could not take, by why.");
  std::map<std::string, std::uint64_t> lost = {
      {"ring_buffer_full", 0}, {"recursion", 0}, {"malformed", 0}};
  for (const auto& [cause, count] : now.totals.lost) lost[cause] = count;
  text += by_label("droptrace_lost_records_total", "why", lost);

  text += one("droptrace_ring_buffer_bytes", "gauge", "Size of the kernel's ring buffer.",
              now.ring_bytes);
  text += one("droptrace_ring_buffer_used_bytes", "gauge",
              "Bytes of the ring buffer that wait to be read.", now.ring_used_bytes);
  text += head("droptrace_program_attached", "gauge",
               "1 for each BPF program that is attached, 0 for those that are not.");
  for (const auto& [program, state] : now.totals.programs)
    text += fmt::format("droptrace_program_attached{{program={}}} {}\n", quoted(program),
                        state == "attached" ? 1 : 0);
  text += head("droptrace_build_info", "gauge", "1, with the version.");
  return text + fmt::format("droptrace_build_info{{version={}}} 1\n", quoted(now.version));
}

}  // namespace droptrace
