// SPDX-License-Identifier: GPL-2.0-only
#include "sink/probe_text.h"

#include <netinet/in.h>

#include <fmt/format.h>

#include "sink/path_text.h"
#include "sink/style.h"

namespace droptrace {

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::kAnswered:
      return "answered";
    case Outcome::kRejected:
      return "rejected";
    case Outcome::kDropped:
      return "dropped";
    case Outcome::kUnanswered:
      return "unanswered";
  }
  return "";
}

std::string probe_text(const ProbeResult& result, bool color) {
  const Painter paint(color, false);
  const AttemptReport& report = result.report;
  const Cause& why = report.cause;
  const bool is_good = result.outcome == Outcome::kAnswered;
  std::string text = fmt::format("{} {} → {}", paint(result.from, Style::kWhere).bytes,
                                 to_string(result.dialled.src), to_string(result.dialled.dst));
  if (result.dialled.protocol == IPPROTO_UDP) text += " (UDP)";
  if (report.drop.service) text += ' ' + paint(*report.drop.service, Style::kService).bytes;
  if (report.drop.attempt && report.drop.attempt->syn > 1)
    text += fmt::format(" (the way of SYN {})", report.drop.attempt->syn);
  text += '\n' + path_text(report.path, paint, 2);
  text += paint(to_string(result.outcome), is_good ? Style::kService : Style::kReason).bytes;
  const std::string cause =
      why.id.empty() || why.id == to_string(result.outcome) ? "" : why.id + ": ";
  text += fmt::format(": {}{}", cause, paint(why.explanation).bytes);
  if (!why.advice.empty()) text += fmt::format("; advice: {}", paint(why.advice).bytes);
  return text + '\n';
}

}  // namespace droptrace
