// SPDX-License-Identifier: GPL-2.0-only
#include "report.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include <fmt/format.h>

#include "kernel/error.h"
#include "kernel/output.h"
#include "kernel/unique_fd.h"
#include "replay.h"
#include "report/diff.h"
#include "report/document.h"
#include "sink/style.h"

namespace droptrace {

namespace {

// False if the file is damaged.
bool add_recording(Summary& summary, const std::string& file) {
  summary.begin_source(file);
  return read_recording(
      file,
      [&](const RecordedEvent& event) {
        summary.add(event);
        return true;
      },
      [](const std::string& line) { fmt::print(stderr, "droptrace: {}\n", escaped(line).bytes); },
      /*facts=*/false);
}

}  // namespace

std::optional<ReportFormat> report_format(std::string_view file) {
  if (file.ends_with(".md")) return ReportFormat::kMarkdown;
  if (file.ends_with(".html")) return ReportFormat::kHtml;
  if (file.ends_with(".json")) return ReportFormat::kJson;
  return std::nullopt;
}

std::string render(const Summary& summary, ReportFormat format) {
  if (format == ReportFormat::kJson) return report_json(summary);
  const ReportDocument document = report_document(summary);
  return format == ReportFormat::kHtml ? to_html(document) : to_markdown(document);
}

UniqueFd create_report(const std::string& file) {
  UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid())
    throw Error("cannot write the report " + file + ": " + errno_text(errno) +
                ": give a file in a directory that can be written");
  return fd;
}

int report(const ReportOptions& options) {
  UniqueFd file;
  if (!options.report.empty()) file = create_report(options.report);
  Summary summary;
  bool whole = true;
  for (const std::string& recording : options.files) whole &= add_recording(summary, recording);
  if (file.valid())
    Output(file.get(), options.report)
        .write(render(summary, report_format(options.report).value_or(options.output)));
  else
    Output(STDOUT_FILENO, "standard output").write(render(summary, options.output));
  return whole ? kExitDone : kExitFailed;
}

int diff(const DiffOptions& options) {
  Summary before;
  Summary after;
  const bool whole = add_recording(before, options.before);
  if (!add_recording(after, options.after) || !whole) return kExitFailed;
  const Diff changes = compare(before, after);
  std::string text;
  if (options.output == ReportFormat::kJson)
    text = diff_json(changes);
  else if (options.output == ReportFormat::kMarkdown)
    text = to_markdown(diff_document(changes));
  else
    text = diff_text(changes);
  Output(STDOUT_FILENO, "standard output").write(text);
  return changes.has_new() ? kExitExpectation : kExitDone;
}

}  // namespace droptrace
