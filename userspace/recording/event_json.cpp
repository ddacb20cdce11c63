// SPDX-License-Identifier: GPL-2.0-only
#include "recording/event_json.h"

#include <optional>

#include <nlohmann/json.hpp>

namespace droptrace {

namespace {

using Json = nlohmann::ordered_json;

Json parse(std::string_view json) { return Json::parse(json, nullptr, /*allow_exceptions=*/false); }

std::string dump(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

template <typename Number>
std::optional<Number> number(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->template get<Number>();
}

std::string text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<Endpoint> end_of_flow(const Json& flow, const char* address, const char* port) {
  const auto parsed = parse_address(text(flow, address));
  if (!parsed) return std::nullopt;
  return Endpoint{*parsed, number<std::uint16_t>(flow, port)};
}

}  // namespace

bool add_facts(RecordedEvent& event) {
  const Json json = parse(event.json);
  if (!json.is_object() || text(json, "type").empty()) return false;
  event.record.netns = number<std::uint32_t>(json, "netns");
  event.record.ifindex = number<std::uint32_t>(json, "ifindex");
  event.record.ifname = text(json, "ifname");
  event.where = text(json, "where");
  event.peer = text(json, "peer");
  event.noise = json.contains("noise");
  const std::string type = text(json, "type");
  event.ends_attempt = type == "unanswered" || type == "answered";
  if (const auto original = json.find("original"); original != json.end()) {
    const auto src = end_of_flow(*original, "src", "sport");
    const auto dst = end_of_flow(*original, "dst", "dport");
    if (src && dst) event.record.conntrack = Conntrack{.original = {*src, *dst, 0}, .reply = {}};
  }
  return true;
}

std::string line_type(std::string_view json) {
  const Json parsed = parse(json);
  return parsed.is_object() ? text(parsed, "type") : std::string();
}

std::string environment_line(const Environment& environment) {
  const Json json = {{"schema", 1},
                     {"type", "environment"},
                     {"version", environment.version},
                     {"node", environment.node},
                     {"kernel", environment.kernel},
                     {"service_cidr", environment.service_cidr},
                     {"pod_cidr", environment.pod_cidr},
                     {"command", environment.command}};
  return dump(json);
}

Environment parse_environment(std::string_view json) {
  const Json parsed = parse(json);
  if (!parsed.is_object()) return {};
  return {text(parsed, "version"),      text(parsed, "node"),     text(parsed, "kernel"),
          text(parsed, "service_cidr"), text(parsed, "pod_cidr"), text(parsed, "command")};
}

std::map<std::string, std::uint64_t> lost_causes(std::string_view json) {
  std::map<std::string, std::uint64_t> causes;
  const Json parsed = parse(json);
  if (!parsed.is_object() || !parsed.contains("causes")) return causes;
  for (const auto& [cause, count] : parsed["causes"].items()) {
    if (count.is_number_unsigned()) causes[cause] = count.get<std::uint64_t>();
  }
  return causes;
}

Totals summary_totals(std::string_view json) {
  Totals totals;
  const Json parsed = parse(json);
  if (!parsed.is_object()) return totals;
  totals.seen = number<std::uint64_t>(parsed, "seen").value_or(0);
  totals.shown = number<std::uint64_t>(parsed, "shown").value_or(0);
  totals.noise = number<std::uint64_t>(parsed, "noise").value_or(0);
  totals.filtered = number<std::uint64_t>(parsed, "filtered").value_or(0);
  if (const auto programs = parsed.find("programs"); programs != parsed.end()) {
    for (const auto& [name, state] : programs->items()) {
      if (state.is_string()) totals.programs[name] = state.get<std::string>();
    }
  }
  return totals;
}

std::string with_totals(std::string_view json, const Totals& totals) {
  Json parsed = parse(json);
  parsed["shown"] = totals.shown;
  parsed["noise"] = totals.noise;
  parsed["filtered"] = totals.filtered;
  return dump(parsed);
}

}  // namespace droptrace
