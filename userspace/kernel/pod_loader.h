// SPDX-License-Identifier: GPL-2.0-only
// Keeps the pods of this node up to date from the files that containerd and the CNI plugins keep of
// them. Asks neither the API server nor the runtime, and so works while those do not.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/pod_files.h"
#include "core/workloads.h"
#include "kernel/unique_fd.h"

namespace droptrace {

class PodLoader {
 public:
  // root: put before the paths of the files, for tests.
  explicit PodLoader(std::string root = "");

  // Readable when one of the directories changed; then call on_event(), and refresh() soon. Invalid
  // (-1) if the kernel grants no watch: each refresh() looks for itself then.
  int event_fd() const { return events_.get(); }
  void on_event();

  // Reads the files that are new or changed, if there may be any. Returns true if the pods changed.
  // mounts: inode numbers of the network namespaces mounted under /run/netns, by name; now_ns: any
  // monotonic clock.
  bool refresh(const std::map<std::string, std::uint32_t>& mounts, std::uint64_t now_ns);

  // Never nullptr.
  std::shared_ptr<const Workloads> workloads() const { return workloads_; }

  // Files that are there but cannot be used: too big, malformed or too many.
  std::size_t skipped() const { return skipped_; }

 private:
  // A file that does not change is read once.
  struct Seen {
    timespec modified{};
    ino_t inode = 0;
    off_t size = 0;
    bool found = true;  // by the scan that is going on
    std::optional<std::string> lease;
    std::optional<Pod> attachment;
    std::optional<ContainerFacts> container;
  };
  using Parser = void (*)(Seen& seen, std::string_view text);

  void watch();
  void scan();
  void scan_attachments();
  void scan_containers();
  void scan_leases(const std::string& directory);
  const Seen* visit(const std::string& path, Parser parse);
  std::vector<std::string> names_in(const std::string& directory);

  std::string root_;
  UniqueFd events_;                     // inotify
  std::map<std::string, int> watches_;  // by directory
  unsigned scans_wanted_ = 1;
  std::size_t budget_ = 0;            // bytes that the scan may still read
  std::map<std::string, Seen> seen_;  // by path
  PodFiles files_;
  std::map<std::string, std::uint32_t> mounts_;
  std::uint64_t updated_ns_ = 0;
  std::shared_ptr<const Workloads> workloads_ = std::make_shared<const Workloads>();
  std::size_t skipped_ = 0;
};

}  // namespace droptrace
