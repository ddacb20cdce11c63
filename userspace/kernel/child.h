// SPDX-License-Identifier: GPL-2.0-only
// The command behind "--": run while tracing.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace droptrace {

class Child {
 public:
  // Starts it with default signals and its standard output on our standard error, since ours
  // carries the log alone. Throws Error if it cannot be started.
  explicit Child(const std::vector<std::string>& arguments);
  // Ends it if it still runs.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Its exit status (128 + n if signal n killed it) once it has ended; never blocks.
  std::optional<int> poll();

 private:
  pid_t pid_ = -1;
  std::optional<int> status_;
};

}  // namespace droptrace
