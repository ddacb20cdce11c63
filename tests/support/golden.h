// SPDX-License-Identifier: GPL-2.0-only
// Golden files: output that is compared byte for byte, and changed by scripts/update-golden.sh
// only.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace droptrace {

inline std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Compares actual with the file name in tests/golden, or makes it the file's content.
inline void check_golden(const std::string& name, const std::string& actual) {
  const std::string path = DROPTRACE_TEST_GOLDEN "/" + name;
  if (std::getenv("DROPTRACE_UPDATE_GOLDEN")) {
    std::ofstream file(path, std::ios::binary);
    file << actual << std::flush;
    REQUIRE_MESSAGE(file.good(), "cannot write " << path);
    return;
  }
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.is_open(), "cannot read " << path);
  const std::string expected{std::istreambuf_iterator<char>(file), {}};

  // By line first, so that a failure shows the line that differs instead of the whole file.
  const std::vector<std::string> actual_lines = lines_of(actual);
  const std::vector<std::string> expected_lines = lines_of(expected);
  for (std::size_t i = 0; i < actual_lines.size() && i < expected_lines.size(); ++i) {
    INFO(name << ", line " << i + 1);
    CHECK(actual_lines[i] == expected_lines[i]);
  }
  CHECK(actual_lines.size() == expected_lines.size());
  CHECK_MESSAGE((actual == expected), path << " differs");
}

}  // namespace droptrace
