// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/verdict_hook.h"

#include <fcntl.h>
#include <linux/netlink.h>

#include <cerrno>

#include <bpf/libbpf.h>

#include "droptrace_verdict.skel.h"

#include "kernel/error.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/nft_netlink.h"

namespace droptrace {

namespace {

// How many arguments __nft_trace_packet has: Linux 6.4 made them 5.
constexpr unsigned kArguments = 5;
constexpr unsigned kArgumentsPre64 = 3;

bpf_program* verdict_program(const droptrace_verdict& skeleton, VerdictHook::Kind kind,
                             unsigned arguments) {
  const bool fentry = kind == VerdictHook::Kind::kFentry;
  if (arguments == kArguments)
    return fentry ? skeleton.progs.dt_verdict_fentry : skeleton.progs.dt_verdict_kprobe;
  if (arguments == kArgumentsPre64)
    return fentry ? skeleton.progs.dt_verdict_fentry_pre_6_4
                  : skeleton.progs.dt_verdict_kprobe_pre_6_4;
  throw Error("__nft_trace_packet has " + std::to_string(arguments) + " arguments here");
}

}  // namespace

struct VerdictHook::Programs {
  droptrace_verdict* skeleton = nullptr;
  ~Programs() { droptrace_verdict__destroy(skeleton); }
};

VerdictHook::VerdictHook(Kind kind, const KernelTypes& types, int verdicts)
    : programs_(std::make_unique<Programs>()) {
  load(kind, types, verdicts);
  enable_calls();
}

VerdictHook::~VerdictHook() = default;

void VerdictHook::load(Kind kind, const KernelTypes& types, int verdicts) {
  if (!types.nft_trace_arguments)
    throw Error("the kernel's BTF does not have what nf_tables calls at a verdict");
  programs_->skeleton = droptrace_verdict__open();
  if (!programs_->skeleton) throw Error("cannot be opened: " + errno_text(errno));
  const droptrace_verdict& skeleton = *programs_->skeleton;
  bpf_program__set_autoload(verdict_program(skeleton, kind, *types.nft_trace_arguments), true);
  if (types.has_nf_queue)
    bpf_program__set_autoload(
        kind == Kind::kFentry ? skeleton.progs.dt_queued_fentry : skeleton.progs.dt_queued_kprobe,
        true);
  if (const int error = bpf_map__reuse_fd(skeleton.maps.dt_verdicts, verdicts))
    throw Error("cannot share its map: " + errno_text(-error));
  if (const int error = droptrace_verdict__load(programs_->skeleton))
    throw Error("cannot be loaded: " + errno_text(-error));
  if (const int error = droptrace_verdict__attach(programs_->skeleton))
    throw Error("cannot be attached: " + errno_text(-error));
}

void VerdictHook::enable_calls() {
  const NetnsSwitch netns;
  int error = 0;
  const bool entered = netns.run_in_new([&] {
    netns_ = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!netns_.valid()) {
      error = errno;
      return;
    }
    auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
    error = socket ? load_tracing_rule(*socket) : errno;
  });
  if (!entered) throw Error("no namespace for the rule that enables tracing: " + errno_text(errno));
  if (error != 0)
    throw Error("the rule that enables tracing cannot be loaded: " + errno_text(error));
}

}  // namespace droptrace
