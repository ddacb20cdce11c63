// SPDX-License-Identifier: GPL-2.0-only
#include "core/civil_time.h"

#include <chrono>

namespace droptrace {

// std::chrono's own floor of nanoseconds to days overflows near the first of them: it is taken here
// of seconds.
CivilTime civil_time(std::int64_t time_ns, int utc_offset_s) {
  using std::chrono::days, std::chrono::floor, std::chrono::seconds, std::chrono::sys_seconds;
  constexpr std::int64_t kSecond = 1'000'000'000;
  std::int64_t whole = time_ns / kSecond;
  std::int64_t rest = time_ns % kSecond;
  if (rest < 0) {
    rest += kSecond;
    --whole;
  }
  const sys_seconds time{seconds(whole + utc_offset_s)};
  const auto midnight = floor<days>(time);
  const std::chrono::year_month_day date(midnight);
  const std::chrono::hh_mm_ss clock(time - midnight);
  return {static_cast<int>(date.year()),
          static_cast<unsigned>(date.month()),
          static_cast<unsigned>(date.day()),
          static_cast<unsigned>(clock.hours().count()),
          static_cast<unsigned>(clock.minutes().count()),
          static_cast<unsigned>(clock.seconds().count()),
          static_cast<unsigned>(rest)};
}

}  // namespace droptrace
