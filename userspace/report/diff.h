// SPDX-License-Identifier: GPL-2.0-only
// What differs between two summaries: causes that are gone, new, or more or less frequent.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "report/document.h"
#include "report/summary.h"

namespace droptrace {

enum class Change { kNew, kMore, kFewer, kGone, kSame };

std::string_view to_string(Change change);

struct DiffRow {
  Change change = Change::kSame;
  const CauseGroup* group = nullptr;  // of the later summary, if it has it
  std::uint64_t before = 0;           // events
  std::uint64_t after = 0;
  double before_rate = 0;  // events a minute, of the time from the first event to the last
  double after_rate = 0;
};

struct Diff {
  std::vector<DiffRow> rows;  // new ones first, what is the same last

  bool has_new() const { return !rows.empty() && rows.front().change == Change::kNew; }
};

// Both summaries must outlive the result.
Diff compare(const Summary& before, const Summary& after);

ReportDocument diff_document(const Diff& diff);
std::string diff_text(const Diff& diff);
std::string diff_json(const Diff& diff);

}  // namespace droptrace
