// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>

#include "report/document.h"
#include "sink/style.h"

namespace droptrace {

namespace {

// Everything is in the file: it opens from a disk, without a network. On narrow screens the rows of
// wide tables are cards, with the heads beside the cells, or text that flows.
constexpr std::string_view kHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root{--bg:#fff;--fg:#1c2330;--dim:#5b6575;--line:#d5dae2;--box:#f4f6f9;--bad:#b3261e;--mid:#8a5a00;--low:#3f5f8f}
@media(prefers-color-scheme:dark){:root{--bg:#14181f;--fg:#e4e8ef;--dim:#9aa5b6;--line:#39424f;--box:#1d232c;--bad:#ff8a80;--mid:#f0b95a;--low:#8fb4ea}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 3rem;max-width:72rem;background:var(--bg);color:var(--fg);font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.1rem;margin:0;color:var(--dim);font-weight:600}
h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
.verdict{font-size:1.35rem;line-height:1.4;font-weight:600;margin:.4rem 0 .8rem;padding-left:.9rem;border-left:.3rem solid var(--bad)}
.dim{color:var(--dim)}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{overflow-wrap:break-word;text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid var(--line)}
th{color:var(--dim);font-weight:600}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
pre{background:var(--box);border:1px solid var(--line);border-radius:.4rem;padding:.7rem .9rem;white-space:pre-wrap;font-size:.88rem}
svg{display:block;width:100%;max-width:46rem;height:auto;font:14px system-ui,sans-serif}
svg text{fill:var(--fg)}svg .dim{fill:var(--dim)}svg .bad{fill:var(--bad);font-weight:600}
svg .box{fill:var(--box);stroke:var(--line)}svg .hit{fill:var(--box);stroke:var(--bad);stroke-width:2}
svg .wire{stroke:var(--dim);fill:none}svg .dropped{fill:var(--bad)}svg .rejected{fill:var(--mid)}svg .unanswered{fill:var(--low)}
@media(max-width:40rem){
.verdict{font-size:1.15rem}
td{overflow-wrap:anywhere;padding:.3rem .4rem}
table:not(.wide) .s{white-space:nowrap}
svg{font-size:17px}
.wide thead{display:none}
.wide,.wide tbody,.wide tr,.wide td{display:block;width:100%}
.wide td:empty{display:none}
.cards tr{border:1px solid var(--line);border-radius:.4rem;margin-bottom:.6rem;padding:.3rem 0}
.cards td{border:0;display:flex;gap:.8rem;padding:.15rem .7rem}
.cards td::before{content:attr(data-h);flex:0 0 6.5rem;color:var(--dim)}
.cards td.n{text-align:left}
.flow tr{display:flex;flex-wrap:wrap;gap:.1rem .8rem;padding:.1rem 0}
.flow td{border:0;padding:0;width:auto}
.flow td:first-child{flex:0 0 100%;font-weight:600;padding-top:.6rem}}
@media print{:root{--bg:#fff;--fg:#000;--dim:#444;--line:#bbb;--box:#f4f4f4;--bad:#a00;--mid:#850;--low:#357}
body{max-width:none;padding:0;font-size:10pt}h2{break-after:avoid}tr,svg,pre{break-inside:avoid}}
</style>
)";

std::string element(const char* name, std::string_view text, const char* attributes = "") {
  return std::string("<") + name + attributes + '>' + html_escaped(text) + "</" + name + ">\n";
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// What is short is not broken.
const char* cell_tag(bool number, const std::string& cell) {
  constexpr std::size_t kShort = 18;
  if (number) return "<td class=\"n\"";
  return cell.size() <= kShort ? "<td class=\"s\"" : "<td";
}

// On narrow screens.
const char* layout(std::size_t columns) {
  if (columns <= 3) return "";
  return columns <= 5 ? " class=\"wide flow\"" : " class=\"wide cards\"";
}

std::string table(const ReportTable& table) {
  if (table.rows.empty()) return {};
  std::vector<bool> numbers(table.heads.size(), true);
  for (const auto& cells : table.rows) {
    for (std::size_t i = 0; i < cells.size(); ++i)
      numbers[i] = numbers[i] && (cells[i].empty() || is_number(cells[i]));
  }
  std::string html = fmt::format("<table{}>\n<thead><tr>", layout(table.heads.size()));
  for (std::size_t i = 0; i < table.heads.size(); ++i)
    html += (numbers[i] ? "<th class=\"n\">" : "<th>") + html_escaped(table.heads[i]) + "</th>";
  html += "</tr></thead>\n<tbody>\n";
  for (const auto& cells : table.rows) {
    html += "<tr>";
    for (std::size_t i = 0; i < cells.size(); ++i)
      html += std::string(cell_tag(numbers[i], cells[i])) + " data-h=\"" +
              html_escaped(table.heads[i]) + "\">" + html_escaped(cells[i]) + "</td>";
    html += "</tr>\n";
  }
  return html + "</tbody>\n</table>\n";
}

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string result;
  for (const char byte : escaped(text).bytes) {
    switch (byte) {
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '&':
        result += "&amp;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += byte;
    }
  }
  return result;
}

std::string to_html(const ReportDocument& document) {
  std::string html(kHead);
  html += element("title", document.title) + "</head>\n<body>\n";
  html += element("h1", document.title);
  html += element("p", document.verdict, " class=\"verdict\"");
  if (!document.range.empty()) html += element("p", document.range, " class=\"dim\"");
  for (const ReportSection& section : document.sections) {
    html += element("h2", section.title);
    for (const std::string& paragraph : section.paragraphs) html += element("p", paragraph);
    html += section.svg + table(section.table);
    std::string commands;
    for (const std::string& command : section.commands)
      commands += (commands.empty() ? "" : "\n") + html_escaped(command);
    if (!commands.empty()) html += "<pre>" + commands + "</pre>\n";
  }
  return html + "</body>\n</html>\n";
}

}  // namespace droptrace
