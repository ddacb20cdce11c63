// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string_view>

#include "kernel/error.h"
#include "kernel/files.h"

namespace droptrace {

namespace {

constexpr const char* kNamedDirectory = "/run/netns";  // ip-netns(8); containerd's CNI uses it too
constexpr const char* kDockerDirectory = "/run/docker/netns";

std::optional<std::uint32_t> parse_inum(std::string_view text) {
  std::uint32_t inum = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), inum);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return inum;
}

// A namespace file; a mount point that nothing is mounted on is an ordinary file.
std::optional<std::uint32_t> inum_of_namespace_file(const std::string& path) {
  struct statfs filesystem {};
  if (::statfs(path.c_str(), &filesystem) != 0 || filesystem.f_type != NSFS_MAGIC)
    return std::nullopt;
  return inode_of(path);
}

// The link reads "net:[4026531840]"; reading it needs no access to the namespace itself.
std::optional<std::uint32_t> inum_of_process(const std::string& pid) {
  std::array<char, 32> link;
  const ssize_t size = ::readlink(("/proc/" + pid + "/ns/net").c_str(), link.data(), link.size());
  constexpr std::string_view prefix = "net:[";
  if (size <= static_cast<ssize_t>(prefix.size()) + 1) return std::nullopt;
  std::string_view text(link.data(), static_cast<std::size_t>(size));
  if (!text.starts_with(prefix) || !text.ends_with(']')) return std::nullopt;
  text.remove_prefix(prefix.size());
  text.remove_suffix(1);
  return parse_inum(text);
}

}  // namespace

std::map<std::uint32_t, NetnsRef> discover_netns() {
  std::map<std::uint32_t, NetnsRef> found;
  for (const std::string& name : list_directory(kNamedDirectory)) {
    const std::string path = std::string(kNamedDirectory) + "/" + name;
    if (const auto inum = inum_of_namespace_file(path)) found.emplace(*inum, NetnsRef{path, name});
  }
  for (const std::string& name : list_directory(kDockerDirectory)) {
    const std::string path = std::string(kDockerDirectory) + "/" + name;
    if (const auto inum = inum_of_namespace_file(path)) found.emplace(*inum, NetnsRef{path, {}});
  }
  for (const std::string& pid : list_processes()) {
    if (const auto inum = inum_of_process(pid))
      found.emplace(*inum, NetnsRef{"/proc/" + pid + "/ns/net", {}});
  }
  return found;
}

std::optional<std::uint32_t> resolve_netns(const std::string& argument) {
  if (argument.find('/') != std::string::npos) return inum_of_namespace_file(argument);
  if (const auto inum = inum_of_namespace_file(std::string(kNamedDirectory) + "/" + argument))
    return inum;
  return parse_inum(argument);
}

NetnsSwitch::NetnsSwitch() : home_(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) {
  struct stat status {};
  if (!home_.valid() || ::fstat(home_.get(), &status) != 0)
    throw Error("cannot read /proc/self/ns/net: " + errno_text(errno) + ": is /proc mounted?");
  home_inum_ = static_cast<std::uint32_t>(status.st_ino);
}

bool NetnsSwitch::run_in(const std::string& path, const std::function<void()>& function) const {
  const UniqueFd target(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!target.valid()) return false;
  struct stat status {};
  if (::fstat(target.get(), &status) == 0 &&
      static_cast<std::uint32_t>(status.st_ino) == home_inum_) {
    function();
    return true;
  }
  if (::setns(target.get(), CLONE_NEWNET) != 0) return false;
  run_and_return(function);
  return true;
}

bool NetnsSwitch::run_in_new(const std::function<void()>& function) const {
  if (::unshare(CLONE_NEWNET) != 0) return false;
  run_and_return(function);
  return true;
}

void NetnsSwitch::run_and_return(const std::function<void()>& function) const {
  const auto go_home = [this] {
    if (::setns(home_.get(), CLONE_NEWNET) != 0)
      throw Error("cannot return to the node's network namespace: " + errno_text(errno));
  };
  try {
    function();
  } catch (...) {
    go_home();
    throw;
  }
  go_home();
}

}  // namespace droptrace
