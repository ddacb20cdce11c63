// SPDX-License-Identifier: GPL-2.0-only
#include "sink/check_text.h"

#include <fmt/format.h>

#include "sink/style.h"

namespace droptrace {
namespace {

// The level in a column of its own; what is merely told has none.
std::string_view label(Level level) {
  switch (level) {
    case Level::kInfo:
      return "    ";
    case Level::kOk:
      return "OK  ";
    case Level::kWarn:
      return "WARN";
    case Level::kFail:
      return "FAIL";
  }
  return "    ";
}

Style style_of(Level level) {
  if (level == Level::kFail) return Style::kReason;
  return level == Level::kWarn ? Style::kWhere : Style::kPlain;
}

}  // namespace

std::string check_text(const CheckReport& report, bool color) {
  const Painter paint(color, false);
  std::string text;
  for (const auto& [section, findings] : report) {
    text += paint(section).bytes + "\n";
    for (const Finding& each : findings) {
      text += fmt::format("  {}  {:<22} {}\n", paint(label(each.level), style_of(each.level)).bytes,
                          escaped(each.id).bytes, paint(each.fact).bytes);
      if (!each.advice.empty())
        text += fmt::format("  {:28} → {}\n", "", paint(each.advice, Style::kService).bytes);
    }
  }
  return text;
}

}  // namespace droptrace
