// SPDX-License-Identifier: GPL-2.0-only
// A ring buffer of the kernel side, read record by record.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>

struct ring_buffer;  // libbpf's

namespace droptrace {

class RecordRing {
 public:
  using Handle = std::function<void(std::span<const std::byte>)>;

  // map_fd: of a map of type ring buffer. nullptr, with errno set, if it cannot be mapped.
  static std::unique_ptr<RecordRing> open(int map_fd);
  ~RecordRing();
  RecordRing(const RecordRing&) = delete;
  RecordRing& operator=(const RecordRing&) = delete;

  // Readable when records wait; level-triggered for epoll.
  int epoll_fd() const;

  // Calls handle for each record that waits, at most limit of them. Returns how many there were;
  // nullopt, with errno set, if they cannot be read. The bytes are valid during the call only.
  // Throws what handle throws.
  std::optional<std::size_t> consume(const Handle& handle,
                                     std::size_t limit = std::numeric_limits<std::size_t>::max());

 private:
  RecordRing() = default;
  static int on_record(void* context, void* data, std::size_t size) noexcept;

  ring_buffer* ring_ = nullptr;
  const Handle* handle_ = nullptr;
  std::size_t consumed_ = 0;
  std::size_t limit_ = 0;
  std::exception_ptr failure_;  // thrown by handle; C code is in between
};

}  // namespace droptrace
