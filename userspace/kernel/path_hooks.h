// SPDX-License-Identifier: GPL-2.0-only
// The programs that follow connection attempts; see bpf/path.bpf.c. Optional as a whole, and each
// of them where the kernel has its tracepoint.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "kernel/bpf_object.h"
#include "kernel/kernel_types.h"
#include "kernel/record_ring.h"
#include "kernel/watch_maps.h"

namespace droptrace {

class PathHooks {
 public:
  // Attaches what can be; maps say which namespaces and networks are watched. Throws Error.
  PathHooks(const WatchMaps& maps, const BpfOptions& options, const KernelTypes& types);
  ~PathHooks();

  // Readable when much waits; the rest is for a timer.
  int epoll_fd() const;

  // Calls handle for each record that waits.
  void consume(const RecordRing::Handle& handle);

  // Hops that were not recorded.
  std::uint64_t lost() const;

  // Program name -> "attached", or why not.
  const std::map<std::string, std::string>& programs() const { return programs_; }

 private:
  std::string attach_hook();
  void load(const WatchMaps& maps, const BpfOptions& options, const KernelTypes& types);

  struct State;
  std::unique_ptr<State> state_;
  std::map<std::string, std::string> programs_;
};

}  // namespace droptrace
