// SPDX-License-Identifier: GPL-2.0-only
#include "options.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <charconv>
#include <functional>
#include <iostream>
#include <limits>
#include <string_view>

#include <CLI/CLI.hpp>

#include "core/filter.h"
#include "kernel/error.h"
#include "options_parser.h"

namespace droptrace {

namespace {

// "500ms", "30s", "2m", "1h"; a bare number is seconds.
std::uint64_t parse_duration(const std::string& option, const std::string& text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [unit, error] = std::from_chars(text.data(), end, number);
  const std::string_view suffix(unit, static_cast<std::size_t>(end - unit));
  std::uint64_t scale = 0;
  if (suffix == "ms") scale = 1'000'000;
  if (suffix == "s" || suffix.empty()) scale = 1'000'000'000;
  if (suffix == "m") scale = 60'000'000'000;
  if (suffix == "h") scale = 3'600'000'000'000;
  if (error != std::errc{} || scale == 0 || number == 0 ||
      number > std::numeric_limits<std::int64_t>::max() / scale)
    throw CLI::ValidationError(option, "'" + text + "' is no duration such as 500ms or 30s");
  return number * scale;
}

// "4M", "512K", or bytes; rounded up to a power of two, as the kernel wants it.
std::uint32_t parse_ring_size(const std::string& text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [unit, error] = std::from_chars(text.data(), end, number);
  const std::string_view suffix(unit, static_cast<std::size_t>(end - unit));
  std::uint64_t scale = 0;
  if (suffix.empty()) scale = 1;
  if (suffix == "K" || suffix == "k") scale = 1024;
  if (suffix == "M") scale = 1U << 20U;
  constexpr std::uint64_t kMin = 64U << 10U;
  constexpr std::uint64_t kMax = 1024U << 20U;
  if (error != std::errc{} || scale == 0 || number > kMax / scale || number * scale < kMin)
    throw CLI::ValidationError("--ring-size", "'" + text + "' is not within 64K and 1024M");
  return static_cast<std::uint32_t>(std::bit_ceil(number * scale));
}

std::vector<Cidr> parse_cidrs(const std::string& option, const std::vector<std::string>& texts) {
  std::vector<Cidr> cidrs;
  for (const std::string& text : texts) {
    const auto parsed = parse_cidr_list(text);
    if (!parsed)
      throw CLI::ValidationError(option, "'" + text + "' is no CIDR such as 10.96.0.0/12");
    cidrs.insert(cidrs.end(), parsed->begin(), parsed->end());
  }
  return cidrs;
}

std::pair<std::string, std::string> parse_expectation(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos)
    throw CLI::ValidationError("--expect-drop",
                               "'" + text + "' is not KEY=VALUE, such as reason=NETFILTER_DROP");
  return {text.substr(0, equals), text.substr(equals + 1)};
}

// What CLI11 collects as text before it is understood.
struct RawOptions {
  std::string duration;
  std::string unanswered_after;
  std::string ring_size;
  std::vector<std::string> service_cidrs;
  std::vector<std::string> pod_cidrs;
  std::vector<std::string> expect_drop;
  bool quiet = false;
  bool verbose = false;
  bool no_names = false;
};

constexpr const char* kFooter = R"(
FILTER is a pcap-filter(7) expression, last on the line as in tcpdump; it matches the packet as it
was dropped or as it was before NAT. Examples:
  droptrace                              connections of this node that die, live
  droptrace --syn dst port 80            connection attempts to port 80
  droptrace -o json --duration 30s       JSON lines for half a minute
  droptrace -- curl -m5 http://web       trace while a command runs
  droptrace -w drops.pcapng              record, too, for Wireshark and -r
  droptrace probe default/web:80         the way of one SYN, and where it dies
  droptrace check                        what kernel and node allow, and what kills traffic there
Exit status: 0 done; 1 failed; 2 wrong usage; 3 an expectation was not met; 4 the kernel or the
privileges cannot do it; with -- CMD, that of CMD.)";

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* /*app*/, std::string /*name*/) const override {
    return "Usage: droptrace [OPTIONS] [FILTER...]\n"
           "       droptrace [OPTIONS] [FILTER...] -- CMD [ARG...]\n"
           "       droptrace probe [-o FORMAT] [--from WHERE] [--udp] [--timeout TIME] TO\n"
           "       droptrace check [-o FORMAT]\n"
           "       droptrace report [-o FORMAT] FILE...\n"
           "       droptrace diff [-o FORMAT] BEFORE AFTER\n";
  }
};

// Options that several commands have.
void add_output(CLI::App& app, OutputFormat& output) {
  const std::map<std::string, OutputFormat> formats{{"text", OutputFormat::kText},
                                                    {"json", OutputFormat::kJson}};
  app.add_option("-o,--output", output, "text (default) or json, one object a line")
      ->transform(CLI::CheckedTransformer(formats).description(""))
      ->option_text("FORMAT");
}

void add_color(CLI::App& app, ColorMode& color) {
  const std::map<std::string, ColorMode> colors{
      {"auto", ColorMode::kAuto}, {"always", ColorMode::kAlways}, {"never", ColorMode::kNever}};
  app.add_option("--color", color, "auto (default), always or never; NO_COLOR is honoured")
      ->transform(CLI::CheckedTransformer(colors).description(""))
      ->option_text("WHEN");
}

void add_options(CLI::App& app, Options& options, RawOptions& raw) {
  add_output(app, options.output);
  app.add_option("-w,--write", options.write,
                 "record to FILE, too, as pcapng; - is standard output, without the log")
      ->option_text("FILE");
  app.add_option("-r,--read", options.read, "replay a recording made with -w; - is standard input")
      ->option_text("FILE");
  app.add_option("--report", options.report,
                 "at the end write a summary to FILE: .md, .html or .json")
      ->option_text("FILE");
  app.add_option("--metrics", options.metrics,
                 "serve Prometheus metrics at /metrics; :PORT is of the loopback address")
      ->option_text("ADDR:PORT");
  app.add_option("-c,--count", options.count, "stop after N drops")
      ->check(
          CLI::Range(std::uint64_t{1}, std::numeric_limits<std::uint64_t>::max()).description(""))
      ->option_text("N");
  app.add_option("--duration", raw.duration, "stop after a time: 500ms, 30s, 2m, 1h")
      ->option_text("TIME");
  app.add_flag("--syn", options.syn_only, "only TCP connection attempts and their answers");
  app.add_option("--service-cidr", raw.service_cidrs, "service CIDR, instead of those found here")
      ->option_text("CIDR")
      ->expected(1)
      ->take_all();
  app.add_option("--pod-cidr", raw.pod_cidrs, "pod CIDR, instead of those found here")
      ->option_text("CIDR")
      ->expected(1)
      ->take_all();
  app.add_flag("--all", options.all, "every drop, not only those that touch a service or pod CIDR");
  app.add_flag("--all-netns", options.all_netns,
               "every network namespace of the kernel, not only this node's");
  app.add_option("--netns", options.netns,
                 "only this network namespace: a path, a name or a number")
      ->option_text("NETNS")
      ->expected(1)
      ->take_all();
  app.add_flag("--noise", options.noise, "show drops that are known to be harmless, too");
  app.add_option("--unanswered-after", raw.unanswered_after,
                 "report a SYN without an answer after a time (default 3s); 0: never")
      ->option_text("TIME");
  app.add_flag("!--no-path", options.paths, "do not follow connection attempts on their way");
  app.add_flag("--stack", options.stack, "show the kernel stack of each drop");
  app.add_flag("-n,--no-names", raw.no_names, "numbers instead of names");
  app.add_option("--kubeconfig", options.kubeconfig,
                 "ask the API server for other nodes' pods with FILE (default: admin.conf if here)")
      ->check(CLI::ExistingFile.description(""))
      ->option_text("FILE");
  app.add_flag("!--no-api", options.api, "do not ask the API server for names");
  app.add_flag(
      "--allow-system-changes", options.allow_system_changes,
      "add a table of nftables, for the time of the trace, where rules are not named else");
  add_color(app, options.color);
  app.add_option("--ready-file", options.ready_file, "create FILE once everything is attached")
      ->option_text("FILE");
  app.add_option("--expect-drop", raw.expect_drop,
                 "exit 3 unless a drop has this JSON field; repeated: one drop with all of them")
      ->option_text("KEY=VALUE")
      ->expected(1)
      ->take_all();
  app.add_flag("--expect-none", options.expect_none, "exit 3 if there was a drop");
  app.add_option("--ring-size", raw.ring_size, "kernel ring buffer (default 4M)")
      ->option_text("SIZE");
  app.add_option("--snaplen", options.snaplen, "bytes of each packet to keep (default 128)")
      ->check(CLI::Range(64, 256).description(""))
      ->option_text("BYTES");
  app.add_flag("-q", raw.quiet, "no status lines");
  app.add_flag("-v", raw.verbose, "more status lines");
}

// Options that are about tracing, which a recording has behind it.
void check_replay(const CLI::App& app) {
  for (const char* name :
       {"--duration", "--service-cidr", "--pod-cidr", "--all", "--all-netns", "--netns", "--stack",
        "--no-names", "--allow-system-changes", "--ready-file", "--ring-size", "--snaplen",
        "--metrics", "--unanswered-after", "--no-path", "--kubeconfig", "--no-api"}) {
    if (app.count(name) > 0) throw CLI::ValidationError(name, "contradicts -r: the trace is over");
  }
}

void understand(const CLI::App& app, Options& options, const RawOptions& raw) {
  if (!raw.duration.empty()) options.duration_ns = parse_duration("--duration", raw.duration);
  if (raw.unanswered_after == "0")
    options.unanswered_after_ns = 0;
  else if (!raw.unanswered_after.empty())
    options.unanswered_after_ns = parse_duration("--unanswered-after", raw.unanswered_after);
  if (!raw.ring_size.empty()) options.ring_bytes = parse_ring_size(raw.ring_size);
  options.service_cidrs = parse_cidrs("--service-cidr", raw.service_cidrs);
  options.pod_cidrs = parse_cidrs("--pod-cidr", raw.pod_cidrs);
  for (const std::string& text : raw.expect_drop)
    options.expect_drop.push_back(parse_expectation(text));
  if (raw.quiet && raw.verbose) throw CLI::ValidationError("-q", "contradicts -v");
  if (options.all_netns && !options.netns.empty())
    throw CLI::ValidationError("--all-netns", "contradicts --netns");
  if (options.expect_none && !options.expect_drop.empty())
    throw CLI::ValidationError("--expect-none", "contradicts --expect-drop");
  if (!options.kubeconfig.empty() && !options.api)
    throw CLI::ValidationError("--no-api", "contradicts --kubeconfig");
  if (!options.read.empty()) check_replay(app);
  check_report_suffix(options.report);
  if (options.write == "-" && options.output == OutputFormat::kJson)
    throw CLI::ValidationError("-w -", "contradicts -o json: both want standard output");
  options.verbosity = raw.quiet ? -1 : (raw.verbose ? 1 : 0);
  options.names = !raw.no_names;
}

constexpr const char* kCheckFooter = R"(
Exit status: 0 nothing found; 1 failed; 2 wrong usage; 3 something that kills traffic was found (a
line marked FAIL); 4 the kernel or the privileges forbid tracing.)";

Command parse_check(int argc, char** argv) {
  CheckOptions options;
  bool verbose = false;
  CLI::App app{"Shows what kernel and node allow, and node state that kills traffic.",
               "droptrace check"};
  app.footer(kCheckFooter);
  add_output(app, options.output);
  add_color(app, options.color);
  app.add_flag("-v", verbose, "libbpf's own words on standard error");
  if (const auto status = parse_arguments(app, argc, argv, [] {})) return *status;
  options.verbosity = verbose ? 1 : 0;
  return options;
}

constexpr const char* kProbeFooter = R"(
TO is IP[:PORT], NS/SERVICE[:PORT] or pod:NS/NAME:PORT.
Exit status: 0 answered; 1 failed; 2 wrong usage; 3 rejected, dropped or unanswered; 4 the kernel or
the privileges cannot do it.)";

Command parse_probe(int argc, char** argv) {
  ProbeOptions options;
  std::string timeout;
  bool verbose = false;
  CLI::App app{"Sends one SYN and shows the way it takes and where it dies.", "droptrace probe"};
  app.footer(kProbeFooter);
  add_output(app, options.output);
  add_color(app, options.color);
  app.add_option("--from", options.from, "pod:NS/NAME, a path of a namespace, or node (default)")
      ->option_text("WHERE");
  app.add_flag("--udp", options.udp, "one DNS query by UDP instead of a SYN (default port: 53)");
  app.add_option("--timeout", timeout, "how long to wait for an answer (default 3s)")
      ->option_text("TIME");
  app.add_flag("-v", verbose, "status lines on standard error");
  app.add_option("to", options.to, "whom to dial")->option_text("TO")->required();
  const auto status = parse_arguments(app, argc, argv, [&] {
    if (!timeout.empty()) options.timeout_ns = parse_duration("--timeout", timeout);
  });
  if (status) return *status;
  options.verbosity = verbose ? 1 : 0;
  return options;
}

Command parse_trace(int argc, char** argv) {
  Options options;
  RawOptions raw;
  CLI::App app{"droptrace: shows where this Kind node's connections die, and why.", "droptrace"};
  app.formatter(std::make_shared<HelpFormatter>());
  app.footer(kFooter);
  app.set_version_flag("--version", "droptrace " DROPTRACE_VERSION);
  app.prefix_command();  // the first word that is no option begins FILTER
  add_options(app, options, raw);

  char** const end = argv + argc;
  char** const dashes = std::find(argv, end, std::string_view("--"));
  if (dashes != end) options.command.assign(dashes + 1, end);
  const auto status = parse_arguments(app, static_cast<int>(dashes - argv), argv, [&] {
    if (dashes != end && options.command.empty())
      throw CLI::ValidationError("--", "a command must follow");
    if (dashes != end && !options.read.empty())
      throw CLI::ValidationError("--", "contradicts -r: the trace is over");
    understand(app, options, raw);
  });
  if (status) return *status;
  for (char** word = argv; word != end; ++word)
    options.command_line +=
        (word == argv ? "" : " ") + std::string(word == argv ? "droptrace" : *word);
  const std::vector<std::string> words = app.remaining();
  if (!words.empty() && words.front().starts_with('-')) {
    std::cerr << "droptrace: unknown option " << words.front() << ": see droptrace --help\n";
    return kExitUsage;
  }
  for (const std::string& word : words) {
    if (!options.filter.empty()) options.filter += ' ';
    options.filter += word;
  }
  try {
    if (!options.filter.empty()) PacketFilter{options.filter};
  } catch (const FilterError& error) {
    std::cerr << "droptrace: FILTER '" << options.filter << "': " << error.what()
              << ": see pcap-filter(7)\n";
    return kExitUsage;
  }
  return options;
}

// Commands that have names; the live log has none.
constexpr std::pair<std::string_view, Command (*)(int, char**)> kCommands[] = {
    {"check", parse_check},
    {"diff", parse_diff},
    {"probe", parse_probe},
    {"report", parse_report},
};

}  // namespace

std::optional<int> parse_arguments(CLI::App& app, int argc, char** argv,
                                   const std::function<void()>& understand_all) {
  try {
    app.parse(argc, argv);
    understand_all();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0)
      return app.exit(error, std::cout, std::cerr);  // --help, --version
    std::cerr << app.get_name() << ": " << error.what() << ": see " << app.get_name()
              << " --help\n";
    return kExitUsage;
  }
  return std::nullopt;
}

Command parse_options(int argc, char** argv) {
  for (const auto& [name, parse_command] : kCommands) {
    if (argc > 1 && argv[1] == name) return parse_command(argc - 1, argv + 1);
  }
  return parse_trace(argc, argv);
}

}  // namespace droptrace
