// SPDX-License-Identifier: GPL-2.0-only
#include <algorithm>

#include "report/document.h"
#include "sink/style.h"

namespace droptrace {

namespace {

// What comes from outside must not become a heading, a link or a column.
std::string plain(std::string_view text) {
  std::string result;
  for (const char byte : escaped(text).bytes) {
    if (std::string_view("\\`*_[]<>|#&~").find(byte) != std::string_view::npos) result += '\\';
    result += byte;
  }
  return result;
}

std::string row(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const std::string& cell : cells) line += ' ' + plain(cell) + " |";
  return line + '\n';
}

std::string table(const ReportTable& table) {
  if (table.rows.empty()) return {};
  std::string text = row(table.heads) + '|';
  for (std::size_t i = 0; i < table.heads.size(); ++i) text += "---|";
  text += '\n';
  for (const auto& cells : table.rows) text += row(cells);
  return text + '\n';
}

// In a block of code only its end means something.
std::string code(const std::vector<std::string>& lines) {
  if (lines.empty()) return {};
  std::string text;
  for (const std::string& line : lines) text += "    " + escaped(line).bytes + '\n';
  return text + '\n';
}

}  // namespace

std::string to_markdown(const ReportDocument& document) {
  std::string text = "# " + plain(document.title) + "\n\n**" + plain(document.verdict) + "**\n\n";
  if (!document.range.empty()) text += plain(document.range) + "\n\n";
  for (const ReportSection& section : document.sections) {
    text += "## " + plain(section.title) + "\n\n";
    for (const std::string& paragraph : section.paragraphs) text += plain(paragraph) + "\n\n";
    text += code(section.instead) + table(section.table) + code(section.commands);
  }
  text.pop_back();
  return text;
}

}  // namespace droptrace
