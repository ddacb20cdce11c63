// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/child.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/error.h"
#include "kernel/spawn.h"

namespace droptrace {

Child::Child(const std::vector<std::string>& arguments) {
  if (const int error = spawn(arguments, {.standard_output = STDERR_FILENO}, pid_))
    throw Error("cannot run " + arguments.front() + ": " + errno_text(error) +
                ": give a command that exists behind --");
}

Child::~Child() {
  if (poll()) return;
  ::kill(pid_, SIGTERM);
  // A moment to end by itself, then by force: it must not outlive the trace that it was run for.
  sigset_t child_ended;
  sigemptyset(&child_ended);
  sigaddset(&child_ended, SIGCHLD);
  const timespec patience{2, 0};
  if (!poll()) sigtimedwait(&child_ended, nullptr, &patience);
  if (!poll()) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

std::optional<int> Child::poll() {
  int status = 0;
  if (!status_ && ::waitpid(pid_, &status, WNOHANG) == pid_)
    status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return status_;
}

}  // namespace droptrace
