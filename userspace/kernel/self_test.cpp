// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/self_test.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "droptrace/event.h"

#include "kernel/error.h"
#include "kernel/files.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/nft_netlink.h"
#include "kernel/test_packet.h"

namespace droptrace {

namespace {

constexpr std::uint16_t kPolicyPort = 5555;  // no rule drops it, so the policy does

// What ip_tables registers as hook functions: the first two and, for mangle, a wrapper; each table
// had a wrapper of its own before Linux 5.16 (8844e01062dd, "netfilter: iptables: allow use of
// ipt_do_table as hookfn").
constexpr const char* kXtFunctions[] = {
    "ipt_do_table",          "ip6t_do_table",         "iptable_mangle_hook", "ip6table_mangle_hook",
    "iptable_filter_hook",   "ip6table_filter_hook",  "iptable_raw_hook",    "ip6table_raw_hook",
    "iptable_security_hook", "ip6table_security_hook"};
static_assert(std::size(kXtFunctions) <= DT_XT_FUNCTIONS);

// Why an engine cannot be used; caught inside this file.
class Refusal : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

dt_function function_range(const Symbols& symbols, std::string_view name) {
  const auto range = symbols.range(name);
  return range ? dt_function{range->first, range->second} : dt_function{};
}

bool contains(const dt_function& function, std::uint64_t address) {
  return address >= function.start && address < function.end;
}

// The test in its namespace: what it set up, and the drops that it causes.
class Trial {
 public:
  Trial(BpfObject& bpf, std::uint32_t netns, const OtherRecords& other)
      : bpf_(bpf), netns_(netns), other_(other) {
    if (const int error = bring_loopback_up())
      throw Refusal("the test namespace's loopback cannot be used: " + errno_text(error));
    auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
    if (!socket) throw Refusal("no netfilter netlink: " + errno_text(errno));
    if (const int error = load_test_rules(*socket))
      throw Refusal("the test rules cannot be loaded: " + errno_text(error));
    const auto tables = read_nft_tables(*socket);
    if (!tables || tables->size() != 1) throw Refusal("the test rules cannot be read back");
    table_ = tables->front();
    dt_layout layout = bpf_.layout();
    layout.test_netns = netns;
    bpf_.set_layout(layout);
  }

  const Chain& chain(std::string_view name) const {
    for (const Chain& each : table_.chains) {
      if (each.name == name) return each;
    }
    throw Refusal("the test rules cannot be read back");
  }
  std::uint64_t table_handle() const { return table_.handle; }

  // Sends one packet that a rule or the policy drops in the sending system call. Its record may be
  // missing all the same: the program does not nest on a CPU.
  dt_drop drop_to(std::uint16_t port) const {
    const auto found = drop_one(bpf_, netns_, port, other_);
    if (!found) throw Refusal("a drop of the test was not recorded");
    return *found;
  }

 private:
  BpfObject& bpf_;
  std::uint32_t netns_;
  const OtherRecords& other_;
  Table table_;
};

std::string_view text_of(const char (&name)[DT_NAME_LENGTH]) {
  return {name, strnlen(name, sizeof(name))};
}

// Finds, in the frame of a drop two jumps deep, the jump stack.
void calibrate(BpfObject& bpf, dt_layout& layout) {
  const auto words = bpf.calibration();
  std::optional<std::uint32_t> jumpstack;
  for (std::uint32_t i = 0; i + 1 < words.size(); ++i) {
    if (!jumpstack && text_of(words[i].chain_of_rule) == kTestBaseChain &&
        text_of(words[i + 1].chain_of_rule) == kTestMiddleChain)
      jumpstack = i;
  }
  if (!jumpstack) throw Refusal("nft_do_chain's frame is not understood");
  layout.jumpstack = *jumpstack;
}

void require(bool fact, const char* what) {
  if (!fact) throw Refusal(std::string("it names the test's ") + what + " wrong");
}

// jump: what a step of the way holds, the rule behind the jump or the rule that jumped.
void verify(const Trial& trial, std::size_t jump) {
  const Chain& base = trial.chain(kTestBaseChain);
  const Chain& middle = trial.chain(kTestMiddleChain);
  const Chain& inner = trial.chain(kTestInnerChain);
  const dt_netfilter policy = trial.drop_to(kPolicyPort).netfilter;
  require(policy.kind == DT_NF_NFT_POLICY && policy.table == trial.table_handle() &&
              policy.chain == base.handle,
          "policy");
  const dt_netfilter rule = trial.drop_to(kTestDropPort).netfilter;
  require(rule.kind == DT_NF_NFT_RULE && rule.table == trial.table_handle() &&
              rule.chain == inner.handle && rule.rule == inner.rules.at(1).handle,
          "rule");
  require(rule.depth >= 2 && rule.path[0].chain == base.handle &&
              rule.path[0].next_rule == base.rules.at(jump).handle &&
              rule.path[1].chain == middle.handle &&
              rule.path[1].next_rule == middle.rules.at(jump).handle,
          "jumps");
}

void try_frame_engine(BpfObject& bpf, std::uint32_t netns, const OtherRecords& other,
                      bool& nft_frees) {
  const Trial trial(bpf, netns, other);
  dt_layout layout = bpf.layout();
  layout.calibrating = 1;
  bpf.set_layout(layout);
  const std::uint64_t policy_site = trial.drop_to(kPolicyPort).location;
  const std::uint64_t rule_site = trial.drop_to(kTestDropPort).location;
  nft_frees =
      contains(layout.nft_do_chain, policy_site) && contains(layout.nft_do_chain, rule_site);
  if (!nft_frees) throw Refusal("this kernel frees the packet after nft_do_chain has returned");
  if (policy_site == rule_site)
    throw Refusal("this kernel frees packets of rules and of policies in one place");
  // Worth knowing even if the frame is not understood: no rule drops anywhere else.
  layout.policy_site = policy_site;
  bpf.set_layout(layout);
  calibrate(bpf, layout);
  layout.calibrating = 0;
  layout.frame_known = 1;
  bpf.set_layout(layout);
  verify(trial, 1);
}

using TrialRun = std::function<void(std::uint32_t netns)>;

void run_trial(const TrialRun& run) {
  const NetnsSwitch netns;
  const bool entered =
      netns.run_in_new([&] { run(inode_of("/proc/thread-self/ns/net").value_or(0)); });
  if (!entered) throw Refusal("no namespace for the test: " + errno_text(errno));
}

// Only one engine at a time writes what it finds into the records.
void use_engine(BpfObject& bpf, bool frame, bool hook) {
  dt_layout layout = bpf.layout();
  layout.test_netns = 0;
  layout.calibrating = 0;
  layout.frame_known = frame ? 1 : 0;
  layout.verdicts_known = hook ? 1 : 0;
  bpf.set_layout(layout);
}

std::unique_ptr<VerdictHook> try_hook_engine(BpfObject& bpf, VerdictHook::Kind kind,
                                             const KernelTypes& types, const OtherRecords& other) {
  std::unique_ptr<VerdictHook> hook;
  try {
    hook = std::make_unique<VerdictHook>(kind, types, bpf.verdicts_fd());
  } catch (const Error& error) {
    throw Refusal(error.what());
  }
  use_engine(bpf, false, true);
  run_trial([&](std::uint32_t netns) { verify(Trial(bpf, netns, other), 0); });
  return hook;
}

void tell_functions(BpfObject& bpf, const Symbols& symbols) {
  dt_layout layout = bpf.layout();
  layout.nft_do_chain = function_range(symbols, "nft_do_chain");
  layout.nf_queue = function_range(symbols, "nf_queue");
  // Linux 6.10 moved it; before, nfqnl_reinject is what calls it.
  layout.reinject = function_range(symbols, "nf_reinject");
  if (layout.reinject.start == 0) layout.reinject = function_range(symbols, "nfqnl_reinject");
  layout.nf_hook_slow = function_range(symbols, "nf_hook_slow");
  std::ranges::transform(kXtFunctions, layout.xt_functions,
                         [&](const char* name) { return function_range(symbols, name).start; });
  layout.text_start = symbols.first_address();
  layout.functions_known = 1;
  bpf.set_layout(layout);
}

// For tests of what is left where no engine works in the kernel.
void forget_functions_if_unwanted(BpfObject& bpf) {
  for (const char* engine : {"frame", "fentry", "kprobe", "counter", "trace"}) {
    if (engine_allowed(engine)) return;
  }
  dt_layout layout = bpf.layout();
  layout.functions_known = 0;
  bpf.set_layout(layout);
}

}  // namespace

bool engine_allowed(std::string_view engine) {
  const char* engines = std::getenv("DROPTRACE_ENGINES");
  return !engines ||
         fmt::format(",{},", engines).find(fmt::format(",{},", engine)) != std::string::npos;
}

EngineReport test_engines(BpfObject& bpf, const Symbols& symbols, const KernelTypes& types,
                          const OtherRecords& other) {
  const auto start = std::chrono::steady_clock::now();
  EngineReport report;
  tell_functions(bpf, symbols);
  report.queues = bpf.layout().reinject.start != 0;

  const auto attempt = [&](const char* name, const std::function<void()>& engine) {
    if (!report.engine.empty() || !engine_allowed(name)) return;
    try {
      if (bpf.layout().nft_do_chain.start == 0)
        throw Refusal(symbols.size() == 0 ? "the kernel hides its symbols"
                                          : "nf_tables is not loaded");
      engine();
      report.engine = name;
    } catch (const Refusal& refusal) {
      report.refusals.emplace_back(name, refusal.what());
    }
  };
  attempt("frame", [&] {
    run_trial([&](std::uint32_t netns) { try_frame_engine(bpf, netns, other, report.nft_frees); });
  });
  attempt("fentry",
          [&] { report.hook = try_hook_engine(bpf, VerdictHook::Kind::kFentry, types, other); });
  attempt("kprobe",
          [&] { report.hook = try_hook_engine(bpf, VerdictHook::Kind::kKprobe, types, other); });
  use_engine(bpf, report.engine == "frame", report.hook != nullptr);
  forget_functions_if_unwanted(bpf);
  report.duration_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace droptrace
