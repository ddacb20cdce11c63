// SPDX-License-Identifier: GPL-2.0-only
// Counters for Prometheus, in its text format. Labels come from bounded sets, never from addresses
// or names; should a set be larger than expected, the rest is "other".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "core/totals.h"
#include "report/report_event.h"

namespace droptrace {

// What is as it is at the moment of asking.
struct MetricsNow {
  Totals totals;
  std::uint64_t ring_bytes = 0;
  std::uint64_t ring_used_bytes = 0;
  std::string version;
};

class Metrics {
 public:
  void add(const ReportEvent& event);

  std::string text(const MetricsNow& now) const;

 private:
  // reason, cause, hook, direction
  using Series = std::tuple<std::string, std::string, std::string, std::string>;

  std::map<Series, std::uint64_t> drops_;
  std::map<std::string, std::uint64_t> attempts_;
};

}  // namespace droptrace
