// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/recording_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "kernel/error.h"

namespace droptrace {

RecordingFile::RecordingFile(const std::string& path)
    : fd_(path == "-" ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                      : ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
  if (!fd_.valid())
    throw Error("cannot write the recording " + path + ": " + errno_text(errno) +
                ": give a file in a directory that can be written");
  if (::isatty(fd_.get()) == 1)
    throw Error("will not write a recording to a terminal: give a file, or lead it into a program",
                kExitUsage);
  struct stat facts {};
  regular_ = ::fstat(fd_.get(), &facts) == 0 && S_ISREG(facts.st_mode);
  const off_t position = regular_ ? ::lseek(fd_.get(), 0, SEEK_CUR) : 0;
  start_ = position > 0 ? static_cast<std::uint64_t>(position) : 0;
}

bool RecordingFile::write(std::string_view batch) {
  if (problem_ || reader_gone_) return false;
  std::string_view rest = batch;
  while (!rest.empty()) {
    const ssize_t count = ::write(fd_.get(), rest.data(), rest.size());
    if (count >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      pollfd ready{fd_.get(), POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno == EPIPE) {
      reader_gone_ = true;
      return false;
    } else if (errno != EINTR) {
      problem_ = errno_text(errno);
      // The part that was written would be half a block.
      if (regular_ && ::ftruncate(fd_.get(), static_cast<off_t>(start_ + size_)) != 0)
        *problem_ += ", and its last block is cut";
      return false;
    }
  }
  size_ += batch.size();
  return true;
}

void RecordingFile::replace(std::size_t offset, std::string_view bytes) const {
  if (!regular_ || offset + bytes.size() > size_) return;
  // What is there says that the recording has not been closed, which stays true if this fails.
  [[maybe_unused]] const ssize_t count =
      ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(start_ + offset));
}

}  // namespace droptrace
