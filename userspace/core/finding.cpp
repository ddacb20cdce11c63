// SPDX-License-Identifier: GPL-2.0-only
#include "core/finding.h"

#include <algorithm>

namespace droptrace {

std::string_view to_string(Level level) {
  switch (level) {
    case Level::kInfo:
      return "info";
    case Level::kOk:
      return "ok";
    case Level::kWarn:
      return "warn";
    case Level::kFail:
      return "fail";
  }
  return "info";
}

bool has_failures(const CheckReport& report) {
  return std::ranges::any_of(report, [](const auto& section) {
    return std::ranges::any_of(section.second,
                               [](const Finding& each) { return each.level == Level::kFail; });
  });
}

}  // namespace droptrace
