// SPDX-License-Identifier: GPL-2.0-only
// BPF programs of type netfilter (Linux 6.4), for the self-test: something at a hook
// point of a namespace that says one thing of every packet.
#pragma once

#include <cstdint>
#include <optional>

#include "kernel/unique_fd.h"

namespace droptrace {

// A program that returns one verdict (NF_ACCEPT or NF_DROP) for whatever it is given.
class NetfilterProgram {
 public:
  // nullopt, with errno set, if the kernel does not have such programs.
  static std::optional<NetfilterProgram> load(std::uint32_t verdict);

  // Has it called at the IPv4 output hook of the thread's namespace, after what has a lower
  // priority, until the descriptor is closed. It is not valid, and errno is set, if that cannot be.
  UniqueFd attach_to_output(std::int32_t priority) const;

 private:
  explicit NetfilterProgram(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace droptrace
