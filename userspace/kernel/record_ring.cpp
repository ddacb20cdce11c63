// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/record_ring.h"

#include <cerrno>
#include <utility>

#include <bpf/libbpf.h>

namespace droptrace {

std::unique_ptr<RecordRing> RecordRing::open(int map_fd) {
  std::unique_ptr<RecordRing> ring(new RecordRing);
  ring->ring_ = ring_buffer__new(map_fd, on_record, ring.get(), nullptr);
  return ring->ring_ ? std::move(ring) : nullptr;
}

RecordRing::~RecordRing() { ring_buffer__free(ring_); }

int RecordRing::epoll_fd() const { return ring_buffer__epoll_fd(ring_); }

// Called by libbpf for each record; a negative result ends the round.
int RecordRing::on_record(void* context, void* data, std::size_t size) noexcept {
  auto* ring = static_cast<RecordRing*>(context);
  try {
    (*ring->handle_)({static_cast<const std::byte*>(data), size});
  } catch (...) {
    ring->failure_ = std::current_exception();
    return -ECANCELED;
  }
  return ++ring->consumed_ >= ring->limit_ ? -EAGAIN : 0;
}

std::optional<std::size_t> RecordRing::consume(const Handle& handle, std::size_t limit) {
  handle_ = &handle;
  consumed_ = 0;
  limit_ = limit;
  const int result = ring_buffer__consume(ring_);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  if (result < 0 && result != -EAGAIN) {
    errno = -result;
    return std::nullopt;
  }
  return consumed_;
}

}  // namespace droptrace
