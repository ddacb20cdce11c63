// SPDX-License-Identifier: GPL-2.0-only
// An attempt's way in lines of text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/attempt_report.h"
#include "core/hop.h"
#include "sink/style.h"

namespace droptrace {

constexpr std::size_t kMaxColumns = 120;
// Where pieces start. Further lines are indented past the time: what has a time is a new drop.
constexpr std::size_t kIndent = 14;
constexpr std::size_t kFlowColumn = 25;

// "17:04:05.678"
std::string clock_text(std::int64_t time_ns, int utc_offset_s);

// One line a hop, in columns, each line with its end.
std::string path_text(const std::vector<HopView>& path, const Painter& paint, std::size_t indent);

// What became of an attempt, and why, in a line or two.
// A cause in indented lines; lead stands before it.
std::string cause_text(const Cause& cause, const Painter& paint, const StyledText& lead = {});

std::string attempt_text(const AttemptReport& report, const Painter& paint, int utc_offset_s);

}  // namespace droptrace
