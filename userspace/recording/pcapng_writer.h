// SPDX-License-Identifier: GPL-2.0-only
// Turns events into the blocks of a pcapng file that Wireshark, tshark and tcpdump read: a packet
// for each drop, its comment the lines of the log. What only droptrace reads is in custom
// options. Does no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "recording/event.h"

namespace droptrace {

// What a recording says of where it was made.
struct RecordingHeader {
  std::string application;  // "droptrace 0.1.0"
  std::string os;           // "Linux 6.12.1"
  std::string comment;      // for people
  std::string environment;  // one object of JSON, {"schema":1,"type":"environment",…
};

class PcapngWriter {
 public:
  explicit PcapngWriter(const RecordingHeader& header);

  void add(const RecordedEvent& event);

  // The last blocks: statistics of each interface, the closing figures as a comment.
  void finish(std::int64_t time_ns, std::uint64_t lost, std::string_view figures);

  // Whole blocks, in the order of the calls, since the last time.
  std::string take() { return std::exchange(buffer_, {}); }
  std::size_t pending_bytes() const { return buffer_.size(); }
  std::uint64_t packets() const { return packets_; }

  // Where the section's header, at the start of the file, has room for a comment with the closing
  // figures, and the bytes that belong there once they are known.
  std::size_t closing_offset() const { return closing_offset_; }
  static std::string closing_bytes(std::string_view figures);

 private:
  using InterfaceKey = std::tuple<std::uint32_t, std::uint32_t, std::string>;
  struct Interface {
    std::uint32_t id = 0;
    std::uint64_t packets = 0;
  };

  void begin_section(const RecordingHeader& header);
  Interface& interface_of(const RecordedEvent& event);
  void add_interface(const RecordedEvent& event, const std::string& name);
  void add_names(const RecordedEvent& event);
  void add_packet(const RecordedEvent& event, std::uint32_t interface);
  void add_line(std::string_view json);

  std::string buffer_;
  std::string os_;
  std::size_t closing_offset_ = 0;
  std::map<InterfaceKey, Interface> interfaces_;
  std::set<std::pair<Address, std::string>> names_;
  std::uint64_t packets_ = 0;
  std::optional<std::int64_t> start_ns_;
};

}  // namespace droptrace
