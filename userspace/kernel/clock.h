// SPDX-License-Identifier: GPL-2.0-only
// The kernel's clocks in nanoseconds.
#pragma once

#include <time.h>

#include <cstdint>

namespace droptrace {

inline std::int64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// CLOCK_BOOTTIME, as the records have it.
inline std::uint64_t boot_ns() { return static_cast<std::uint64_t>(clock_ns(CLOCK_BOOTTIME)); }

// CLOCK_REALTIME minus CLOCK_BOOTTIME; the wall clock may be stepped or slewed.
inline std::int64_t realtime_offset_ns() {
  return clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
}

}  // namespace droptrace
