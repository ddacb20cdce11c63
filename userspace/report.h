// SPDX-License-Identifier: GPL-2.0-only
// `droptrace report` and `droptrace diff`: what recordings come to.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "kernel/unique_fd.h"
#include "report/summary.h"
#include "report_options.h"

namespace droptrace {

// Return the exit status.
int report(const ReportOptions& options);
int diff(const DiffOptions& options);

// What the suffix of a file's name asks for.
std::optional<ReportFormat> report_format(std::string_view file);

// An empty file, before there is anything to write: a mistake is told at once. Throws Error.
UniqueFd create_report(const std::string& file);

std::string render(const Summary& summary, ReportFormat format);

}  // namespace droptrace
