// SPDX-License-Identifier: GPL-2.0-only
#include "core/attempt_report.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace droptrace {
namespace {

// NAT on the way to the server; the way back undoes it.
std::string nat_note(const Tuple& before, const Tuple& after) {
  std::string note;
  if (before.dst != after.dst) note = "DNAT to " + to_string(after.dst);
  if (before.src != after.src)
    note += fmt::format("{}SNAT from {}", note.empty() ? "" : ", ", to_string(after.src));
  return note;
}

std::string note_of(const Hop& hop) {
  if (hop.event == HopEvent::kIcmp)
    return fmt::format("ICMP {}/{} is sent to the client", hop.icmp_type, hop.icmp_code);
  if (hop.event == HopEvent::kReset) return "a reset is sent to the client";
  return "";
}

// The hop that says most about where it ended.
Hop ending_of(const Attempted& attempt) {
  if (const Hop* const answer = attempt.last_answer()) return *answer;
  if (const Hop* const syn = attempt.last_syn()) return *syn;
  if (attempt.has_place) return attempt.place;
  Hop hop;
  hop.boot_ns = attempt.first_ns;
  hop.isn = attempt.isn;
  hop.tuple = attempt.dialled;
  return hop;
}

}  // namespace

std::vector<HopView> describe_hops(const Attempted& attempt, const World& world) {
  std::vector<Hop> hops = attempt.hops;
  std::ranges::stable_sort(hops, {}, &Hop::boot_ns);
  std::vector<HopView> views;
  std::optional<Tuple> before;
  for (const Hop& hop : hops) {
    HopView& view = views.emplace_back();
    if (hop.netns != 0) {
      view.netns = hop.netns;
      view.where = world.where(hop.netns);
    }
    view.ifname = hop.ifname;
    view.event = hop.event_text();
    view.offset_ns = hop.boot_ns - hops.front().boot_ns;
    view.note = note_of(hop);
    if (!hop.is_packet()) continue;
    view.packet = record_of(hop, hop.from_client()).packet;
    if (hop.is_syn()) {
      if (before && view.note.empty()) view.note = nat_note(*before, hop.tuple);
      before = hop.tuple;
    }
  }
  return views;
}

AttemptReport report_of(const Attempted& attempt, const World& world, const KernelNames& names,
                        const EnrichOptions& options, const CounterChange* change) {
  AttemptReport report;
  report.outcome = attempt.outcome();
  report.drop = enrich(record_of(ending_of(attempt), attempt.dialled), world, names, options);
  AttemptState& state = report.drop.attempt.emplace();
  state.syn = attempt.syn();
  state.dropped = attempt.dropped;
  state.age_ns = attempt.last_ns - attempt.first_ns;
  const Netns* const client = world.owner(attempt.dialled.src.address);
  if (client && client->syn_timers && report.outcome == Outcome::kUnanswered)
    state.gives_up_ns = syn_schedule(*client->syn_timers).back() * 1'000'000'000ULL;
  report.path = describe_hops(attempt, world);
  if (report.outcome != Outcome::kUnanswered) return report;

  report.cause = cause_of(attempt, world, change);
  if (attempt.incomplete || attempt.left_out > 0)
    report.cause.explanation += "; hops were lost meanwhile, so it may have come further";
  return report;
}

}  // namespace droptrace
