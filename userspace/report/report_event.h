// SPDX-License-Identifier: GPL-2.0-only
// A line of JSON as reports look at it: who wanted to talk to whom, what became of it, where and
// by which rule. Texts that are not known are empty.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace droptrace {

enum class AttemptOutcome {
  kUnanswered,
  kDropped,
  kRejected,
  kAnswered
};  // what knows more comes later

std::string_view to_string(AttemptOutcome outcome);

struct ReportEvent {
  std::int64_t time_ns = 0;
  AttemptOutcome outcome = AttemptOutcome::kDropped;

  std::string reason;
  std::string function;  // that freed the packet, without its offset
  std::string where;     // "node", "pod:data/web-0"
  std::string ifname;
  std::string peer;
  std::string hook;

  std::string rule;  // "ip filter FORWARD → KUBE-FORWARD #3", "policy of ip filter FORWARD"
  std::string rule_text;
  std::string confidence;  // "exact", "candidate"
  std::string answer;      // "rst"

  std::string cause;
  std::string explanation;
  std::string advice;

  std::string client;    // "data/web-0", or the address
  std::string service;   // "default/web:http"
  std::string endpoint;  // "default/web-0:8080"; empty: the service was dialled and had none
  std::string dialled;   // "10.96.100.10:80"

  std::string direction;  // of the packet: "pod_to_service"

  bool is_attempt = false;          // a SYN
  std::vector<std::string> keys;    // of the attempt, before NAT and after
  std::optional<unsigned> syn;      // which SYN it is
  std::optional<unsigned> dropped;  // how many of its SYNs so far
  std::optional<double> age_ms;     // since the first
  std::optional<double> gives_up_ms;
};

// nullopt if the line is about no packet, or is not understood.
std::optional<ReportEvent> report_event(std::int64_t time_ns, std::string_view json);

}  // namespace droptrace
