// SPDX-License-Identifier: GPL-2.0-only
#include <nlohmann/json.hpp>

#include "report/document.h"

namespace droptrace {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kListed = 1000;
constexpr std::size_t kAttemptsListed = 20;

void put(Json& json, const char* key, const std::string& value) {
  if (!value.empty()) json[key] = value;
}

Json outcomes_json(const OutcomeCounts& counts) {
  Json json = Json::object();
  for (const AttemptOutcome outcome : {AttemptOutcome::kDropped, AttemptOutcome::kRejected,
                                       AttemptOutcome::kUnanswered, AttemptOutcome::kAnswered})
    json[std::string(to_string(outcome))] = counts[static_cast<std::size_t>(outcome)];
  return json;
}

Json group_json(const CauseGroup& group) {
  Json json = Json::object();
  put(json, "cause", group.first.cause);
  put(json, "reason", group.first.reason);
  json["places"] = group.places;
  put(json, "node", group.node);
  put(json, "hook", group.first.hook);
  put(json, "rule", group.first.rule);
  put(json, "rule_text", group.first.rule_text);
  put(json, "function", group.first.function);
  put(json, "confidence", group.first.confidence);
  put(json, "explanation", group.first.explanation);
  put(json, "advice", group.first.advice);
  json["events"] = group.events;
  json["attempts"] = group.attempts;
  json["outcomes"] = outcomes_json(group.outcomes);
  return json;
}

// Who talks to whom.
Json ends_json(const TalkingPair& pair) {
  Json json = {{"client", pair.client}};
  put(json, "service", pair.service);
  put(json, "endpoint", pair.endpoint);
  return json;
}

Json pair_json(const TalkingPair& pair) {
  Json json = ends_json(pair);
  json["events"] = pair.events;
  json["attempts"] = pair.attempts;
  json["outcomes"] = outcomes_json(pair.outcomes);
  return json;
}

Json attempt_json(const Summary& summary, const ReportAttempt& attempt) {
  Json json = ends_json(summary.pairs()[attempt.pair]);
  json["outcome"] = to_string(attempt.outcome);
  json["syns"] = attempt.syns;
  if (attempt.gives_up_ms) json["gives_up_ms"] = *attempt.gives_up_ms;
  for (const SynNote& note : attempt.notes) {
    Json syn = {{"time", utc_text(note.time_ns)}, {"time_ns", note.time_ns}};
    if (note.syn) syn["syn"] = *note.syn;
    syn["outcome"] = to_string(note.outcome);
    if (note.group < summary.groups().size())
      syn["place"] = place_of(summary.groups()[note.group].first);
    put(syn, "node", summary.sources()[note.node].environment.node);
    json["ladder"].push_back(std::move(syn));
  }
  return json;
}

Json source_json(const ReportSource& source) {
  Json json = Json::object();
  put(json, "file", source.file);
  put(json, "node", source.environment.node);
  put(json, "kernel", source.environment.kernel);
  put(json, "version", source.environment.version);
  put(json, "service_cidr", source.environment.service_cidr);
  put(json, "pod_cidr", source.environment.pod_cidr);
  put(json, "command", source.environment.command);
  json["events"] = source.events;
  json["lost"] = source.lost;
  json["programs"] = source.programs;
  json["closed"] = source.closed;
  return json;
}

}  // namespace

std::string report_json(const Summary& summary) {
  Json json = {{"schema", 1}, {"type", "report"}, {"verdict", verdict_of(summary)}};
  json["from_ns"] = summary.first_ns();
  json["to_ns"] = summary.last_ns();
  json["events"] = summary.events();
  json["attempts"] = summary.attempts();
  json["outcomes"] = outcomes_json(summary.outcomes());
  if (summary.forgotten_attempts() > 0) json["forgotten_attempts"] = summary.forgotten_attempts();
  json["causes"] = json["map"] = json["worst_attempts"] = Json::array();
  for (const CauseGroup* group : summary.top_groups(kListed))
    json["causes"].push_back(group_json(*group));
  for (const TalkingPair* pair : summary.top_pairs(kListed))
    json["map"].push_back(pair_json(*pair));
  for (const ReportAttempt* attempt : summary.worst_attempts(kAttemptsListed))
    json["worst_attempts"].push_back(attempt_json(summary, *attempt));
  Json& timeline = json["timeline"] = {{"start_ns", summary.timeline().start_ns()},
                                       {"bucket_ns", summary.timeline().bucket_ns()},
                                       {"events", Json::array()}};
  for (const OutcomeCounts& counts : summary.timeline().buckets())
    timeline["events"].push_back(counts[0] + counts[1] + counts[2]);
  json["reasons"] = summary.reasons();
  json["rules"] = summary.rules();
  json["functions"] = summary.locations();
  json["sources"] = Json::array();
  for (const ReportSource& source : summary.sources())
    json["sources"].push_back(source_json(source));
  return json.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace) + '\n';
}

}  // namespace droptrace
