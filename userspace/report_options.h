// SPDX-License-Identifier: GPL-2.0-only
// The command line of `droptrace report` and `droptrace diff` as values.
#pragma once

#include <string>
#include <vector>

namespace droptrace {

enum class ReportFormat { kText, kMarkdown, kHtml, kJson };

struct ReportOptions {
  std::vector<std::string> files;
  ReportFormat output = ReportFormat::kMarkdown;
  std::string report;  // a file instead of standard output; its suffix is the format
};

struct DiffOptions {
  std::string before;
  std::string after;
  ReportFormat output = ReportFormat::kText;
};

}  // namespace droptrace
