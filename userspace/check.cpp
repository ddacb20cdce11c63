// SPDX-License-Identifier: GPL-2.0-only
#include "check.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/node_check.h"
#include "kernel/bpf_object.h"
#include "kernel/cluster_loader.h"
#include "kernel/entry_test.h"
#include "kernel/error.h"
#include "kernel/kernel_check.h"
#include "kernel/kernel_symbols.h"
#include "kernel/kernel_types.h"
#include "kernel/netns.h"
#include "kernel/node_reader.h"
#include "kernel/output.h"
#include "kernel/privileges.h"
#include "kernel/self_test.h"
#include "path_log.h"
#include "sink/check_text.h"
#include "sink/json.h"

namespace droptrace {

namespace {

using Findings = std::vector<Finding>;

BpfOptions bpf_options(const KernelTypes& types) {
  BpfOptions options;
  options.has_reason = types.kfree_skb_has_reason;
  options.note_nat = types.has_conntrack;
  options.note_icmp = types.tracepoints.contains("icmp_send");
  options.note_resets = types.tracepoints.contains("tcp_send_reset");
  return options;
}

Findings describe_programs(const BpfObject& bpf) {
  Findings found;
  for (const auto& [name, state] : bpf.programs())
    found.push_back({state == "attached" ? Level::kOk : Level::kInfo, name, state, ""});
  return found;
}

Findings describe_engines(BpfObject& bpf, const Symbols& symbols, const KernelTypes& types) {
  Findings found;
  const OtherRecords nobody = [](std::span<const std::byte>) {};
  const EngineReport report = test_engines(bpf, symbols, types, nobody);
  const EntryReport entries = test_entries(bpf, symbols, nobody);
  const std::string time = fmt::format(" (self-test: {:.0f} ms)", report.duration_ms);
  for (const auto& [engine, why] : report.refusals)
    found.push_back({Level::kInfo, engine, "cannot be used: " + why, ""});
  if (report.engine.empty())
    found.push_back({Level::kWarn, "rules", "nf_tables' rules are not named" + time,
                     "droptrace --allow-system-changes"});
  else
    found.push_back(
        {Level::kOk, report.engine,
         (report.engine == "frame" ? "nf_tables' rules are read off the frame of nft_do_chain"
                                   : "nf_tables' rules are noted at their verdict") +
             time,
         ""});
  if (entries.known)
    found.push_back({Level::kOk, "entry",
                     fmt::format("conntrack, NAT and others are told from rules by nf_hook_slow's "
                                 "frame (self-test: {:.0f} ms)",
                                 entries.duration_ms),
                     ""});
  else
    found.push_back({Level::kInfo, "entry",
                     "drops by other parts of netfilter are candidates only: " + entries.refusal,
                     ""});
  found.push_back({Level::kInfo, "evaluated",
                   "where no engine sees the rule, the dumped rules are evaluated", ""});
  const auto counter = bpf.programs().find("dt_xt_prime");
  const bool counts = counter != bpf.programs().end() && counter->second == "run on demand";
  found.push_back(
      {Level::kInfo, "counter",
       counts ? "ip_tables' rules are named by their counters" : "ip_tables' rules are not named",
       ""});
  found.push_back({Level::kInfo, "queue",
                   report.queues ? "an NFQUEUE and its listener are read off the listener's frame"
                                 : "the kernel has no NFQUEUE, or it is not loaded",
                   ""});
  found.push_back(check_rule_tracing());
  return found;
}

// The sections that need BPF; what forbids it is a finding of the kernel's section.
void check_tracing(CheckReport& report) {
  Findings& kernel = report.front().second;
  try {
    require_tracing_privileges();
    const KernelTypes types = read_kernel_types();
    kernel.push_back({Level::kOk, "drop-reasons",
                      types.kfree_skb_has_reason
                          ? "the kernel gives drop reasons"
                          : "the kernel gives no drop reasons (they came with Linux 5.17)",
                      ""});
    const DropReasons reasons(types.drop_reason_enums);
    const WatchMaps maps;
    BpfObject bpf(maps, bpf_options(types), reasons);
    bpf.attach();
    // A refusal is among the programs' states.
    PathLog(0).use(PathLog::begin(maps, bpf_options(types), types), bpf);
    report.emplace_back("programs", describe_programs(bpf));
    auto symbols = read_kernel_symbols();
    if (symbols.problem) kernel.push_back({Level::kWarn, "symbols", *symbols.problem, ""});
    report.emplace_back("engines", describe_engines(bpf, symbols.symbols, types));
  } catch (const Error& error) {
    kernel.push_back({Level::kFail, "tracing", error.what(), ""});
  }
}

std::string describe(const CidrList& list) {
  std::vector<std::string> texts;
  for (const Cidr& cidr : list.cidrs) texts.push_back(to_string(cidr));
  return fmt::format("{} ({})", fmt::join(texts, ", "), list.source);
}

Findings describe_node(const ClusterNetworks& networks, const NodeFacts& facts) {
  const auto tools = programs_here({"nft", "iptables-nft-save", "ip6tables-nft-save",
                                    "iptables-legacy-save", "ip6tables-legacy-save"});
  Findings found{{Level::kInfo, "service-cidr", describe(networks.service), ""},
                 {Level::kInfo, "pod-cidr", describe(networks.pod), ""},
                 {Level::kInfo, "namespaces",
                  fmt::format("{} network namespaces besides the node's", facts.pods.size()), ""}};
  found.push_back({tools.empty() ? Level::kWarn : Level::kInfo, "programs",
                   tools.empty() ? "no nft, no iptables-save: rules have no text"
                                 : fmt::format("{}", fmt::join(tools, ", ")),
                   ""});
  if (const auto problem = missing_for_netns())
    found.push_back({Level::kWarn, "other-namespaces", *problem, "run as root"});
  return found;
}

bool wants_color(ColorMode mode) {
  return mode == ColorMode::kAuto ? color_suits_standard_output() : mode == ColorMode::kAlways;
}

bool uses_ipv6(const ClusterNetworks& networks) {
  const auto is_v6 = [](const Cidr& cidr) { return cidr.network.v6; };
  return std::ranges::any_of(networks.service.cidrs, is_v6) ||
         std::ranges::any_of(networks.pod.cidrs, is_v6);
}

}  // namespace

int check(const CheckOptions& options) {
  CheckReport report{{"kernel", check_kernel()}};
  log_libbpf(options.verbosity > 0);
  check_tracing(report);
  const bool can_trace = !has_failures(report);
  const ClusterNetworks networks = find_cluster_networks();
  NodeFacts facts = read_node();
  facts.uses_ipv6 = uses_ipv6(networks);
  report.emplace_back("node", describe_node(networks, facts));
  report.emplace_back("state that kills traffic", check_node(facts));

  Output output(STDOUT_FILENO, "standard output");
  output.write(options.output == OutputFormat::kJson
                   ? check_json(report)
                   : check_text(report, wants_color(options.color)));
  if (!can_trace) return kExitUnsupported;
  return has_failures(report) ? kExitExpectation : kExitDone;
}

}  // namespace droptrace
