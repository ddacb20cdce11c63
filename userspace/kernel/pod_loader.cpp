// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/pod_loader.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "kernel/files.h"

namespace droptrace {

namespace {

constexpr const char* kCniResults = "/var/lib/cni/results";
constexpr const char* kContainers = "/run/containerd/io.containerd.runtime.v2.task/k8s.io";
constexpr const char* kPodLogs = "/var/log/pods";
// host-local's reservations, a directory for each network: where kindnet has them, and the default.
// The former does not outlive the node, so it is believed first.
constexpr const char* kLeases[] = {"/run/cni-ipam-state", "/var/lib/cni/networks"};

// A pod's annotations, which may have 256 KiB, are in both kinds of JSON.
constexpr std::size_t kMostBytes = 1U << 20U;
constexpr std::size_t kMostNames = 4096;  // in a directory; a node runs some hundred pods
constexpr std::size_t kMostNetworks = 16;

constexpr std::size_t kScanBytes = 2U << 20U;  // takes some 50 ms; the next scan goes on
// A container's directory is there before what is in it, and nothing tells when that comes.
constexpr unsigned kScansAfterEvent = 3;

constexpr std::uint64_t kForgetEveryNs = 10'000'000'000;  // pods that are gone

constexpr std::uint32_t kChanges = IN_CREATE | IN_DELETE | IN_CLOSE_WRITE | IN_MOVE | IN_ONLYDIR;

}  // namespace

PodLoader::PodLoader(std::string root)
    : root_(std::move(root)), events_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {}

void PodLoader::on_event() {
  std::array<char, 4096> buffer;
  while (::read(events_.get(), buffer.data(), buffer.size()) > 0) scans_wanted_ = kScansAfterEvent;
}

// Directories come into being after the start, and may be replaced: asking for a watch that there
// is already gives the same number.
void PodLoader::watch() {
  std::vector<std::string> directories = {kCniResults, kContainers, kPodLogs};
  for (const std::string base : kLeases) {
    directories.push_back(base);
    for (const std::string& network : list_directory(root_ + base, kMostNetworks))
      directories.push_back(base + "/" + network);
  }
  std::map<std::string, int> watches;
  for (const std::string& directory : directories) {
    const int watch = ::inotify_add_watch(events_.get(), (root_ + directory).c_str(), kChanges);
    if (watch >= 0) watches.emplace(directory, watch);
    // Without a watch although it is there: changes have to be looked for.
    if (watch < 0 && errno != ENOENT && errno != ENOTDIR)
      scans_wanted_ = std::max(scans_wanted_, 1U);
  }
  if (watches != watches_) scans_wanted_ = kScansAfterEvent;
  watches_ = std::move(watches);
}

std::vector<std::string> PodLoader::names_in(const std::string& directory) {
  std::vector<std::string> names = list_directory(root_ + directory, kMostNames + 1);
  if (names.size() <= kMostNames) return names;
  ++skipped_;  // how many more there are is not worth counting
  names.pop_back();
  return names;
}

// nullptr if there is no such file, or the scan has read so much that this one has to wait.
const PodLoader::Seen* PodLoader::visit(const std::string& path, Parser parse) {
  struct stat status {};
  if (::stat((root_ + path).c_str(), &status) != 0) return nullptr;
  const auto [entry, is_new] = seen_.try_emplace(path);
  Seen& seen = entry->second;
  seen.found = true;
  if (!is_new && seen.inode == status.st_ino && seen.size == status.st_size &&
      seen.modified.tv_sec == status.st_mtim.tv_sec &&
      seen.modified.tv_nsec == status.st_mtim.tv_nsec)
    return &seen;

  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > budget_ && size <= kMostBytes) {
    scans_wanted_ = std::max(scans_wanted_, 1U);
    if (!is_new) return &seen;
    seen_.erase(entry);
    return nullptr;
  }
  seen = Seen{status.st_mtim, status.st_ino, status.st_size, true, {}, {}, {}};
  if (size > kMostBytes) return &seen;
  budget_ -= size;
  if (const auto text = read_bounded(root_ + path, kMostBytes)) parse(seen, *text);
  return &seen;
}

void PodLoader::scan_attachments() {
  const auto parse = [](Seen& seen, std::string_view text) {
    seen.attachment = pod_from_cni_cache(text);
  };
  for (const std::string& name : names_in(kCniResults)) {
    if (name.starts_with("cni-loopback-")) continue;
    const Seen* const seen = visit(std::string(kCniResults) + "/" + name, parse);
    if (!seen) continue;
    if (seen->attachment)
      files_.attachments.push_back(*seen->attachment);
    else
      ++skipped_;
  }
}

void PodLoader::scan_containers() {
  const auto parse = [](Seen& seen, std::string_view text) {
    seen.container = container_from_config(text);
  };
  for (const std::string& id : names_in(kContainers)) {
    const Seen* const seen = visit(std::string(kContainers) + "/" + id + "/config.json", parse);
    if (!seen) continue;
    if (seen->container)
      files_.containers.emplace(id, *seen->container);
    else
      ++skipped_;
  }
}

void PodLoader::scan_leases(const std::string& directory) {
  const auto parse = [](Seen& seen, std::string_view text) {
    seen.lease = sandbox_from_lease(text);
  };
  for (const std::string& name : names_in(directory)) {
    // The plugin keeps a lock and its last choice there as well.
    const auto address = parse_address(name);
    const Seen* const seen = address ? visit(directory + "/" + name, parse) : nullptr;
    if (!seen) continue;
    if (seen->lease)
      files_.leases.try_emplace(*address, *seen->lease);
    else
      ++skipped_;
  }
}

void PodLoader::scan() {
  files_ = {};
  skipped_ = 0;
  budget_ = kScanBytes;
  for (auto& [path, seen] : seen_) seen.found = false;
  // What knows most first; containers may be many and their files long.
  scan_attachments();
  for (const std::string base : kLeases) {
    for (const std::string& network : list_directory(root_ + base, kMostNetworks))
      scan_leases(base + "/" + network);
  }
  scan_containers();
  for (const std::string& name : names_in(kPodLogs)) {
    if (auto logs = pod_from_log_directory(name)) files_.logs.push_back(std::move(*logs));
  }
  std::erase_if(seen_, [](const auto& entry) { return !entry.second.found; });
}

bool PodLoader::refresh(const std::map<std::string, std::uint32_t>& mounts, std::uint64_t now_ns) {
  watch();
  const bool is_forgetting = now_ns - updated_ns_ >= kForgetEveryNs;
  if (scans_wanted_ == 0 && mounts == mounts_ && !is_forgetting) return false;
  if (scans_wanted_ > 0) {
    --scans_wanted_;
    scan();
  }
  mounts_ = mounts;
  updated_ns_ = now_ns;
  auto workloads = std::make_shared<Workloads>(*workloads_);
  if (!workloads->update(live_pods(files_, mounts), now_ns)) return false;
  workloads_ = std::move(workloads);
  return true;
}

}  // namespace droptrace
