// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <memory>
#include <span>

#include "kernel/unique_fd.h"

namespace droptrace {

namespace {

// The next bytes of a file, 0 at its end, negative with errno set if it cannot be read.
ssize_t read_some(const UniqueFd& fd, std::span<char> buffer) {
  for (;;) {
    const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
    if (count >= 0 || errno != EINTR) return count;
  }
}

}  // namespace

bool read_pieces(const std::string& path, const std::function<void(std::string_view)>& consume) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return false;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t count = read_some(fd, buffer);
    if (count < 0) return false;
    if (count == 0) return true;
    consume({buffer.data(), static_cast<std::size_t>(count)});
  }
}

std::optional<std::string> read_file(const std::string& path) {
  std::string text;
  if (!read_pieces(path, [&](std::string_view piece) { text += piece; })) return std::nullopt;
  return text;
}

std::optional<std::string> read_bounded(const std::string& path, std::size_t most_bytes) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  if (!fd.valid() || ::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))
    return std::nullopt;
  std::string text;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t count = read_some(fd, buffer);
    if (count == 0) return text;
    if (count < 0 || text.size() + static_cast<std::size_t>(count) > most_bytes)
      return std::nullopt;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

std::optional<unsigned> read_number(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc{}) return std::nullopt;
  return value;
}

std::vector<std::string> list_directory(const std::string& path, std::size_t most) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory) return names;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (names.size() == most) break;
    names.emplace_back(name);
  }
  return names;
}

std::vector<std::string> list_processes() {
  std::vector<std::string> names = list_directory("/proc");
  std::erase_if(names, [](const std::string& name) {
    return !std::all_of(name.begin(), name.end(),
                        [](unsigned char c) { return std::isdigit(c) != 0; });
  });
  return names;
}

std::optional<std::uint32_t> inode_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return static_cast<std::uint32_t>(status.st_ino);
}

}  // namespace droptrace
