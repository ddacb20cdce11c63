// SPDX-License-Identifier: GPL-2.0-only
// A failure that ends the run: what failed: why: what to do. main prints it as one line.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>

namespace droptrace {

// The exit statuses of the command-line contract.
enum ExitStatus {
  kExitDone = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitExpectation = 3,
  kExitUnsupported = 4,
};

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, ExitStatus status = kExitFailed)
      : std::runtime_error(message), status_(status) {}
  ExitStatus status() const { return status_; }

 private:
  ExitStatus status_;
};

// Text of an errno value; glibc's strerror is thread-safe since 2.32.
inline std::string errno_text(int error) { return std::strerror(error); }

}  // namespace droptrace
