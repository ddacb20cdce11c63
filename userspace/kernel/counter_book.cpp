// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/counter_book.h"

#include <string>

#include "kernel/files.h"

namespace droptrace {

namespace {

constexpr const char* kNet = "/proc/thread-self/net/";

std::string text_of(const char* file) { return read_file(std::string(kNet) + file).value_or(""); }

NetCounters read_here() {
  NetCounters counters;
  parse_counter_table(text_of("netstat"), counters);
  parse_counter_table(text_of("snmp"), counters);
  parse_counter_list(text_of("snmp6"), counters);
  parse_queues(text_of("netfilter/nfnetlink_queue"), counters);
  parse_neighbours(text_of("arp"), counters);
  parse_listeners(text_of("tcp"), counters);
  parse_listeners(text_of("tcp6"), counters);
  return counters;
}

}  // namespace

std::optional<NetCounters> CounterBook::read(std::uint32_t netns, const Live& live) const {
  const auto ref = live.find(netns);
  std::optional<NetCounters> counters;
  if (ref == live.end() || !switch_.run_in(ref->second.path, [&] { counters = read_here(); }))
    return std::nullopt;
  for (QueueState& queue : counters->queues) {
    const auto comm = read_file("/proc/" + std::to_string(queue.portid) + "/comm");
    if (comm) queue.owner = comm->substr(0, comm->find('\n'));
  }
  return counters;
}

void CounterBook::watch(const std::set<std::uint32_t>& namespaces, const Live& live,
                        std::size_t room) {
  std::erase_if(before_, [&](const auto& entry) { return !namespaces.contains(entry.first); });
  for (const std::uint32_t netns : namespaces) {
    if (room == 0) break;
    if (before_.contains(netns)) continue;
    --room;
    if (auto counters = read(netns, live)) before_.emplace(netns, std::move(*counters));
  }
}

std::optional<CounterChange> CounterBook::change(std::uint32_t netns, const Live& live) const {
  const auto before = before_.find(netns);
  if (before == before_.end()) return std::nullopt;
  auto after = read(netns, live);
  if (!after) return std::nullopt;
  return CounterChange{before->second, std::move(*after)};
}

}  // namespace droptrace
