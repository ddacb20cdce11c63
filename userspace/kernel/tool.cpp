// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/tool.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <utility>

#include "kernel/spawn.h"

namespace droptrace {

namespace {

// The rules of 10,000 services take some 20 MB as JSON; a program that prints more has gone wrong.
constexpr std::size_t kOutputMax = 256U << 20U;
constexpr std::size_t kTurnBytes = 256U << 10U;  // then others get their turn
constexpr std::chrono::seconds kTimeLimit{60};   // nft takes 25 s for 10,000 services

}  // namespace

Tool::Tool(EventLoop& loop, const std::vector<std::string>& arguments,
           std::function<void(std::string)> finished)
    : loop_(loop) {
  const auto output = std::make_shared<std::string>();
  take_ = [output](std::string_view piece) { *output += piece; };
  finished_ = [output, finished = std::move(finished)](bool good) {
    finished(good ? std::move(*output) : std::string());
  };
  start(arguments);
}

Tool::Tool(EventLoop& loop, const std::vector<std::string>& arguments,
           std::function<void(std::string_view)> take, std::function<void(bool)> finished)
    : loop_(loop), take_(std::move(take)), finished_(std::move(finished)) {
  start(arguments);
}

void Tool::start(const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return;
  pipe_ = UniqueFd(ends[0]);
  const UniqueFd write_end(ends[1]);
  ::fcntl(write_end.get(), F_SETFL, 0);  // the program expects a blocking descriptor

  const SpawnOptions options{.standard_output = write_end.get(), .in_background = true};
  if (spawn(arguments, options, pid_) != 0) pid_ = -1;
  if (running()) loop_.watch(pipe_.get(), [this] { on_output(); });
}

Tool::~Tool() {
  finished_ = [](bool) {};  // whoever waited is going away, too
  if (running()) end(true);
}

void Tool::end_if_overdue() {
  if (running() && std::chrono::steady_clock::now() - started_ > kTimeLimit) end(true);
}

void Tool::on_output() {
  std::array<char, 65536> buffer;
  for (std::size_t taken = 0; taken < kTurnBytes;) {
    const ssize_t count = ::read(pipe_.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) return end(false);
    const auto size = static_cast<std::size_t>(count);
    take_({buffer.data(), size});
    taken += size;
    taken_ += size;
    if (taken_ > kOutputMax) return end(true);
  }
}

void Tool::end(bool forced) {
  loop_.unwatch(pipe_.get());
  pipe_.reset();
  if (forced) ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  finished_(!forced && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace droptrace
