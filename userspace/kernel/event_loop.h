// SPDX-License-Identifier: GPL-2.0-only
// One epoll loop for everything that the tracer waits for.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "kernel/unique_fd.h"

namespace droptrace {

class EventLoop {
 public:
  EventLoop();

  // Calls handle whenever fd is readable. The descriptor stays the caller's.
  void watch(int fd, std::function<void()> handle);

  // No longer; before the descriptor is closed.
  void unwatch(int fd);

  // A timer that the loop owns, not running yet. handle runs at each expiry.
  class Timer {
   public:
    void start_once(std::uint64_t after_ns) const { set(after_ns, 0); }
    void start_periodic(std::uint64_t every_ns) const { set(every_ns, every_ns); }
    void stop() const { set(0, 0); }

   private:
    friend class EventLoop;
    explicit Timer(int fd) : fd_(fd) {}
    void set(std::uint64_t first_ns, std::uint64_t interval_ns) const;
    int fd_;
  };
  Timer add_timer(std::function<void()> handle);

  // Blocks SIGINT, SIGTERM and SIGCHLD and passes each to handle; ignores SIGPIPE.
  void watch_signals(std::function<void(int)> handle);

  // Runs handlers until stop() is called, be it before run().
  void run();
  void stop() { stopped_ = true; }

 private:
  UniqueFd epoll_;
  UniqueFd signals_;
  std::map<int, std::function<void()>> handlers_;
  std::map<int, UniqueFd> timers_;
  bool stopped_ = false;
};

}  // namespace droptrace
