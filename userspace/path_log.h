// SPDX-License-Identifier: GPL-2.0-only
// Follows connection attempts while a trace runs: the programs, what they record, and the counters
// of the namespaces where attempts come to nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/path.h"
#include "core/silent_cause.h"
#include "kernel/bpf_object.h"
#include "kernel/counter_book.h"
#include "kernel/netlink.h"
#include "kernel/path_hooks.h"

namespace droptrace {

class PathLog {
 public:
  using Live = CounterBook::Live;
  struct Judged {
    Attempted attempt;
    std::optional<CounterChange> change;
  };

  // after_ns: so long without an answer is unanswered; 0: nothing ever is.
  explicit PathLog(std::uint64_t after_ns) : after_ns_(after_ns) {}

  using Loading = std::future<std::unique_ptr<PathHooks>>;

  // Loads and attaches the programs on a thread of its own, as that takes time; the arguments must
  // outlive it.
  static Loading begin(const WatchMaps& maps, BpfOptions options, const KernelTypes& types);

  // Takes the programs, and notes in bpf what has become of them. Returns why they cannot be used;
  // nullopt if they are.
  std::optional<std::string> use(Loading loading, BpfObject& bpf);

  // nullptr: they are not.
  const PathHooks* hooks() const { return hooks_.get(); }
  Paths& paths() { return paths_; }

  // Takes what the programs have recorded.
  void drain();

  // Counters from before anything happens, of all these namespaces.
  void watch_counters(const Live& live);

  // Attempts that have come to nothing, and those that were answered after all; all: at the end.
  std::vector<Judged> judge(std::uint64_t now_ns, bool all, const Live& live);

  // Asks the node's conntrack for the attempt, which is evidence of how far it came.
  void ask_conntrack(Attempted& attempt);

  // What the attempt's suspect namespace has counted meanwhile.
  std::optional<CounterChange> change(const Attempted& attempt, const Live& live) const;

  // Losses by cause, for the log.
  void add_losses(std::map<std::string, std::uint64_t>& lost) const;

 private:
  void watch_pending(std::uint64_t now_ns, const Live& live);

  std::uint64_t after_ns_;
  std::unique_ptr<PathHooks> hooks_;
  std::optional<NetlinkSocket> conntrack_;
  Paths paths_;
  CounterBook counters_;
  bool watches_all_ = false;
  std::uint64_t malformed_ = 0;
  std::uint64_t not_shown_ = 0;
};

}  // namespace droptrace
