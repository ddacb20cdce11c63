// SPDX-License-Identifier: GPL-2.0-only
#include "core/civil_time.h"

#include <cstdint>
#include <limits>
#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace droptrace;

namespace {

std::string text(std::int64_t time_ns, int utc_offset_s = 0) {
  const CivilTime time = civil_time(time_ns, utc_offset_s);
  return fmt::format("{}-{}-{} {}:{}:{}.{:09}", time.year, time.month, time.day, time.hour,
                     time.minute, time.second, time.nanosecond);
}

}  // namespace

TEST_CASE("a date comes from nanoseconds since 1970, and from the hours east of UTC") {
  CHECK(text(0) == "1970-1-1 0:0:0.000000000");
  CHECK(text(1'764'115'199'000'000'001) == "2025-11-25 23:59:59.000000001");
  CHECK(text(1'764'115'199'000'000'001, 3600) == "2025-11-26 0:59:59.000000001");
  CHECK(text(1'764'115'199'000'000'001, -86'400) == "2025-11-24 23:59:59.000000001");
  CHECK(text(-1) == "1969-12-31 23:59:59.999999999");
}

TEST_CASE("the first and the last nanosecond have dates") {
  CHECK(text(std::numeric_limits<std::int64_t>::min()) == "1677-9-21 0:12:43.145224192");
  CHECK(text(std::numeric_limits<std::int64_t>::max()) == "2262-4-11 23:47:16.854775807");
}
