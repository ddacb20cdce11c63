// SPDX-License-Identifier: GPL-2.0-only
// The live log: one drop is one to two lines of at most 120 columns, most important first. What
// does not fit, such as long IPv6 addresses, goes on in a further line.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>

#include "sink/sink.h"

namespace droptrace {

struct TextOptions {
  bool color = false;
  int utc_offset_s = 0;  // times are shown in this zone
  bool paths = false;    // show the hops of each attempt
};

class TextSink : public Sink {
 public:
  explicit TextSink(TextOptions options) : options_(options) {}

  // Repeats of an attempt at the same place are one short line. Control characters in names are
  // shown escaped, so that a hostile name cannot drive the terminal.
  std::string drop(const Drop& drop) override;
  std::string attempt(const AttemptReport& report) override;
  std::string lost(std::int64_t time_ns,
                   const std::map<std::string, std::uint64_t>& causes) override;
  // Nothing: the closing figures of the text log are a status line.
  std::string summary(std::int64_t time_ns, const Totals& totals) override;

 private:
  TextOptions options_;
};

}  // namespace droptrace
