// SPDX-License-Identifier: GPL-2.0-only
// droptrace: where a Kind node's connections die. See README.md.
#include <cstdio>
#include <exception>
#include <variant>

#include "check.h"
#include "kernel/error.h"
#include "options.h"
#include "probe.h"
#include "replay.h"
#include "report.h"
#include "tracer.h"

int main(int argc, char** argv) {
  try {
    const auto parsed = droptrace::parse_options(argc, argv);
    if (const int* status = std::get_if<int>(&parsed)) return *status;
    if (const auto* options = std::get_if<droptrace::CheckOptions>(&parsed))
      return droptrace::check(*options);
    if (const auto* options = std::get_if<droptrace::ProbeOptions>(&parsed))
      return droptrace::probe(*options);
    if (const auto* options = std::get_if<droptrace::ReportOptions>(&parsed))
      return droptrace::report(*options);
    if (const auto* options = std::get_if<droptrace::DiffOptions>(&parsed))
      return droptrace::diff(*options);
    const auto& options = std::get<droptrace::Options>(parsed);
    return options.read.empty() ? droptrace::trace(options) : droptrace::replay(options);
  } catch (const droptrace::Error& error) {
    std::fprintf(stderr, "droptrace: %s\n", error.what());
    return error.status();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "droptrace: unexpected failure: %s\n", error.what());
    return droptrace::kExitFailed;
  }
}
