// SPDX-License-Identifier: GPL-2.0-only
// What the parsers of the commands share. Includes CLI11: only for options*.cpp.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "options.h"

namespace droptrace {

// Reads the arguments. Returns the exit status if the run ends here.
std::optional<int> parse_arguments(CLI::App& app, int argc, char** argv,
                                   const std::function<void()>& understand_all);

// Throws CLI::ValidationError unless the file has one of the suffixes that name a format.
void check_report_suffix(const std::string& file);

Command parse_report(int argc, char** argv);
Command parse_diff(int argc, char** argv);

}  // namespace droptrace
