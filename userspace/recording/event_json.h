// SPDX-License-Identifier: GPL-2.0-only
// What the JSON lines of a recording tell.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/totals.h"
#include "recording/event.h"

namespace droptrace {

// Where a recording was made.
struct Environment {
  std::string version;  // of droptrace
  std::string node;
  std::string kernel;        // "Linux 6.12.1"
  std::string service_cidr;  // "10.96.0.0/16 (/kind/kubeadm.conf)"
  std::string pod_cidr;
  std::string command;  // "droptrace --syn"
};

std::string environment_line(const Environment& environment);
Environment parse_environment(std::string_view json);

// Sets what event.json tells of place, flow and noise. False if it is not one of our lines.
bool add_facts(RecordedEvent& event);

// "drop", "lost"; empty if the line has none.
std::string line_type(std::string_view json);

// How many records a line of type "lost" is about, by cause.
std::map<std::string, std::uint64_t> lost_causes(std::string_view json);

// The figures of a line of type "summary".
Totals summary_totals(std::string_view json);

// The line of type "summary" with other figures for what was shown and hidden.
std::string with_totals(std::string_view json, const Totals& totals);

}  // namespace droptrace
