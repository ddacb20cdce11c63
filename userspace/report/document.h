// SPDX-License-Identifier: GPL-2.0-only
// A report before it has a format: sections of plain text, tables and pictures. Nothing in it is
// escaped yet.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "report/summary.h"

namespace droptrace {

struct ReportTable {
  std::vector<std::string> heads;
  std::vector<std::vector<std::string>> rows;
};

struct ReportSection {
  std::string title;
  std::vector<std::string> paragraphs{};
  std::string svg{};                   // ready to be shown
  std::vector<std::string> instead{};  // lines that say the same where there are no pictures
  ReportTable table{};
  std::vector<std::string> commands{};
};

struct ReportDocument {
  std::string title;
  std::string verdict;
  std::string range;  // when, how long, how many
  std::vector<ReportSection> sections;
};

ReportDocument report_document(const Summary& summary);

// What dies, where, by which rule and how sure that is, in one sentence.
std::string verdict_of(const Summary& summary);

// "2026-11-25 22:25:22 UTC"
std::string utc_text(std::int64_t time_ns);
// "1.2 s", "3 min 20 s"
std::string duration_text(std::int64_t ns);

// Each is a whole file.
std::string to_markdown(const ReportDocument& document);
std::string to_html(const ReportDocument& document);
std::string report_json(const Summary& summary);

// Pictures, as elements for HTML; counts of a node's places of death in words for others.
std::string timeline_svg(const Timeline& timeline);
std::string timeline_text(const Timeline& timeline);
std::string node_svg(const ReportSource& source);
std::vector<std::string> node_text(const ReportSource& source);

// For HTML and SVG; what drives a terminal is made visible.
std::string html_escaped(std::string_view text);

}  // namespace droptrace
