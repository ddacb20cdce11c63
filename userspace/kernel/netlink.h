// SPDX-License-Identifier: GPL-2.0-only
// Netlink requests: build a message, send it, walk the answers. Only what droptrace asks for.
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel/unique_fd.h"

namespace droptrace {

// A netlink message under construction; lengths are patched when it is sent.
class NetlinkMessage {
 public:
  NetlinkMessage(std::uint16_t type, std::uint16_t flags);

  // Appends a fixed header such as ifinfomsg.
  template <typename Header>
  NetlinkMessage& header(const Header& value) {
    append(&value, sizeof(value));
    return *this;
  }
  NetlinkMessage& attribute(std::uint16_t type, const void* value, std::size_t size);
  // Attributes added until end() are nested in this one.
  NetlinkMessage& begin(std::uint16_t type);
  NetlinkMessage& end();

  // Asks the kernel to say when it has taken the message.
  void request_acknowledgement();

  std::span<const std::byte> finish(std::uint32_t sequence);

 private:
  void append(const void* value, std::size_t size);
  std::vector<std::byte> bytes_;
  std::vector<std::size_t> open_;  // offsets of unfinished nested attributes
};

// Attributes of a message by type; a repeated type keeps the last. Views into the message.
using NetlinkAttributes = std::map<std::uint16_t, std::span<const std::byte>>;
NetlinkAttributes parse_attributes(std::span<const std::byte> bytes);

// The value of an attribute as a plain type; nullopt if it is absent or of another size.
template <typename Value>
std::optional<Value> attribute_as(const NetlinkAttributes& attributes, std::uint16_t type) {
  const auto found = attributes.find(type);
  if (found == attributes.end() || found->second.size() != sizeof(Value)) return std::nullopt;
  Value value;
  __builtin_memcpy(&value, found->second.data(), sizeof(value));
  return value;
}

// A NUL-terminated string attribute; empty if it is absent.
std::string attribute_text(const NetlinkAttributes& attributes, std::uint16_t type);

// A socket in the network namespace that the thread is in when it is opened.
class NetlinkSocket {
 public:
  // nullopt, with errno set, if the kernel refuses.
  static std::optional<NetlinkSocket> open(int protocol);

  // Joins a multicast group (RTNLGRP_*, NFNLGRP_*).
  bool join(unsigned group);

  // Sends the request and calls handle(type, payload) for each answer until the kernel has said
  // everything. Returns 0 or the kernel's errno; ENOENT is an answer like any other.
  using Handler = std::function<void(std::uint16_t, std::span<const std::byte>)>;
  int request(NetlinkMessage& message, const Handler& handle);

  // The same without waiting: start() sends the request and returns 0 or an errno value, and
  // whenever fd() is readable, receive_some() takes the next answers, some 32 KiB at most. nullopt
  // while there are more to come.
  int start(NetlinkMessage& message);
  std::optional<int> receive_some(const Handler& handle);

  // Sends the messages as one nfnetlink batch of a subsystem (NFNL_SUBSYS_*): all of it takes
  // effect or nothing. Returns 0 or the kernel's errno.
  int commit(std::uint16_t subsystem, std::vector<NetlinkMessage>& messages);

  // Calls handle for each message that has arrived on a joined group, at most limit datagrams of
  // them, without waiting. False if the kernel had to drop messages (ENOBUFS) since the last call.
  bool read_events(const Handler& handle, std::size_t limit);

  // How much may wait to be read; the kernel's own limit is passed over if we may.
  void set_receive_buffer(int bytes);

  // Reads and forgets what has arrived on a joined group; the event is all that matters.
  void drain();

  // A number that no other namespace has or had since boot (Linux 5.14); nullopt before that.
  std::optional<std::uint64_t> netns_cookie() const;

  int fd() const { return fd_.get(); }

 private:
  int receive(std::uint32_t sequence, const Handler& handle);

  explicit NetlinkSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  std::uint32_t sequence_ = 0;
};

}  // namespace droptrace
