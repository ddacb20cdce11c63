// SPDX-License-Identifier: GPL-2.0-only
// Reads recordings back. Takes a file's bytes in pieces of any size and trusts none of them; what
// is whole is read, whatever comes behind. Does no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "recording/event.h"

namespace droptrace {

class PcapngReader {
 public:
  // Without facts an event has only its time, text and JSON, and is read in half the time.
  explicit PcapngReader(bool facts = true) : facts_(facts) {}

  void feed(std::string_view bytes);

  // The next event, packets and lines in the order of the file; of each section the line that
  // describes its environment is the first. nullopt: feed it more, if there is more.
  std::optional<RecordedEvent> next();

  // Why nothing further can be read: the file is no recording, or is damaged.
  const std::optional<std::string>& problem() const { return problem_; }
  // Once all has been fed and nothing comes: bytes of a last block that is not whole, and where it
  // begins.
  std::size_t cut_bytes() const { return buffer_.size() - position_; }
  std::uint64_t offset() const { return consumed_ + position_; }
  // Packets that somebody else has put into the file, and lines that are not understood.
  std::uint64_t skipped() const { return skipped_; }

 private:
  struct Options {
    std::string comment;
    std::string json;
    std::string application;
    std::uint8_t resolution = 6;  // 10^-6 s, unless an interface says otherwise
  };

  std::optional<std::string_view> next_block();
  std::optional<std::size_t> block_length(std::string_view rest);
  bool check_start(std::string_view rest);
  std::optional<RecordedEvent> understand(std::string_view block);
  std::optional<RecordedEvent> section(std::string_view body);
  void interface(std::string_view body);
  std::optional<RecordedEvent> names(std::string_view body);
  std::optional<RecordedEvent> packet(std::string_view body);
  std::optional<RecordedEvent> skip();
  static std::optional<Options> read_options(std::string_view bytes);
  void fail(std::string why);

  bool facts_;
  std::string buffer_;
  std::size_t position_ = 0;  // in the buffer: what is before has been read
  std::uint64_t consumed_ = 0;
  bool ours_ = false;                      // a section of ours has begun
  std::vector<std::uint8_t> resolutions_;  // of the section's interfaces
  std::vector<std::pair<Address, std::string>> names_;
  std::uint64_t skipped_ = 0;
  std::optional<std::string> problem_;
};

}  // namespace droptrace
