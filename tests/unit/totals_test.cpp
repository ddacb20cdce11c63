// SPDX-License-Identifier: GPL-2.0-only
#include "core/totals.h"

#include <doctest/doctest.h>

namespace droptrace {
namespace {

TEST_CASE("the closing line names every figure") {
  Totals totals;
  totals.seen = 12;
  totals.shown = 9;
  totals.noise = 2;
  totals.filtered = 1;
  CHECK(closing_line(totals) ==
        "12 drops seen: 9 shown, 2 hidden as noise (--noise shows them), 1 filtered; 0 lost");
}

TEST_CASE("one drop is written in the singular") {
  Totals totals;
  totals.seen = 1;
  totals.noise = 1;
  CHECK(closing_line(totals) ==
        "1 drop seen: 0 shown, 1 hidden as noise (--noise shows it), 0 filtered; 0 lost");
}

TEST_CASE("--noise is not advertised where it would show nothing") {
  CHECK(closing_line(Totals{}) == "0 drops seen: 0 shown, 0 hidden as noise, 0 filtered; 0 lost");
}

TEST_CASE("lost records are summed and named by cause") {
  Totals totals;
  totals.seen = totals.shown = 40;
  totals.lost["ring buffer full"] = 3;
  CHECK(closing_line(totals) ==
        "40 drops seen: 40 shown, 0 hidden as noise, 0 filtered; 3 lost (ring buffer full 3)");

  totals.lost["not understood"] = 2;
  CHECK(totals.lost_total() == 5);
  CHECK(closing_line(totals) ==
        "40 drops seen: 40 shown, 0 hidden as noise, 0 filtered; "
        "5 lost (not understood 2, ring buffer full 3)");
}

}  // namespace
}  // namespace droptrace
