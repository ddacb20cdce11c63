// SPDX-License-Identifier: GPL-2.0-only
// The figures that close a run.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace droptrace {

struct Totals {
  std::uint64_t seen = 0;                       // drops that passed the kernel's filter
  std::uint64_t shown = 0;                      // written to the output
  std::uint64_t noise = 0;                      // hidden, known to be harmless
  std::uint64_t filtered = 0;                   // hidden by FILTER or --syn
  std::map<std::string, std::uint64_t> lost;    // by cause, only what is not zero
  std::map<std::string, std::string> programs;  // name -> "attached", or why not

  std::uint64_t lost_total() const;
};

// One line: "12 drops seen: 9 shown, 2 hidden as noise (--noise shows them), 1 filtered; 0 lost".
// Lost records are named by cause: "3 lost (ring buffer full 3)".
std::string closing_line(const Totals& totals);

}  // namespace droptrace
