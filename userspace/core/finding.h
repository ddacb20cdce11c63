// SPDX-License-Identifier: GPL-2.0-only
// A line of `droptrace check`: a fact, what it means, and what mends it.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace droptrace {

enum class Level { kInfo, kOk, kWarn, kFail };

// "info", "ok", …
std::string_view to_string(Level level);

struct Finding {
  Level level = Level::kInfo;
  std::string id;      // stable, kebab-case: "ip-forward"
  std::string fact;    // one clause
  std::string advice;  // the command that mends it; empty: there is nothing to mend

  bool operator==(const Finding&) const = default;
};

// Sections by name, in their order.
using CheckReport = std::vector<std::pair<std::string, std::vector<Finding>>>;

bool has_failures(const CheckReport& report);

}  // namespace droptrace
