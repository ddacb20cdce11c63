// SPDX-License-Identifier: GPL-2.0-only
#include "report/document.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/civil_time.h"

namespace droptrace {

namespace {

constexpr std::size_t kGroupsShown = 20;
constexpr std::size_t kPairsShown = 30;
constexpr std::size_t kTopShown = 10;
constexpr std::size_t kAttemptsShown = 5;
constexpr std::size_t kNodesDrawn = 8;

std::string counted(std::uint64_t number, std::string_view word) {
  return fmt::format("{} {}{}", number, word, number == 1 ? "" : "s");
}

std::string sureness(const ReportEvent& event) {
  if (event.confidence == "exact") return "observed in the kernel";
  if (event.confidence == "candidate") return "candidate: it fits, but was not observed";
  if (!event.hook.empty() && event.rule.empty()) return "hook observed, rule not known";
  return event.outcome == AttemptOutcome::kUnanswered ? "no drop seen" : "observed in the kernel";
}

std::string rule_cell(const ReportEvent& event) {
  if (event.rule.empty()) return event.function;
  return event.rule_text.empty() ? event.rule : event.rule + ": " + event.rule_text;
}

std::string why_cell(const CauseGroup& group) {
  if (!group.first.explanation.empty()) return group.first.explanation;
  return group.first.answer.empty() ? "" : "answered " + group.first.answer;
}

std::string places_cell(const CauseGroup& group) {
  std::string text;
  for (const std::string& place : group.places) text += (text.empty() ? "" : "; ") + place;
  return text;
}

std::string share(std::uint64_t part, std::uint64_t whole) {
  if (part == whole) return whole == 1 ? "The only" : fmt::format("All {}", whole);
  return fmt::format("{} of {}", part, whole);
}

// "the forward hook of node kind-worker and elsewhere"
std::string place_in_words(const CauseGroup& group) {
  const ReportEvent& event = group.first;
  std::string text = event.hook.empty() ? "" : "the " + event.hook + " hook of ";
  text += event.where.empty() ? "a namespace not known" : event.where;
  if (!group.node.empty()) text += (event.where == "node" ? " " : " on ") + group.node;
  return group.places.size() > 1 ? text + " and elsewhere" : text;
}

// A column in which nothing is known says nothing.
void drop_empty_columns(ReportTable& table) {
  for (std::size_t i = table.heads.size(); i-- > 0;) {
    const auto is_empty = [i](const auto& row) { return row[i].empty(); };
    if (!std::ranges::all_of(table.rows, is_empty)) continue;
    const auto index = static_cast<std::ptrdiff_t>(i);
    table.heads.erase(table.heads.begin() + index);
    for (auto& row : table.rows) row.erase(row.begin() + index);
  }
}

ReportSection causes(const Summary& summary) {
  ReportSection section{.title = "Causes"};
  section.table.heads = {"Cause",    "Why",     "Where",    "Rule or function",
                         "How sure", "Packets", "Attempts", "What to do"};
  for (const CauseGroup* group : summary.top_groups(kGroupsShown)) {
    section.table.rows.push_back({group->name(), why_cell(*group), places_cell(*group),
                                  rule_cell(group->first), sureness(group->first),
                                  std::to_string(group->events), std::to_string(group->attempts),
                                  group->first.advice});
  }
  if (summary.groups().size() > kGroupsShown)
    section.paragraphs.push_back(
        fmt::format("{} more are not shown.", summary.groups().size() - kGroupsShown));
  return section;
}

ReportSection map_of_pairs(const Summary& summary) {
  ReportSection section{.title = "Who could not talk to whom"};
  section.table.heads = {"Client",  "Service dialled", "Endpoint",   "Attempts",
                         "Dropped", "Rejected",        "Unanswered", "Packets"};
  for (const TalkingPair* pair : summary.top_pairs(kPairsShown)) {
    const auto outcome = [&](AttemptOutcome which) {
      return std::to_string(pair->outcomes[static_cast<std::size_t>(which)]);
    };
    section.table.rows.push_back(
        {pair->client, pair->service, pair->endpoint, std::to_string(pair->attempts),
         outcome(AttemptOutcome::kDropped), outcome(AttemptOutcome::kRejected),
         outcome(AttemptOutcome::kUnanswered), std::to_string(pair->events)});
  }
  if (summary.pairs().size() > kPairsShown)
    section.paragraphs.push_back(
        fmt::format("{} more pairs are not shown.", summary.pairs().size() - kPairsShown));
  return section;
}

ReportSection node_picture(const ReportSource& source) {
  const std::string& node = source.environment.node;
  return {.title = "Where it died" + (node.empty() ? "" : " on " + node),
          .svg = node_svg(source),
          .instead = node_text(source)};
}

ReportSection timeline(const Summary& summary) {
  return {.title = "When",
          .svg = timeline_svg(summary.timeline()),
          .instead = {timeline_text(summary.timeline())}};
}

void add_top(ReportTable& table, const char* kind,
             const std::map<std::string, std::uint64_t>& counters) {
  std::vector<std::pair<std::uint64_t, std::string>> sorted;
  for (const auto& [name, count] : counters) sorted.emplace_back(count, name);
  std::ranges::stable_sort(sorted, std::greater{}, &std::pair<std::uint64_t, std::string>::first);
  for (std::size_t i = 0; i < sorted.size() && i < kTopShown; ++i)
    table.rows.push_back({kind, sorted[i].second, std::to_string(sorted[i].first)});
}

ReportSection top_lists(const Summary& summary) {
  ReportSection section{.title = "Top rules, reasons and functions"};
  section.table.heads = {"Of", "Name", "Packets"};
  add_top(section.table, "rule", summary.rules());
  add_top(section.table, "reason", summary.reasons());
  add_top(section.table, "function", summary.locations());
  return section;
}

std::string pair_text(const TalkingPair& pair) {
  std::string text = pair.client;
  for (const std::string& part : {pair.service, pair.endpoint}) {
    if (!part.empty()) text += " → " + part;
  }
  return text;
}

ReportSection ladders(const Summary& summary) {
  ReportSection section{.title = "SYNs of the worst attempts"};
  section.table.heads = {"Attempt", "SYN", "After", "What became of it", "Where"};
  for (const ReportAttempt* attempt : summary.worst_attempts(kAttemptsShown)) {
    std::string name = pair_text(summary.pairs()[attempt->pair]);
    std::vector<SynNote> notes = attempt->notes;
    std::ranges::stable_sort(notes, {}, &SynNote::time_ns);
    for (const SynNote& note : notes) {
      const bool known = note.group < summary.groups().size();
      std::string where = known ? place_of(summary.groups()[note.group].first) : "";
      if (summary.sources().size() > 1)
        where += " of " + summary.sources()[note.node].environment.node;
      section.table.rows.push_back(
          {std::exchange(name, ""), note.syn ? std::to_string(*note.syn) : "",
           fmt::format("+{}", duration_text(note.time_ns - notes.front().time_ns)),
           std::string(to_string(note.outcome)), where});
    }
    if (attempt->syns > notes.size())
      section.table.rows.push_back(
          {"", "", "", fmt::format("{} more", attempt->syns - notes.size()), ""});
    if (attempt->outcome == AttemptOutcome::kAnswered)
      section.table.rows.push_back({"", "", "", "answered in the end", ""});
    else if (attempt->gives_up_ms)
      section.table.rows.push_back({"", "",
                                    "+" + duration_text(static_cast<std::int64_t>(
                                              std::clamp(*attempt->gives_up_ms, 0.0, 1e9) * 1e6)),
                                    "the client reports ETIMEDOUT", ""});
  }
  return section;
}

ReportSection environment_of(const Summary& summary) {
  ReportSection section{.title = "Environment"};
  section.table.heads = {"Of", "What", "Is"};
  for (const ReportSource& source : summary.sources()) {
    const Environment& known = source.environment;
    std::string name = known.node.empty() ? source.file : known.node;
    const auto add = [&](const char* what, const std::string& is) {
      if (!is.empty()) section.table.rows.push_back({std::exchange(name, ""), what, is});
    };
    add("recording", source.file + (source.closed || source.file.empty() ? "" : " (not closed)"));
    add("kernel", known.kernel);
    add("droptrace", known.version);
    add("service CIDR", known.service_cidr);
    add("pod CIDR", known.pod_cidr);
    add("command", known.command);
    std::string attached;
    std::string others;
    for (const auto& [program, state] : source.programs) {
      std::string& list = state == "attached" ? attached : others;
      list += (list.empty() ? "" : ", ") + program;
      if (state != "attached") list += ": " + state;
    }
    add("programs attached", attached);
    add("not attached", others);
    std::string lost;
    for (const auto& [cause, count] : source.lost)
      lost += fmt::format("{}{} {}", lost.empty() ? "" : ", ", cause, count);
    add("records lost", lost.empty() && source.closed ? "none" : lost);
  }
  return section;
}

ReportSection reproduce(const Summary& summary) {
  ReportSection section{.title = "How to see it again"};
  const auto groups = summary.top_groups(1);
  const std::string dialled = groups.empty() ? "" : groups.front()->first.dialled;
  const std::size_t colon = dialled.rfind(':');
  if (colon != std::string::npos && dialled.find(':') == colon) {
    section.paragraphs.push_back("On the node, while " + groups.front()->first.client + " dials " +
                                 dialled + "; below, the log of then, and what made it:");
    section.commands.push_back(fmt::format("droptrace {}dst host {} and dst port {}",
                                           groups.front()->attempts > 0 ? "--syn " : "",
                                           dialled.substr(0, colon), dialled.substr(colon + 1)));
  }
  for (const ReportSource& source : summary.sources()) {
    if (section.commands.size() > kGroupsShown) break;
    if (!source.file.empty()) section.commands.push_back("droptrace -r " + source.file);
    if (!source.environment.command.empty()) section.commands.push_back(source.environment.command);
  }
  return section;
}

}  // namespace

std::string utc_text(std::int64_t time_ns) {
  const CivilTime time = civil_time(time_ns);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", time.year, time.month, time.day,
                     time.hour, time.minute, time.second);
}

std::string duration_text(std::int64_t ns) {
  const std::int64_t seconds = ns / 1'000'000'000;
  if (seconds < 60) return fmt::format("{:.3f} s", static_cast<double>(ns) / 1e9);
  if (seconds < 3600) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
  return fmt::format("{} h {} min", seconds / 3600, seconds / 60 % 60);
}

std::string verdict_of(const Summary& summary) {
  const auto groups = summary.top_groups(1);
  if (groups.empty()) return "No drop was seen.";
  const CauseGroup& group = *groups.front();
  const ReportEvent& event = group.first;
  const bool by_attempts = group.attempts > 0;
  std::string text = by_attempts ? share(group.attempts, summary.attempts()) + " connection attempt"
                                 : share(group.events, summary.events()) + " packet";
  const std::uint64_t whole = by_attempts ? summary.attempts() : summary.events();
  text += whole == 1 ? " that was seen died in " : "s that were seen died in ";
  text += place_in_words(group);
  if (!event.rule.empty()) text += ", by " + rule_cell(event);
  text += ": " + group.name();
  if (const std::string why = why_cell(group); !why.empty()) text += ", " + why;
  return text + " (" + sureness(event) + ").";
}

ReportDocument report_document(const Summary& summary) {
  ReportDocument document;
  document.title = "Dropped connections";
  document.verdict = verdict_of(summary);
  if (summary.events() > 0)
    document.range = fmt::format(
        "{} to {} ({}): {}, {} of which {} dropped, {} rejected, {} unanswered, {} answered in the "
        "end.",
        utc_text(summary.first_ns()), utc_text(summary.last_ns()),
        duration_text(summary.last_ns() - summary.first_ns()), counted(summary.events(), "packet"),
        counted(summary.attempts(), "connection attempt"), summary.outcomes()[1],
        summary.outcomes()[2], summary.outcomes()[0], summary.outcomes()[3]);
  if (summary.forgotten_attempts() > 0)
    document.range += fmt::format(" {} attempts had to be forgotten and may count twice.",
                                  summary.forgotten_attempts());
  if (summary.events() > 0) {
    document.sections = {causes(summary), map_of_pairs(summary)};
    std::size_t drawn = 0;
    for (const ReportSource& source : summary.sources()) {
      if (source.events > 0 && ++drawn <= kNodesDrawn)
        document.sections.push_back(node_picture(source));
    }
    document.sections.push_back(timeline(summary));
    document.sections.push_back(top_lists(summary));
    if (!summary.worst_attempts(1).empty()) document.sections.push_back(ladders(summary));
  }
  document.sections.push_back(environment_of(summary));
  if (summary.events() > 0) document.sections.push_back(reproduce(summary));
  for (ReportSection& section : document.sections) drop_empty_columns(section.table);
  return document;
}

}  // namespace droptrace
