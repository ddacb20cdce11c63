// SPDX-License-Identifier: GPL-2.0-only
// Network namespaces: which there are, and running a function inside one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "kernel/unique_fd.h"

namespace droptrace {

struct NetnsRef {
  std::string path;                 // opens the namespace: /run/netns/NAME or /proc/PID/ns/net
  std::optional<std::string> name;  // of its mount under /run/netns
};

// The namespaces that processes of this PID namespace are in or that are mounted under /run/netns
// (and Docker's /run/docker/netns), by inode number. Changes while it looks are not errors.
std::map<std::uint32_t, NetnsRef> discover_netns();

// Inode number of a namespace given as a path, a name under /run/netns, or a number. nullopt if
// there is no such namespace; a number is taken as it is.
std::optional<std::uint32_t> resolve_netns(const std::string& argument);

// Runs functions inside other namespaces and comes back. The thread is always home in between.
class NetnsSwitch {
 public:
  NetnsSwitch();

  std::uint32_t home() const { return home_inum_; }

  // False if the namespace cannot be entered (gone, or no CAP_SYS_ADMIN): then nothing was run.
  bool run_in(const std::string& path, const std::function<void()>& function) const;

  // The same in a new namespace, which ends with the function. False, with errno set, if there
  // cannot be one.
  bool run_in_new(const std::function<void()>& function) const;

 private:
  void run_and_return(const std::function<void()>& function) const;

  UniqueFd home_;
  std::uint32_t home_inum_ = 0;
};

}  // namespace droptrace
