// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/input.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "kernel/error.h"

namespace droptrace {

namespace {

constexpr std::size_t kPieceBytes = 256U << 10U;

}  // namespace

Input::Input(const std::string& path)
    : name_(path == "-" ? "standard input" : path),
      fd_(path == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                      : ::open(path.c_str(), O_RDONLY | O_CLOEXEC)),
      buffer_(kPieceBytes) {
  if (!fd_.valid())
    throw Error("cannot read " + name_ + ": " + errno_text(errno) +
                ": give a recording made with droptrace -w");
}

std::string_view Input::next() {
  while (true) {
    const ssize_t count = ::read(fd_.get(), buffer_.data(), buffer_.size());
    if (count >= 0) return {buffer_.data(), static_cast<std::size_t>(count)};
    if (errno != EINTR)
      throw Error("cannot read " + name_ + ": " + errno_text(errno) +
                  ": give a recording made with droptrace -w");
  }
}

}  // namespace droptrace
