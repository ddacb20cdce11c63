// SPDX-License-Identifier: GPL-2.0-only
// `droptrace probe`: whom to dial, and what the trace of that one attempt has shown.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/attempt_report.h"
#include "core/world.h"

namespace droptrace {

// IP[:PORT], NS/SERVICE[:PORT] or pod:NS/NAME:PORT.
struct ProbeTarget {
  enum class Kind { kAddress, kService, kPod };
  Kind kind = Kind::kAddress;
  std::optional<Address> address;
  std::string space;
  std::string name;
  std::string port;  // a number, or of a service the port's name; empty: not said
  std::uint8_t protocol = IPPROTO_TCP;  // or IPPROTO_UDP
};

// nullopt if it is none of these.
std::optional<ProbeTarget> parse_probe_target(std::string_view text);

// Where to dial, or why that is not known.
std::variant<Endpoint, std::string> resolve_target(const ProbeTarget& target, const World& world);

// "NS/NAME" of "pod:NS/NAME"; nullptr if no pod that lives is called so.
const Pod* pod_named(std::string_view text, const World& world);

struct ProbeResult {
  Outcome outcome = Outcome::kUnanswered;
  std::string from;  // "node", "pod:NS/NAME"
  std::string to;    // as it was asked for
  Tuple dialled;
  AttemptReport report;
  std::vector<Drop> drops;
  std::uint64_t took_ns = 0;  // until there was an answer, or until it was given up
  std::string error;          // what the client was told; empty: nothing
};

// Where and why it ended, from what was seen: fills in the cause.
void explain_probe(ProbeResult& result, const Attempted* attempt, const World& world);

}  // namespace droptrace
