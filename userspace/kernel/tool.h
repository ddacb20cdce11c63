// SPDX-License-Identifier: GPL-2.0-only
// Runs one of the node's own programs in the background and collects what it prints.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/event_loop.h"
#include "kernel/unique_fd.h"

namespace droptrace {

class Tool {
 public:
  // Starts it in the namespaces that the thread is in; finished gets its output once it has ended,
  // or nothing if it cannot be started, fails or takes too long. No shell is involved.
  Tool(EventLoop& loop, const std::vector<std::string>& arguments,
       std::function<void(std::string)> finished);
  // The same, but take gets the output piece by piece, as it comes and a little at a time, and
  // finished gets true if the program ended well.
  Tool(EventLoop& loop, const std::vector<std::string>& arguments,
       std::function<void(std::string_view)> take, std::function<void(bool)> finished);
  ~Tool();
  Tool(const Tool&) = delete;
  Tool& operator=(const Tool&) = delete;

  bool running() const { return pid_ > 0; }

  // Ends it if it has run for longer than a dump of any rule set takes.
  void end_if_overdue();

 private:
  void start(const std::vector<std::string>& arguments);
  void on_output();
  void end(bool forced);

  EventLoop& loop_;
  std::function<void(std::string_view)> take_;
  std::function<void(bool)> finished_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  pid_t pid_ = -1;
  UniqueFd pipe_;
  std::size_t taken_ = 0;
};

}  // namespace droptrace
