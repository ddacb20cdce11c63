// SPDX-License-Identifier: GPL-2.0-only
// The command line as values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/address.h"
#include "report_options.h"

namespace droptrace {

enum class OutputFormat { kText, kJson };
enum class ColorMode { kAuto, kAlways, kNever };

struct Options {
  OutputFormat output = OutputFormat::kText;
  std::optional<std::uint64_t> count;        // stop after so many shown drops
  std::optional<std::uint64_t> duration_ns;  // stop after this time
  std::vector<std::string> command;          // behind "--"; empty: none
  bool syn_only = false;
  std::vector<Cidr> service_cidrs;  // empty: find them
  std::vector<Cidr> pod_cidrs;
  bool all = false;
  bool all_netns = false;
  std::vector<std::string> netns;  // empty: this node's
  bool noise = false;
  std::uint64_t unanswered_after_ns = 3'000'000'000;  // 0: never
  bool paths = true;                                  // follow connection attempts
  bool stack = false;
  bool names = true;
  bool api = true;         // ask the API server, if there is a kubeconfig
  std::string kubeconfig;  // empty: the administrator's, if this is a control plane
  bool allow_system_changes = false;
  ColorMode color = ColorMode::kAuto;
  std::string ready_file;  // empty: none
  std::vector<std::pair<std::string, std::string>> expect_drop;
  bool expect_none = false;
  int verbosity = 0;  // -1: -q, 1: -v
  std::uint32_t ring_bytes = 4U << 20U;
  std::uint32_t snaplen = 128;
  std::string write;         // pcapng file; "-": standard output; empty: none
  std::string read;          // a recording instead of the kernel; empty: none
  std::string metrics;       // where to serve them, "ADDR:PORT"; empty: nowhere
  std::string report;        // file, its suffix the format; empty: none
  std::string command_line;  // as it was given
  std::string filter;        // pcap-filter(7) expression; empty: none
};

// Of `droptrace check`.
struct CheckOptions {
  OutputFormat output = OutputFormat::kText;
  ColorMode color = ColorMode::kAuto;
  int verbosity = 0;  // 1: -v
};

// Of `droptrace probe`.
struct ProbeOptions {
  std::string to;
  std::string from = "node";
  std::uint64_t timeout_ns = 3'000'000'000;
  bool udp = false;
  OutputFormat output = OutputFormat::kText;
  ColorMode color = ColorMode::kAuto;
  int verbosity = 0;  // 1: -v
};

// What to do: the options of a command, or the exit status if the run ends here (--help, --version,
// wrong usage); what there was to say has been printed. The first argument chooses the command; if
// it is the name of none, the command is the live log.
using Command = std::variant<Options, CheckOptions, ProbeOptions, ReportOptions, DiffOptions, int>;
Command parse_options(int argc, char** argv);

}  // namespace droptrace
