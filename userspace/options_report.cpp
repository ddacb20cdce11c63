// SPDX-License-Identifier: GPL-2.0-only
#include <map>
#include <string>

#include "options_parser.h"
#include "report.h"

namespace droptrace {

namespace {

void add_format(CLI::App& app, ReportFormat& format,
                const std::map<std::string, ReportFormat>& formats, const std::string& help) {
  app.add_option("-o,--output", format, help)
      ->transform(CLI::CheckedTransformer(formats).description(""))
      ->option_text("FORMAT");
}

constexpr const char* kReportFooter = R"(
FILEs are recordings made with droptrace -w, of one node or of several: a SYN that died on one node
and its retransmission that died on another belong to one attempt.
Exit status: 0 done; 1 failed; 2 wrong usage.)";

constexpr const char* kDiffFooter = R"(
Exit status: 0 AFTER has no cause that BEFORE has not; 1 failed; 2 wrong usage; 3 it has.)";

}  // namespace

void check_report_suffix(const std::string& file) {
  if (!file.empty() && !report_format(file))
    throw CLI::ValidationError("--report", "'" + file + "' ends with none of .md, .html, .json");
}

Command parse_report(int argc, char** argv) {
  ReportOptions options;
  CLI::App app{"Summary of recordings: what died, where, and why.", "droptrace report"};
  app.footer(kReportFooter);
  app.add_option("FILE", options.files, "recordings")->required()->option_text("...");
  add_format(app, options.output,
             {{"md", ReportFormat::kMarkdown},
              {"html", ReportFormat::kHtml},
              {"json", ReportFormat::kJson}},
             "md (default), html or json, on standard output");
  app.add_option("--report", options.report, "write FILE instead: .md, .html or .json")
      ->option_text("FILE");
  const auto status = parse_arguments(app, argc, argv, [&] {
    check_report_suffix(options.report);
    if (app.count("-o") > 0 && !options.report.empty())
      throw CLI::ValidationError("-o", "contradicts --report, whose suffix is the format");
  });
  if (status) return *status;
  return options;
}

Command parse_diff(int argc, char** argv) {
  DiffOptions options;
  CLI::App app{"What has changed between two recordings.", "droptrace diff"};
  app.footer(kDiffFooter);
  app.add_option("BEFORE", options.before, "a recording")->required()->option_text(" ");
  app.add_option("AFTER", options.after, "a later one")->required()->option_text(" ");
  add_format(app, options.output,
             {{"text", ReportFormat::kText},
              {"md", ReportFormat::kMarkdown},
              {"json", ReportFormat::kJson}},
             "text (default), md or json");
  if (const auto status = parse_arguments(app, argc, argv, [] {})) return *status;
  return options;
}

}  // namespace droptrace
