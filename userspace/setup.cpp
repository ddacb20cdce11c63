// SPDX-License-Identifier: GPL-2.0-only
#include "setup.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <time.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "kernel/api_book.h"
#include "kernel/error.h"
#include "kernel/netns.h"
#include "kernel/output.h"
#include "kernel/privileges.h"
#include "kernel/self_test.h"
#include "kernel/unique_fd.h"
#include "sink/json.h"

namespace droptrace {

namespace {

int local_utc_offset_s() {
  const time_t now = ::time(nullptr);
  tm local{};
  ::localtime_r(&now, &local);
  return static_cast<int>(local.tm_gmtoff);
}

}  // namespace

bool wants_color(ColorMode mode) {
  return mode == ColorMode::kAuto ? color_suits_standard_output() : mode == ColorMode::kAlways;
}

std::unique_ptr<Sink> make_sink(const Options& options) {
  if (options.output == OutputFormat::kJson) return std::make_unique<JsonSink>();
  return std::make_unique<TextSink>(
      TextOptions{wants_color(options.color), local_utc_offset_s(), options.verbosity > 0});
}

TextOptions plain_text() { return {false, local_utc_offset_s()}; }

Environment environment(const Options& options, const ClusterNetworks& networks) {
  utsname system{};
  ::uname(&system);
  return {DROPTRACE_VERSION,
          system.nodename,
          std::string(system.sysname) + ' ' + system.release,
          describe(networks.service),
          describe(networks.pod),
          options.command_line};
}

std::string kubeconfig_of(const Options& options) {
  if (!options.names || !options.api) return "";
  return options.kubeconfig.empty() ? find_kubeconfig() : options.kubeconfig;
}

ClusterNetworks cluster_networks(const Options& options) {
  ClusterNetworks networks = find_cluster_networks();
  if (!options.service_cidrs.empty()) networks.service = {options.service_cidrs, "--service-cidr"};
  if (!options.pod_cidrs.empty()) networks.pod = {options.pod_cidrs, "--pod-cidr"};
  return networks;
}

std::string describe(const CidrList& list) {
  std::string text;
  for (const Cidr& cidr : list.cidrs) text += (text.empty() ? "" : ", ") + to_string(cidr);
  return text + " (" + list.source + ")";
}

BpfOptions bpf_options(const Options& options, const NodeScope& scope, const KernelTypes& types) {
  BpfOptions result;
  result.snaplen = options.snaplen;
  result.ring_bytes = options.ring_bytes;
  result.stack_always = options.stack;
  result.filter_netns = !options.all_netns;
  result.filter_cidrs = !options.all;
  result.has_reason = types.kfree_skb_has_reason;
  result.note_nat = types.has_conntrack;
  result.xt_tables = engine_allowed("counter") || engine_allowed("evaluated");
  result.note_icmp = types.tracepoints.contains("icmp_send");
  result.note_resets = types.tracepoints.contains("tcp_send_reset");
  result.prefixes = scope.prefixes();
  return result;
}

MetricsNow metrics_now(const Options& options, Totals totals, const BpfObject& bpf) {
  totals.programs = bpf.programs();
  return {std::move(totals), options.ring_bytes, bpf.ring_used_bytes(), DROPTRACE_VERSION};
}

std::vector<Cidr> all_cidrs(const ClusterNetworks& networks) {
  std::vector<Cidr> cidrs = networks.service.cidrs;
  cidrs.insert(cidrs.end(), networks.pod.cidrs.begin(), networks.pod.cidrs.end());
  return cidrs;
}

std::map<std::uint32_t, Watch> wanted_namespaces(const Options& options,
                                                 const std::set<std::uint32_t>& chosen,
                                                 const std::map<std::uint32_t, NetnsRef>& live,
                                                 const std::set<std::uint32_t>& hosts) {
  const Watch watch = options.all ? Watch::kEvery : Watch::kCluster;
  std::map<std::uint32_t, Watch> wanted;
  for (const std::uint32_t inum : chosen) wanted.emplace(inum, watch);
  if (!wanted.empty()) return wanted;
  for (const auto& [inum, ref] : live) wanted.emplace(inum, watch);
  for (const std::uint32_t inum : hosts) wanted.emplace(inum, Watch::kOwn);
  return wanted;
}

std::string describe_watched(const std::set<std::uint32_t>& watched,
                             const std::set<std::uint32_t>& hosts) {
  std::size_t own = watched.size();
  for (const std::uint32_t host : hosts) own -= watched.contains(host) ? 1 : 0;
  const std::string text = fmt::format("{} network namespace{}", own, own == 1 ? "" : "s");
  return own == watched.size() ? text : text + " and the Docker host's (for this node's packets)";
}

std::string_view describe_engine(const std::string& engine) {
  if (engine.empty()) return "no engine";
  return engine == "frame" ? "rules are read off nft_do_chain's frame"
                           : "rules are noted at their verdict, which costs every packet some";
}

void announce_ready(const std::string& path) {
  if (path.empty()) return;
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!file.valid())
    throw Error("cannot create --ready-file " + path + ": " + errno_text(errno) +
                ": give a path in a directory that can be written");
}

std::set<std::uint32_t> resolve_all(const std::vector<std::string>& arguments) {
  std::set<std::uint32_t> inums;
  for (const std::string& argument : arguments) {
    const auto inum = resolve_netns(argument);
    if (!inum)
      throw Error("--netns " + argument +
                  ": no such network namespace: give a path, a name under /run/netns or a number");
    inums.insert(*inum);
  }
  return inums;
}

KernelTypes types_with_privileges() {
  require_tracing_privileges();
  return read_kernel_types();
}

}  // namespace droptrace
