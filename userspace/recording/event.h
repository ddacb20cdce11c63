// SPDX-License-Identifier: GPL-2.0-only
// An event as a recording keeps it: what the sinks said of it, and the packet. Nothing that was
// known when it happened is lost, whatever is known where it is read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/decode.h"
#include "core/drop.h"

namespace droptrace {

struct RecordedEvent {
  std::int64_t time_ns = 0;  // CLOCK_REALTIME, since the epoch
  bool has_packet = false;   // false: a line without a packet, such as "lost" and "summary"
  Record record;             // as far as it tells packet, place and the flow before NAT
  std::string where;         // "node"; empty: not known
  std::string peer;          // "pod:data/web-0/eth0"; empty: not known
  std::vector<std::pair<Address, std::string>> names;  // "web-0.data", "web.data.svc"
  bool noise = false;
  bool ends_attempt = false;  // what became of an attempt, which is no drop
  std::string text;           // of the live log, plain, without the last line's end
  std::string json;           // the line of JSON, without its end
};

// text and json: what the sinks made of the drop.
RecordedEvent recorded_event(const Drop& drop, std::string_view text, std::string_view json);

// A line of JSON that is about no packet.
RecordedEvent recorded_line(std::int64_t time_ns, std::string_view json);

}  // namespace droptrace
