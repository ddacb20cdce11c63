// SPDX-License-Identifier: GPL-2.0-only
// Chooses how rules are attributed, by trying it: drops packets by known rules in a namespace of
// our own and looks whether the kernel side names them right. Versions are never asked.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/symbols.h"
#include "kernel/bpf_object.h"
#include "kernel/kernel_types.h"
#include "kernel/test_packet.h"
#include "kernel/verdict_hook.h"

namespace droptrace {

// False if DROPTRACE_ENGINES, a list such as "frame,trace" for tests, is set and lacks the engine.
bool engine_allowed(std::string_view engine);

struct EngineReport {
  bool queues = false;  // NFQUEUE verdicts are read off the listener's frame
  // How nf_tables rules are named: "frame" (read off nft_do_chain's frame), "fentry" or "kprobe"
  // (noted at the verdict). Empty: not at all.
  std::string engine;
  std::vector<std::pair<std::string, std::string>> refusals;  // engine, and why it cannot be used
  std::unique_ptr<VerdictHook> hook;  // keep it as long as drops are to be named by it
  bool nft_frees = false;             // nf_tables frees what it drops itself
  double duration_ms = 0;
};

// Tells the kernel side where its functions are, and finds the first of the engines, in the order
// above, that names the test's drops right. other gets the records that are not the test's own. The
// namespace is gone when it returns; nothing outside it was touched.
EngineReport test_engines(BpfObject& bpf, const Symbols& symbols, const KernelTypes& types,
                          const OtherRecords& other);

}  // namespace droptrace
