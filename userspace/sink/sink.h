// SPDX-License-Identifier: GPL-2.0-only
// A sink turns what happened into bytes of one output format. It does no I/O and no look-ups.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "core/attempt_report.h"
#include "core/drop.h"
#include "core/totals.h"

namespace droptrace {

class Sink {
 public:
  virtual ~Sink() = default;

  virtual std::string drop(const Drop& drop) = 0;
  // An attempt that got no answer, or one after all.
  virtual std::string attempt(const AttemptReport& report) = 0;
  // Records lost since the last call, by cause. time_ns: CLOCK_REALTIME.
  virtual std::string lost(std::int64_t time_ns,
                           const std::map<std::string, std::uint64_t>& causes) = 0;
  // The last call.
  virtual std::string summary(std::int64_t time_ns, const Totals& totals) = 0;
};

}  // namespace droptrace
