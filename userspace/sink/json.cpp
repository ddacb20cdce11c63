// SPDX-License-Identifier: GPL-2.0-only
#include "sink/json.h"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/civil_time.h"
#include "sink/probe_text.h"

namespace droptrace {
namespace {

using Json = nlohmann::ordered_json;

// What is not known is absent.
template <typename Value>
void put(Json& object, const char* key, const std::optional<Value>& value) {
  if (value) object[key] = *value;
}

void put(Json& object, const char* key, const std::optional<Address>& value) {
  if (value) object[key] = to_string(*value);
}

void put(Json& object, const char* key, const std::optional<AddressClass>& value) {
  if (value) object[key] = to_string(*value);
}

// RFC 3339.
std::string utc_time(std::int64_t time_ns) {
  const CivilTime time = civil_time(time_ns);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", time.year, time.month, time.day,
                     time.hour, time.minute, time.second, time.nanosecond);
}

double milliseconds(std::uint64_t time_ns) { return static_cast<double>(time_ns) / 1e6; }

std::string_view l3_name(L3 l3) {
  switch (l3) {
    case L3::kIpv4:
      return "ipv4";
    case L3::kIpv6:
      return "ipv6";
    case L3::kArp:
      return "arp";
    case L3::kOther:
      break;
  }
  return "other";
}

Json packet_json(const Packet& packet, std::uint32_t mark) {
  Json json = {{"l3", l3_name(packet.l3)}};
  put(json, "src", packet.src);
  put(json, "dst", packet.dst);
  if (packet.protocol) json["proto"] = protocol_name(*packet.protocol);
  put(json, "sport", packet.sport);
  put(json, "dport", packet.dport);
  if (packet.tcp_flags) json["tcp_flags"] = tcp_flags_text(*packet.tcp_flags);
  put(json, "seq", packet.seq);
  put(json, "icmp_type", packet.icmp_type);
  put(json, "icmp_code", packet.icmp_code);
  json["length"] = packet.length;
  put(json, "ttl", packet.ttl);
  if (mark != 0) json["mark"] = mark;
  return json;
}

Json original_json(const Tuple& original) {
  Json json = {{"src", to_string(original.src.address)}, {"dst", to_string(original.dst.address)}};
  put(json, "sport", original.src.port);
  put(json, "dport", original.dst.port);
  return json;
}

Json attempt_json(const AttemptState& attempt) {
  Json json = {
      {"syn", attempt.syn}, {"dropped", attempt.dropped}, {"age_ms", milliseconds(attempt.age_ns)}};
  if (attempt.gives_up_ns) json["gives_up_ms"] = milliseconds(*attempt.gives_up_ns);
  return json;
}

void put_rule(Json& json, const NetfilterFacts& facts) {
  if (facts.rule) {
    json["table"] = facts.rule->table;
    json["chain"] = facts.rule->chain;
  }
  put(json, "rule_handle", facts.handle);
  if (facts.rule) {
    put(json, "rule_number", facts.rule->number);
    if (!facts.rule->text.empty()) json["rule"] = facts.rule->text;
    if (!facts.rule->comment.empty()) json["comment"] = facts.rule->comment;
    if (!facts.rule->element.empty()) json["element"] = facts.rule->element;
    if (!facts.rule->path.empty()) json["path"] = facts.rule->path;
  }
  if (facts.policy) json["policy"] = true;
  if (!facts.candidates.empty()) json["candidates"] = facts.candidates;
}

std::string_view verdict_name(const Drop& drop) {
  if (drop.netfilter->queue_failed) return "queue";
  return drop.answer ? "reject" : "drop";
}

std::string_view method_name(const NetfilterFacts& facts) {
  if (facts.from_trace) return "trace";
  if (facts.from_counter) return "counter";
  if (facts.from_hook) return "hook";
  if (facts.evaluated) return "evaluated";
  return facts.from_frame ? "frame" : "none";
}

Json netfilter_json(const Drop& drop) {
  const NetfilterFacts& facts = *drop.netfilter;
  Json json = {{"backend", to_string(facts.backend)}};
  if (facts.family) json["family"] = to_string(*facts.family);
  if (facts.hook) json["hook"] = to_string(*facts.hook);
  put_rule(json, facts);
  json["verdict"] = verdict_name(drop);
  put(json, "function", facts.function);
  if (!facts.functions.empty()) json["functions"] = facts.functions;
  put(json, "queue", facts.queue);
  put(json, "queue_owner", facts.queue_owner);
  put(json, "bypass", facts.queue_bypass);
  json["method"] = method_name(facts);
  if (facts.exact() && !facts.evaluated)
    json["confidence"] = "exact";
  else if (facts.evaluated || !facts.functions.empty())
    json["confidence"] = "candidate";
  return json;
}

Json event_json(const char* type, std::int64_t time_ns) {
  return {{"schema", 1}, {"type", type}, {"time", utc_time(time_ns)}};
}

void put_place(Json& json, const Drop& drop) {
  put(json, "netns", drop.record.netns);
  put(json, "where", drop.where);
  if (!drop.record.ifname.empty()) json["ifname"] = drop.record.ifname;
  put(json, "ifindex", drop.record.ifindex);
  put(json, "peer", drop.peer);
}

// "src_name" and, of a pod that was deleted, "src_gone".
void put_owner(Json& json, const std::string& end, const Drop& drop,
               const std::optional<Address>& address) {
  const Party* const party = address ? drop.party(*address) : nullptr;
  if (!party || !party->owner) return;
  json[end + "_name"] = to_string(*party->owner);
  if (party->owner->gone) json[end + "_gone"] = true;
}

void put_flow(Json& json, const Drop& drop) {
  json["packet"] = packet_json(drop.record.packet, drop.record.mark);
  const std::optional<Conntrack>& conntrack = drop.record.conntrack;
  if (conntrack && conntrack->has_nat()) json["original"] = original_json(conntrack->original);
  put(json, "src_class", drop.src_class);
  put(json, "dst_class", drop.dst_class);
  put(json, "src_name", drop.src_name);
  put(json, "dst_name", drop.dst_name);
  put_owner(json, "src", drop, drop.record.packet.src);
  put_owner(json, "dst", drop, drop.record.packet.dst);
  put(json, "service", drop.service);
  if (drop.attempt) json["attempt"] = attempt_json(*drop.attempt);
}

void put_cause(Json& json, const Drop& drop) {
  json["reason"] = drop.reason;
  put(json, "reason_value", drop.record.reason);
  json["location"] = drop.location;
  if (drop.netfilter) json["netfilter"] = netfilter_json(drop);
  if (!drop.noise.empty()) json["noise"] = true;
  put(json, "comm", drop.comm);
  if (!drop.stack.empty()) json["stack"] = drop.stack;
}

// What is empty is not known.
void put_words(Json& json, const Cause& cause) {
  if (!cause.id.empty()) json["cause"] = cause.id;
  if (!cause.explanation.empty()) json["explanation"] = cause.explanation;
  if (!cause.advice.empty()) json["advice"] = cause.advice;
}

double microseconds(std::uint64_t time_ns) { return static_cast<double>(time_ns) / 1e3; }

Json hop_json(const HopView& hop) {
  Json json = Json::object();
  put(json, "netns", hop.netns);
  if (!hop.where.empty()) json["where"] = hop.where;
  if (!hop.ifname.empty()) json["ifname"] = hop.ifname;
  json["event"] = hop.event;
  json["offset_us"] = microseconds(hop.offset_ns);
  if (hop.packet) json["packet"] = packet_json(*hop.packet, 0);
  if (!hop.note.empty()) json["note"] = hop.note;
  return json;
}

void put_path(Json& json, const std::vector<HopView>& path) {
  if (path.empty()) return;
  Json& list = json["path"] = Json::array();
  for (const HopView& hop : path) list.push_back(hop_json(hop));
}

// In ASCII, so that a hostile name cannot drive the terminal that shows it.
std::string line(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace) + '\n';
}

}  // namespace

std::string JsonSink::drop(const Drop& drop) {
  Json json = event_json(drop.answer ? "reject" : "drop", drop.time_ns);
  json["boot_ns"] = drop.record.boot_ns;
  put_place(json, drop);
  put_flow(json, drop);
  put_cause(json, drop);
  put(json, "answer", drop.answer);
  if (drop.cause) put_words(json, *drop.cause);
  put_path(json, drop.path);
  return line(json);
}

std::string JsonSink::attempt(const AttemptReport& report) {
  Json json = event_json(report.outcome == Outcome::kUnanswered ? "unanswered" : "answered",
                         report.drop.time_ns);
  json["boot_ns"] = report.drop.record.boot_ns;
  put_place(json, report.drop);
  put_flow(json, report.drop);
  put_words(json, report.cause);
  put_path(json, report.path);
  return line(json);
}

std::string JsonSink::lost(std::int64_t time_ns,
                           const std::map<std::string, std::uint64_t>& causes) {
  Json json = event_json("lost", time_ns);
  json["causes"] = causes;
  return line(json);
}

std::string JsonSink::summary(std::int64_t time_ns, const Totals& totals) {
  Json json = event_json("summary", time_ns);
  json["seen"] = totals.seen;
  json["shown"] = totals.shown;
  json["noise"] = totals.noise;
  json["filtered"] = totals.filtered;
  json["lost"] = totals.lost_total();
  json["programs"] = totals.programs;
  return line(json);
}

std::string probe_json(const ProbeResult& result) {
  const AttemptReport& report = result.report;
  Json json = event_json("probe", report.drop.time_ns);
  json["outcome"] = to_string(result.outcome);
  json["from"] = result.from;
  json["to"] = result.to;
  json["src"] = to_string(result.dialled.src);
  json["dst"] = to_string(result.dialled.dst);
  put(json, "service", report.drop.service);
  json["took_ms"] = milliseconds(result.took_ns);
  if (report.drop.attempt) json["syn"] = report.drop.attempt->syn;
  if (!result.error.empty()) json["error"] = result.error;
  put_place(json, result.drops.empty() ? report.drop : result.drops.back());
  put_words(json, report.cause);
  put_path(json, report.path);
  for (const Drop& drop : result.drops) {
    Json each = {{"reason", drop.reason}, {"location", drop.location}};
    put_place(each, drop);
    each["packet"] = packet_json(drop.record.packet, drop.record.mark);
    if (drop.netfilter) each["netfilter"] = netfilter_json(drop);
    json["drops"].push_back(std::move(each));
  }
  return line(json);
}

std::string check_json(const CheckReport& report) {
  Json json = {{"schema", 1}, {"type", "check"}};
  for (const auto& [section, findings] : report) {
    Json& list = json["sections"][section] = Json::array();
    for (const Finding& each : findings) {
      list.push_back({{"level", to_string(each.level)}, {"id", each.id}, {"fact", each.fact}});
      if (!each.advice.empty()) list.back()["advice"] = each.advice;
    }
  }
  return line(json);
}

std::optional<std::string> json_field(std::string_view json, std::string_view dotted_name) {
  const Json parsed = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  const Json* value = &parsed;
  std::size_t start = 0;
  while (start <= dotted_name.size()) {
    const std::size_t end = std::min(dotted_name.find('.', start), dotted_name.size());
    const std::string key(dotted_name.substr(start, end - start));
    if (!value->is_object() || !value->contains(key)) return std::nullopt;
    value = &value->at(key);
    start = end + 1;
  }
  if (value->is_string()) return value->get<std::string>();
  if (value->is_number() || value->is_boolean()) return value->dump();
  return std::nullopt;
}

}  // namespace droptrace
