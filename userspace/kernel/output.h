// SPDX-License-Identifier: GPL-2.0-only
// Standard output as droptrace uses it: whole batches, every failure noticed.
#pragma once

#include <string>
#include <string_view>

namespace droptrace {

// Standard output is a terminal that shows colours, and NO_COLOR is not set.
bool color_suits_standard_output();

class Output {
 public:
  // name is for error messages, e.g. "standard output".
  Output(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}

  // Writes it all. False once the reader has gone away (EPIPE): nobody wants more. Throws Error on
  // any other failure, such as a full disk.
  bool write(std::string_view text);

 private:
  int fd_;
  std::string name_;
  bool reader_gone_ = false;
};

}  // namespace droptrace
