// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/event_loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "kernel/error.h"

namespace droptrace {

namespace {

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

int require(int result, const char* what) {
  if (result < 0) throw Error(std::string("cannot ") + what + ": " + errno_text(errno));
  return result;
}

timespec to_timespec(std::uint64_t ns) {
  return {static_cast<time_t>(ns / kNsPerSecond), static_cast<long>(ns % kNsPerSecond)};
}

}  // namespace

EventLoop::EventLoop()
    : epoll_(require(::epoll_create1(EPOLL_CLOEXEC), "create an epoll instance")) {}

void EventLoop::watch(int fd, std::function<void()> handle) {
  epoll_event interest{};
  interest.events = EPOLLIN;
  interest.data.fd = fd;
  require(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &interest), "watch a descriptor");
  handlers_[fd] = std::move(handle);
}

void EventLoop::unwatch(int fd) {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  handlers_.erase(fd);
}

void EventLoop::Timer::set(std::uint64_t first_ns, std::uint64_t interval_ns) const {
  const itimerspec times{to_timespec(interval_ns), to_timespec(first_ns)};
  require(::timerfd_settime(fd_, 0, &times, nullptr), "set a timer");
}

EventLoop::Timer EventLoop::add_timer(std::function<void()> handle) {
  UniqueFd timer(
      require(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "create a timer"));
  const int fd = timer.get();
  watch(fd, [fd, handle = std::move(handle)] {
    std::uint64_t expirations = 0;
    if (::read(fd, &expirations, sizeof(expirations)) == sizeof(expirations)) handle();
  });
  timers_[fd] = std::move(timer);
  return Timer(fd);
}

void EventLoop::watch_signals(std::function<void(int)> handle) {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&signals, signal);
  require(::sigprocmask(SIG_BLOCK, &signals, nullptr), "block signals");
  signals_ = UniqueFd(
      require(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK), "create a signal descriptor"));
  watch(signals_.get(), [this, handle = std::move(handle)] {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info))
      handle(static_cast<int>(info.ssi_signo));
  });
}

void EventLoop::run() {
  std::array<epoll_event, 16> events;
  while (!stopped_) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    if (count < 0 && errno != EINTR) require(count, "wait for events");
    for (int i = 0; i < count && !stopped_; ++i) {
      // A handler may end another one's watch, or its own.
      const auto found = handlers_.find(events[i].data.fd);
      if (found == handlers_.end()) continue;
      const auto handle = found->second;
      handle();
    }
  }
}

}  // namespace droptrace
