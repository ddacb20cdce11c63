// SPDX-License-Identifier: GPL-2.0-only
#include "core/net_counters.h"

#include <algorithm>
#include <charconv>
#include <cstddef>

namespace droptrace {
namespace {

constexpr std::string_view kWanted[] = {"TcpExt.ListenOverflows", "TcpExt.ListenDrops",
                                        "TcpExt.TCPReqQFullDrop", "Ip.OutNoRoutes",
                                        "Ip6OutNoRoutes"};

// The next line, without its end.
std::string_view take_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; (at = line.find_first_not_of(" \t", at)) != std::string_view::npos;) {
    const std::size_t end = std::min(line.find_first_of(" \t", at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

template <typename Number>
bool parse(std::string_view text, Number& number, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc{} && end == text.data() + text.size();
}

void keep(NetCounters& counters, const std::string& name, std::string_view text) {
  std::uint64_t value = 0;
  if (std::ranges::find(kWanted, name) != std::end(kWanted) && parse(text, value))
    counters.counters[name] = value;
}

}  // namespace

std::uint64_t NetCounters::value(const std::string& name) const {
  const auto found = counters.find(name);
  return found == counters.end() ? 0 : found->second;
}

void parse_counter_table(std::string_view text, NetCounters& counters) {
  while (!text.empty()) {
    const auto names = words_of(take_line(text));
    const auto values = words_of(take_line(text));
    if (names.empty() || values.empty() || names.front() != values.front()) continue;
    const std::string prefix(names.front().substr(0, names.front().size() - 1));
    for (std::size_t i = 1; i < std::min(names.size(), values.size()); ++i)
      keep(counters, prefix + '.' + std::string(names[i]), values[i]);
  }
}

void parse_counter_list(std::string_view text, NetCounters& counters) {
  while (!text.empty()) {
    const auto words = words_of(take_line(text));
    if (words.size() == 2) keep(counters, std::string(words[0]), words[1]);
  }
}

// Number, portid, packets that wait, copy mode, …
void parse_queues(std::string_view text, NetCounters& counters) {
  while (!text.empty()) {
    const auto words = words_of(take_line(text));
    QueueState queue;
    if (words.size() >= 3 && parse(words[0], queue.number) && parse(words[1], queue.portid) &&
        parse(words[2], queue.waiting))
      counters.queues.push_back(queue);
  }
}

// Address, type, flags; a neighbour without ATF_COM has no link-layer address.
void parse_neighbours(std::string_view text, NetCounters& counters) {
  while (!text.empty()) {
    const auto words = words_of(take_line(text));
    if (words.size() < 3 || words[2] != "0x0") continue;
    if (const auto address = parse_address(words[0])) counters.unresolved.insert(*address);
  }
}

// "0: 00000000:1F90 00000000:0000 0A 00000000:00000003 …": local, remote, state (0A: LISTEN), and
// behind the second colon the connections that wait.
void parse_listeners(std::string_view text, NetCounters& counters) {
  while (!text.empty()) {
    const auto words = words_of(take_line(text));
    if (words.size() < 5 || words[3] != "0A") continue;
    std::uint16_t port = 0;
    std::uint32_t waiting = 0;
    if (parse(words[1].substr(words[1].find(':') + 1), port, 16) &&
        parse(words[4].substr(words[4].find(':') + 1), waiting, 16))
      counters.listeners[port] = std::max(counters.listeners[port], waiting);
  }
}

}  // namespace droptrace
