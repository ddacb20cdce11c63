// SPDX-License-Identifier: GPL-2.0-only
#include "report/diff.h"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "sink/style.h"

namespace droptrace {

namespace {

constexpr double kRateFactor = 2;        // from here on a rate has changed
constexpr std::uint64_t kCountable = 5;  // fewer events tell nothing of a rate
constexpr std::int64_t kLeastNs = 1'000'000'000;

std::string key_of(const CauseGroup& group) {
  if (!group.first.cause.empty()) return group.first.cause;
  return group.first.reason + '\n' + place_of(group.first) + '\n' + group.first.rule;
}

std::map<std::string, const CauseGroup*> by_key(const Summary& summary) {
  std::map<std::string, const CauseGroup*> groups;
  for (const CauseGroup& group : summary.groups()) groups.emplace(key_of(group), &group);
  return groups;
}

double minutes(const Summary& summary) {
  return static_cast<double>(std::max(summary.last_ns() - summary.first_ns(), kLeastNs)) / 60e9;
}

Change change_of(const DiffRow& row) {
  if (row.before == 0) return Change::kNew;
  if (row.after == 0) return Change::kGone;
  if (std::max(row.before, row.after) < kCountable) return Change::kSame;
  if (row.after_rate >= row.before_rate * kRateFactor) return Change::kMore;
  return row.before_rate >= row.after_rate * kRateFactor ? Change::kFewer : Change::kSame;
}

std::array<std::size_t, 5> totals(const Diff& diff) {
  std::array<std::size_t, 5> counts{};
  for (const DiffRow& row : diff.rows) ++counts[static_cast<std::size_t>(row.change)];
  return counts;
}

std::string verdict(const Diff& diff) {
  const auto counts = totals(diff);
  return fmt::format("{} new, {} more frequent, {} less frequent, {} gone, {} the same.", counts[0],
                     counts[1], counts[2], counts[3], counts[4]);
}

}  // namespace

std::string_view to_string(Change change) {
  static constexpr std::array<std::string_view, 5> kNames = {"new", "more", "fewer", "gone",
                                                             "same"};
  return kNames[static_cast<std::size_t>(change)];
}

Diff compare(const Summary& before, const Summary& after) {
  const auto old_groups = by_key(before);
  const auto new_groups = by_key(after);
  Diff diff;
  const auto add = [&](const CauseGroup* then, const CauseGroup* now) {
    DiffRow row;
    row.group = now ? now : then;
    row.before = then ? then->events : 0;
    row.after = now ? now->events : 0;
    row.before_rate = static_cast<double>(row.before) / minutes(before);
    row.after_rate = static_cast<double>(row.after) / minutes(after);
    row.change = change_of(row);
    diff.rows.push_back(row);
  };
  for (const auto& [key, group] : old_groups) {
    const auto found = new_groups.find(key);
    add(group, found == new_groups.end() ? nullptr : found->second);
  }
  for (const auto& [key, group] : new_groups) {
    if (!old_groups.contains(key)) add(nullptr, group);
  }
  std::ranges::stable_sort(diff.rows, [](const DiffRow& a, const DiffRow& b) {
    return a.change != b.change ? a.change < b.change
                                : std::max(a.before, a.after) > std::max(b.before, b.after);
  });
  return diff;
}

ReportDocument diff_document(const Diff& diff) {
  ReportDocument document;
  document.title = "What has changed";
  document.verdict = verdict(diff);
  ReportSection section{.title = "Causes"};
  section.table.heads = {"Change", "Cause", "Where",        "Rule or function",
                         "Before", "After", "Before a min", "After a min"};
  for (const DiffRow& row : diff.rows) {
    const ReportEvent& event = row.group->first;
    section.table.rows.push_back({std::string(to_string(row.change)), row.group->name(),
                                  place_of(event), event.rule.empty() ? event.function : event.rule,
                                  std::to_string(row.before), std::to_string(row.after),
                                  fmt::format("{:.1f}", row.before_rate),
                                  fmt::format("{:.1f}", row.after_rate)});
  }
  document.sections.push_back(std::move(section));
  return document;
}

std::string diff_text(const Diff& diff) {
  std::string text;
  for (const DiffRow& row : diff.rows) {
    const ReportEvent& event = row.group->first;
    std::string line = fmt::format("{:<6} {}  {}{}  {} → {} packets ({:.1f} → {:.1f} a minute)",
                                   to_string(row.change), row.group->name(), place_of(event),
                                   event.rule.empty() ? "" : "  " + event.rule, row.before,
                                   row.after, row.before_rate, row.after_rate);
    text += escaped(line).bytes + '\n';
  }
  return text + verdict(diff) + '\n';
}

std::string diff_json(const Diff& diff) {
  using Json = nlohmann::ordered_json;
  Json json = {{"schema", 1}, {"type", "diff"}, {"changes", Json::array()}};
  for (const DiffRow& row : diff.rows) {
    const ReportEvent& event = row.group->first;
    Json change = {{"change", to_string(row.change)}};
    if (!event.cause.empty()) change["cause"] = event.cause;
    if (!event.reason.empty()) change["reason"] = event.reason;
    change["place"] = place_of(event);
    if (!event.rule.empty()) change["rule"] = event.rule;
    change["before"] = row.before;
    change["after"] = row.after;
    change["before_per_minute"] = row.before_rate;
    change["after_per_minute"] = row.after_rate;
    json["changes"].push_back(std::move(change));
  }
  return json.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace) + '\n';
}

}  // namespace droptrace
