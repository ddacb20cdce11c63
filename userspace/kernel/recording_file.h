// SPDX-License-Identifier: GPL-2.0-only
// The file that a recording is written to. A failure, such as a full disk, is noticed but ends
// nothing: what the file has stays whole up to the last batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kernel/unique_fd.h"

namespace droptrace {

class RecordingFile {
 public:
  // "-" is standard output. Throws Error if the file cannot be created.
  explicit RecordingFile(const std::string& path);

  // Appends all of it, or nothing and says no from then on.
  bool write(std::string_view batch);

  // Replaces bytes that the file has already, if that is possible.
  void replace(std::size_t offset, std::string_view bytes) const;

  // Why no more is written.
  const std::optional<std::string>& problem() const { return problem_; }
  // The program that read a pipe has ended: nobody wants more.
  bool reader_gone() const { return reader_gone_; }
  std::uint64_t size() const { return size_; }

 private:
  UniqueFd fd_;
  bool regular_ = false;
  std::uint64_t start_ = 0;  // standard output may be a file that has something already
  std::uint64_t size_ = 0;
  std::optional<std::string> problem_;
  bool reader_gone_ = false;
};

}  // namespace droptrace
