// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "kernel/error.h"

namespace droptrace {

bool color_suits_standard_output() {
  const char* no_color = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return ::isatty(STDOUT_FILENO) == 1 && !(no_color && *no_color) &&
         !(terminal && std::string_view(terminal) == "dumb");
}

bool Output::write(std::string_view text) {
  while (!text.empty() && !reader_gone_) {
    const ssize_t count = ::write(fd_, text.data(), text.size());
    if (count >= 0) {
      text.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EPIPE) {
      reader_gone_ = true;
    } else if (errno == EAGAIN) {
      // Somebody else made the descriptor non-blocking: wait as a blocking write would.
      pollfd ready{fd_, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      throw Error("cannot write to " + name_ + ": " + errno_text(errno) +
                  ": what was printed so far is complete; free some space or choose another place");
    }
  }
  return !reader_gone_;
}

}  // namespace droptrace
