// SPDX-License-Identifier: GPL-2.0-only
// Recordings in memory.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "recording/event.h"
#include "recording/event_json.h"
#include "recording/pcapng_reader.h"
#include "recording/pcapng_writer.h"
#include "sink/json.h"
#include "sink/text.h"

namespace droptrace {

inline Environment sample_environment() {
  return {"0.1.0",
          "kind-worker",
          "Linux 6.12.1",
          "10.96.0.0/16 (default)",
          "10.244.0.0/16 (default)",
          "droptrace --syn"};
}

inline RecordingHeader sample_header() {
  return {"droptrace 0.1.0", "Linux 6.12.1", "droptrace on kind-worker",
          environment_line(sample_environment())};
}

inline RecordedEvent event_of(const Drop& drop) {
  return recorded_event(drop, TextSink({}).drop(drop), JsonSink().drop(drop));
}

// What a file reads as, fed in pieces of so many bytes.
struct ReadBack {
  explicit ReadBack(std::string_view file, std::size_t piece = 4096) {
    for (; !file.empty(); file.remove_prefix(std::min(piece, file.size()))) {
      reader.feed(file.substr(0, piece));
      while (auto event = reader.next()) events.push_back(std::move(*event));
    }
  }

  PcapngReader reader;
  std::vector<RecordedEvent> events;
};

}  // namespace droptrace
