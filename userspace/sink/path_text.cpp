// SPDX-License-Identifier: GPL-2.0-only
#include "sink/path_text.h"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

#include "core/civil_time.h"
#include "sink/flow.h"

namespace droptrace {
namespace {

std::string packet_text(const HopView& hop) {
  if (!hop.packet) return hop.note;
  const Packet& packet = *hop.packet;
  const std::uint8_t flags = packet.tcp_flags.value_or(0);
  std::string what = "SYN";
  if ((flags & kTcpRst) != 0)
    what = "RST";
  else if ((flags & kTcpAck) != 0)
    what = "SYN-ACK";
  const std::string src = packet.src ? to_string(Endpoint{*packet.src, packet.sport}) : "?";
  const std::string dst = packet.dst ? to_string(Endpoint{*packet.dst, packet.dport}) : "?";
  const std::string text = fmt::format("{:<7}  {} → {}", what, src, dst);
  return hop.note.empty() ? text : fmt::format("{}  {}", text, hop.note);
}

std::string padded(const StyledText& text, std::size_t columns) {
  return text.bytes + std::string(columns - std::min(columns, text.columns), ' ');
}

// In words, so that no line is longer than the terminal, as far as words allow.
std::string wrapped(const std::string& text, const Painter& paint, const StyledText& lead = {}) {
  std::string result = std::string(kIndent, ' ') + lead.bytes;
  std::size_t column = kIndent + lead.columns;
  std::string line;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (!line.empty() && column + line.size() + 1 + word.size() > kMaxColumns) {
      result += paint(line).bytes + '\n' + std::string(kIndent, ' ');
      column = kIndent;
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    at = end + 1;
  }
  return result + paint(line).bytes + '\n';
}

}  // namespace

std::string clock_text(std::int64_t time_ns, int utc_offset_s) {
  const CivilTime time = civil_time(time_ns, utc_offset_s);
  return fmt::format("{:02}:{:02}:{:02}.{:03}", time.hour, time.minute, time.second,
                     time.nanosecond / 1'000'000);
}

std::string path_text(const std::vector<HopView>& path, const Painter& paint, std::size_t indent) {
  std::size_t offset = 0;
  std::size_t where = 0;
  std::size_t ifname = 0;
  std::size_t event = 0;
  const auto offset_text = [](const HopView& hop) {
    return fmt::format("+{} µs", hop.offset_ns / 1000);
  };
  for (const HopView& hop : path) {
    offset = std::max(offset, escaped(offset_text(hop)).columns);
    where = std::max(where, escaped(hop.where).columns);
    ifname = std::max(ifname, escaped(hop.ifname).columns);
    event = std::max(event, hop.event.size());
  }
  std::string text;
  for (const HopView& hop : path) {
    const StyledText time = paint(offset_text(hop), Style::kDim);
    std::string line = std::string(indent + offset - std::min(offset, time.columns), ' ');
    line += fmt::format("{}  {}  {}  {}  {}", time.bytes,
                        padded(paint(hop.where, Style::kWhere), where),
                        padded(paint(hop.ifname), ifname), padded(paint(hop.event), event),
                        paint(packet_text(hop)).bytes);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string cause_text(const Cause& cause, const Painter& paint, const StyledText& lead) {
  std::string text = wrapped(cause.id + ": " + cause.explanation, paint, lead);
  if (!cause.advice.empty()) text += wrapped("advice: " + cause.advice, paint);
  return text;
}

std::string attempt_text(const AttemptReport& report, const Painter& paint, int utc_offset_s) {
  const Drop& drop = report.drop;
  const AttemptState& attempt = *drop.attempt;
  std::string line =
      fmt::format("{}  {:<9}  ", paint(clock_text(drop.time_ns, utc_offset_s), Style::kDim).bytes,
                  fmt::format("SYN {}", attempt.syn));
  const double age_s = static_cast<double>(attempt.age_ns) / 1e9;
  const bool is_answered = report.outcome != Outcome::kUnanswered;
  const std::string answered =
      is_answered ? fmt::format("  answered after all: SYN {}, {:.1f} s{}", attempt.syn, age_s,
                                attempt.dropped > 0 ? fmt::format(", {} dropped", attempt.dropped)
                                                    : std::string())
                  : std::string();
  std::vector<FlowEnd> ends = flow_ends(drop, false);
  fit(ends, kMaxColumns - kFlowColumn - answered.size());
  for (std::size_t i = 0; i < ends.size(); ++i)
    line += (i == 0 ? "" : " → ") + paint(to_string(ends[i]), ends[i].style).bytes;
  line += answered + '\n';
  if (is_answered) return line;
  StyledText lead = paint(fmt::format("UNANSWERED for {:.1f} s", age_s), Style::kReason);
  lead.bytes += "  ";
  lead.columns += 2;
  return line + cause_text(report.cause, paint, lead);
}

}  // namespace droptrace
