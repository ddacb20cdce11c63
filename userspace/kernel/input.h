// SPDX-License-Identifier: GPL-2.0-only
// A file that is read from its start to its end, once.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/unique_fd.h"

namespace droptrace {

class Input {
 public:
  // "-" is standard input. Throws Error if the file cannot be read.
  explicit Input(const std::string& path);

  // The next bytes, valid until the next call; empty at the end. Throws Error.
  std::string_view next();

  const std::string& name() const { return name_; }

 private:
  std::string name_;
  UniqueFd fd_;
  std::vector<char> buffer_;
};

}  // namespace droptrace
