// SPDX-License-Identifier: GPL-2.0-only
// Starting a program with the signals that it expects, whatever we have blocked.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace droptrace {

struct SpawnOptions {
  int standard_output = -1;  // the descriptor that becomes its standard output
  // Its input and error are /dev/null, and it has a process group of its own, so that a Ctrl-C is
  // for us alone.
  bool in_background = false;
};

// Finds the program in PATH; no shell is involved. Returns 0 and the process, or an errno value.
int spawn(const std::vector<std::string>& arguments, const SpawnOptions& options, pid_t& pid);

}  // namespace droptrace
