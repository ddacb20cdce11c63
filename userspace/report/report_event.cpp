// SPDX-License-Identifier: GPL-2.0-only
#include "report/report_event.h"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace droptrace {

namespace {

using Json = nlohmann::ordered_json;

const Json& at(const Json& object, const char* key) {
  static const Json kNothing;
  const auto found = object.find(key);
  return found == object.end() ? kNothing : *found;
}

std::string text(const Json& object, const char* key) {
  const Json& value = at(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::optional<std::uint64_t> number(const Json& object, const char* key) {
  const Json& value = at(object, key);
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<std::uint64_t>();
}

std::optional<double> real(const Json& object, const char* key) {
  const Json& value = at(object, key);
  if (!value.is_number()) return std::nullopt;
  return value.get<double>();
}

std::string joined(const Json& list, std::string_view separator) {
  std::string result;
  if (!list.is_array()) return result;
  for (const Json& item : list) {
    if (!item.is_string()) continue;
    if (!result.empty()) result += separator;
    result += item.get_ref<const std::string&>();
  }
  return result;
}

std::optional<AttemptOutcome> outcome_of(const std::string& type) {
  if (type == "drop") return AttemptOutcome::kDropped;
  if (type == "reject") return AttemptOutcome::kRejected;
  if (type == "unanswered") return AttemptOutcome::kUnanswered;
  if (type == "answered") return AttemptOutcome::kAnswered;
  return std::nullopt;
}

std::string chain_text(const Json& netfilter) {
  std::string result;
  for (const char* key : {"family", "table"}) {
    const std::string part = text(netfilter, key);
    if (!part.empty()) result += part + ' ';
  }
  const std::string path = joined(at(netfilter, "path"), " → ");
  return result + (path.empty() ? text(netfilter, "chain") : path);
}

std::string rule_of(const Json& netfilter) {
  if (at(netfilter, "policy").is_boolean()) return "policy of " + chain_text(netfilter);
  std::string rule;
  if (netfilter.contains("chain")) {
    rule = chain_text(netfilter);
    if (const auto position = number(netfilter, "rule_number"))
      rule += fmt::format(" #{}", *position);
    else if (const auto handle = number(netfilter, "rule_handle"))
      rule += fmt::format(" handle {}", *handle);
  }
  if (const auto queue = number(netfilter, "queue")) {
    rule += fmt::format("{}NFQUEUE {}", rule.empty() ? "" : ", ", *queue);
    if (const std::string owner = text(netfilter, "queue_owner"); !owner.empty())
      rule += " verdict by " + owner;
  }
  if (!rule.empty()) return rule;
  if (const std::string function = text(netfilter, "function"); !function.empty())
    return text(netfilter, "backend") + ": " + function;
  if (const std::string some = joined(at(netfilter, "candidates"), "; "); !some.empty())
    return "one of: " + some;
  const std::string functions = joined(at(netfilter, "functions"), ", ");
  return functions.empty() ? std::string() : "one of: " + functions;
}

void add_netfilter(ReportEvent& event, const Json& netfilter) {
  if (!netfilter.is_object()) return;
  event.hook = text(netfilter, "hook");
  event.rule = rule_of(netfilter);
  event.rule_text = text(netfilter, "comment");
  if (event.rule_text.empty()) event.rule_text = text(netfilter, "rule");
  event.confidence = text(netfilter, "confidence");
}

struct End {
  std::string address;
  std::optional<std::uint64_t> port;

  bool operator==(const End&) const = default;
  std::string text() const {
    if (!port) return address;
    const bool v6 = address.find(':') != std::string::npos;
    return fmt::format(fmt::runtime(v6 ? "[{}]:{}" : "{}:{}"), address, *port);
  }
};

End end_of(const Json& flow, const char* address, const char* port) {
  return {text(flow, address), number(flow, port)};
}

// "p/data/web-0" is a pod, "s/…" a service, "node/…" keeps its first word.
std::string label(const std::string& name, const std::string& address) {
  if (name.empty()) return address;
  return name.starts_with("p/") || name.starts_with("s/") ? name.substr(2) : name;
}

// Without what conntrack knows, the end with the smaller port is taken for the server.
bool is_answer(const Json& packet, const End& src, const End& dst, const End& client) {
  if (!client.address.empty()) return dst == client && src != client;
  const std::string flags = text(packet, "tcp_flags");
  if (flags.starts_with('S')) return flags.starts_with("S.");
  return src.port && dst.port && *src.port < 32768 && *dst.port >= 32768;
}

void add_flow(ReportEvent& event, const Json& json) {
  const Json& packet = at(json, "packet");
  const Json& original = at(json, "original");
  if (!packet.is_object()) return;
  End src = end_of(packet, "src", "sport");
  End dst = end_of(packet, "dst", "dport");
  const End dialler = end_of(original, "src", "sport");
  const std::string flags = text(packet, "tcp_flags");
  event.is_attempt = flags.starts_with('S') && !flags.starts_with("S.");
  std::string src_name = text(json, "src_name");
  std::string dst_name = text(json, "dst_name");
  if (is_answer(packet, src, dst, dialler)) {
    std::swap(src, dst);
    std::swap(src_name, dst_name);
  }
  const End client = dialler.address.empty() ? src : dialler;
  const End dialled = original.is_object() ? end_of(original, "dst", "dport") : dst;
  event.client = label(client.address == src.address ? src_name : "", client.address);
  event.dialled = dialled.text();
  event.service = text(json, "service");
  const bool translated = dialled != dst;
  if (event.service.empty() && translated) event.service = dialled.text();
  if (translated || event.service.empty()) {
    event.endpoint = label(dst_name, dst.address);
    if (dst.port) event.endpoint += fmt::format(":{}", *dst.port);
  }
  const auto isn = number(packet, "seq");
  if (!event.is_attempt || !isn) return;
  event.keys.push_back(fmt::format("{} {}", client.text(), *isn));
  if (src != client) event.keys.push_back(fmt::format("{} {}", src.text(), *isn));
}

// Where a packet for which no drop was seen was seen last.
void add_last_hop(ReportEvent& event, const Json& hop) {
  if (!hop.is_object()) return;
  event.where = text(hop, "where");
  event.ifname = text(hop, "ifname");
}

std::string class_of(const Json& json, const char* key) {
  const std::string address_class = text(json, key);
  return address_class.empty() ? "unknown" : address_class;
}

}  // namespace

std::string_view to_string(AttemptOutcome outcome) {
  switch (outcome) {
    case AttemptOutcome::kUnanswered:
      return "unanswered";
    case AttemptOutcome::kDropped:
      return "dropped";
    case AttemptOutcome::kRejected:
      return "rejected";
    case AttemptOutcome::kAnswered:
      break;
  }
  return "answered";
}

std::optional<ReportEvent> report_event(std::int64_t time_ns, std::string_view line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto outcome = outcome_of(text(json, "type"));
  if (!outcome) return std::nullopt;

  ReportEvent event;
  event.time_ns = time_ns;
  event.outcome = *outcome;
  event.reason = text(json, "reason");
  event.function = text(json, "location");
  event.function.resize(std::min(event.function.find_first_of("+."), event.function.size()));
  event.where = text(json, "where");
  event.ifname = text(json, "ifname");
  event.peer = text(json, "peer");
  if (const Json& path = at(json, "path"); event.where.empty() && path.is_array() && !path.empty())
    add_last_hop(event, path.back());
  event.answer = text(json, "answer");
  event.cause = text(json, "cause");
  event.explanation = text(json, "explanation");
  event.advice = text(json, "advice");
  add_netfilter(event, at(json, "netfilter"));
  add_flow(event, json);
  event.direction = class_of(json, "src_class") + "_to_" + class_of(json, "dst_class");
  if (const Json& attempt = at(json, "attempt"); attempt.is_object()) {
    if (const auto syn = number(attempt, "syn")) event.syn = static_cast<unsigned>(*syn);
    if (const auto dropped = number(attempt, "dropped"))
      event.dropped = static_cast<unsigned>(*dropped);
    event.age_ms = real(attempt, "age_ms");
    event.gives_up_ms = real(attempt, "gives_up_ms");
  }
  return event;
}

}  // namespace droptrace
