// SPDX-License-Identifier: GPL-2.0-only
// The parsers of core/node_check.h.
#include <charconv>

#include "core/node_check.h"

namespace droptrace {
namespace {

std::string_view next_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> result;
  for (;;) {
    const std::size_t start = line.find_first_not_of(" \t");
    if (start == std::string_view::npos) return result;
    line.remove_prefix(start);
    const std::size_t end = line.find_first_of(" \t");
    result.push_back(line.substr(0, end));
    if (end == std::string_view::npos) return result;
    line.remove_prefix(end);
  }
}

template <typename Number>
std::optional<Number> parse_number(std::string_view text, int base = 10) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::vector<QueueFacts> parse_nfnetlink_queue(std::string_view text) {
  std::vector<QueueFacts> queues;
  while (!text.empty()) {
    // number, port id, waiting, copy mode, copy range, queue dropped, user dropped, last id, 1
    const auto columns = words(next_line(text));
    if (columns.size() < 7) continue;
    const auto number = parse_number<std::uint16_t>(columns[0]);
    const auto waiting = parse_number<std::uint64_t>(columns[2]);
    const auto queue_dropped = parse_number<std::uint64_t>(columns[5]);
    const auto user_dropped = parse_number<std::uint64_t>(columns[6]);
    if (number && waiting && queue_dropped && user_dropped)
      queues.push_back({*number, *waiting, *queue_dropped, *user_dropped});
  }
  return queues;
}

std::uint64_t parse_snmp_counter(std::string_view text, std::string_view group,
                                 std::string_view name) {
  while (!text.empty()) {
    const auto names = words(next_line(text));
    const auto values = words(next_line(text));
    if (names.empty() || !names[0].starts_with(group) ||
        !names[0].substr(group.size()).starts_with(':'))
      continue;
    for (std::size_t i = 1; i < names.size() && i < values.size(); ++i) {
      if (names[i] == name) return parse_number<std::uint64_t>(values[i]).value_or(0);
    }
  }
  return 0;
}

std::uint64_t parse_conntrack_stat(std::string_view text, std::string_view column) {
  const auto names = words(next_line(text));
  std::uint64_t sum = 0;
  while (!text.empty()) {
    const auto values = words(next_line(text));
    for (std::size_t i = 0; i < names.size() && i < values.size(); ++i) {
      if (names[i] == column) sum += parse_number<std::uint64_t>(values[i], 16).value_or(0);
    }
  }
  return sum;
}

bool has_default_route(std::string_view text) {
  constexpr unsigned kUp = 1;  // RTF_UP
  while (!text.empty()) {
    // Iface Destination Gateway Flags RefCnt Use Metric Mask …
    const auto columns = words(next_line(text));
    if (columns.size() < 8 || columns[1] != "00000000" || columns[7] != "00000000") continue;
    if ((parse_number<unsigned>(columns[3], 16).value_or(0) & kUp) != 0) return true;
  }
  return false;
}

}  // namespace droptrace
