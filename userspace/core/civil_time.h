// SPDX-License-Identifier: GPL-2.0-only
#ifndef DROPTRACE_CORE_CIVIL_TIME_H
#define DROPTRACE_CORE_CIVIL_TIME_H

#include <cstdint>

namespace droptrace {

struct CivilTime {
  int year = 1970;
  unsigned month = 1;
  unsigned day = 1;
  unsigned hour = 0;
  unsigned minute = 0;
  unsigned second = 0;
  unsigned nanosecond = 0;
};

// The proleptic Gregorian date of any number of nanoseconds since 1970, in UTC or that many seconds
// east of it. A recording may hold any number, so nothing here overflows.
CivilTime civil_time(std::int64_t time_ns, int utc_offset_s = 0);

}  // namespace droptrace

#endif
