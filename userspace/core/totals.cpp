// SPDX-License-Identifier: GPL-2.0-only
#include "core/totals.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

namespace droptrace {

std::uint64_t Totals::lost_total() const {
  std::uint64_t total = 0;
  for (const auto& [cause, count] : lost) total += count;
  return total;
}

std::string closing_line(const Totals& totals) {
  std::string_view hint;
  if (totals.noise == 1) hint = " (--noise shows it)";
  if (totals.noise > 1) hint = " (--noise shows them)";

  std::string causes;
  for (const auto& [cause, count] : totals.lost) {
    causes += fmt::format("{}{} {}", causes.empty() ? "" : ", ", cause, count);
  }
  std::ranges::replace(causes, '_', ' ');
  if (!causes.empty()) causes = " (" + causes + ")";

  return fmt::format("{} {} seen: {} shown, {} hidden as noise{}, {} filtered; {} lost{}",
                     totals.seen, totals.seen == 1 ? "drop" : "drops", totals.shown, totals.noise,
                     hint, totals.filtered, totals.lost_total(), causes);
}

}  // namespace droptrace
