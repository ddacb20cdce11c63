// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/entry_test.h"

#include <netinet/in.h>

// Behind netinet/in.h, whose types it defines where nobody has yet.
#include <linux/netfilter.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel/error.h"
#include "kernel/files.h"
#include "kernel/netfilter_program.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/nft_netlink.h"

namespace droptrace {

namespace {

constexpr std::uint16_t kPort = 5555;
constexpr int kSteps = 4;                      // so many indexes are tried
constexpr std::int32_t kLast = 1'000'000'000;  // priority behind all others

// Why the engine cannot be used; caught inside this file.
class Refusal : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The functions of the test at the output hook of its namespace: the last one drops, those in front
// of it let packets pass. BPF programs where there are such; else, on kernels that leave it to
// nf_hook_slow to free what nf_tables drops, chains.
class Functions {
 public:
  explicit Functions(bool has_nft) : dropping_(NetfilterProgram::load(NF_DROP)) {
    passing_ = NetfilterProgram::load(NF_ACCEPT);
    if (dropping_ && passing_) {
      attach(*dropping_, kLast);
      return;
    }
    // To ask for it would load it.
    if (!has_nft) throw Refusal("no BPF programs at hooks, and nf_tables is not loaded");
    socket_ = NetlinkSocket::open(NETLINK_NETFILTER);
    const int error = socket_ ? load_test_rules(*socket_) : errno;
    if (error != 0) throw Refusal("nothing can be put at a hook: " + errno_text(error));
  }

  // How the symbol of the function that drops begins.
  std::string_view dropping() const { return socket_ ? "nft_do_chain" : "nf_hook_run_bpf"; }

  void add_passing() {
    ++count_;
    if (!socket_) return attach(*passing_, kLast - count_);
    if (const int error = load_passing_chain(*socket_, count_))
      throw Refusal("a chain cannot be loaded: " + errno_text(error));
  }

 private:
  void attach(const NetfilterProgram& program, std::int32_t priority) {
    UniqueFd link = program.attach_to_output(priority);
    if (!link.valid()) throw Refusal("a program cannot be attached: " + errno_text(errno));
    links_.push_back(std::move(link));
  }

  std::optional<NetfilterProgram> dropping_;
  std::optional<NetfilterProgram> passing_;
  std::optional<NetlinkSocket> socket_;  // of nf_tables, if that is used
  std::vector<UniqueFd> links_;
  int count_ = 0;  // of those that let packets pass
};

// The word nearest to the anchor that is the last entry's index each time.
std::optional<dt_entry_place> find_place(const std::vector<dt_frame_words>& frames) {
  const std::uint32_t anchor = frames.front().anchor;
  const bool anchored = anchor < DT_FRAME_WORDS && std::ranges::all_of(frames, [&](auto& frame) {
                          return frame.anchor == anchor;
                        });
  for (std::uint32_t word = anchored ? anchor : 0; word-- > 0;) {
    if (std::ranges::all_of(frames, [&](const dt_frame_words& frame) {
          return frame.word[word] + 1 == frame.entries;
        }))
      return dt_entry_place{anchor, word};
  }
  return std::nullopt;
}

// The test in its namespace.
class Trial {
 public:
  Trial(BpfObject& bpf, std::uint32_t netns, const OtherRecords& other)
      : bpf_(bpf), netns_(netns), other_(other), functions_(bpf.layout().nft_do_chain.start != 0) {
    if (const int error = bring_loopback_up())
      throw Refusal("the test namespace's loopback cannot be used: " + errno_text(error));
  }

  // Learns where the index is while the tracepoint has our program alone, and while it has two. No
  // two drops have the same index: what an earlier one left on the stack is not taken for it.
  void calibrate() {
    std::vector<dt_frame_words> alone;
    std::vector<dt_frame_words> in_company;
    for (int step = 0; step < kSteps; ++step) {
      functions_.add_passing();
      alone.push_back(frame_of_drop());
      if (!bpf_.set_company(true)) throw Refusal("no second program on kfree_skb");
      functions_.add_passing();
      in_company.push_back(frame_of_drop());
      bpf_.set_company(false);
    }
    const auto places = {find_place(alone), find_place(in_company)};
    dt_layout layout = bpf_.layout();
    std::ranges::transform(places, layout.entry,
                           [](const auto& place) { return place.value_or(dt_entry_place{}); });
    bpf_.set_layout(layout);
    if (!std::ranges::all_of(places, [](const auto& place) { return place.has_value(); }))
      throw Refusal("nf_hook_slow's frame is not understood");
  }

  void verify(const Symbols& symbols) {
    functions_.add_passing();
    for (const bool company : {true, false}) {
      bpf_.set_company(company);
      const dt_netfilter part = drop().netfilter;
      const auto symbol = symbols.find(part.function[0]);
      if (part.has_function == 0 || !symbol || symbol->offset != 0 ||
          !symbol->name.starts_with(functions_.dropping()))
        throw Refusal("the entry engine names the test's function wrong");
    }
  }

 private:
  dt_drop drop() {
    const auto found = drop_one(bpf_, netns_, kPort, other_);
    if (!found) throw Refusal("a drop of the test was not recorded");
    const dt_function& slow = bpf_.layout().nf_hook_slow;
    if (found->location < slow.start || found->location >= slow.end)
      throw Refusal("nf_hook_slow does not free what the test drops");
    if (found->netfilter.has_hook == 0) throw Refusal("nf_hook_slow's hook is not found");
    return *found;
  }

  dt_frame_words frame_of_drop() {
    drop();
    return bpf_.frame_words();
  }

  BpfObject& bpf_;
  std::uint32_t netns_;
  const OtherRecords& other_;
  Functions functions_;
};

}  // namespace

EntryReport test_entries(BpfObject& bpf, const Symbols& symbols, const OtherRecords& other) {
  const auto start = std::chrono::steady_clock::now();
  EntryReport report;
  try {
    if (bpf.layout().nf_hook_slow.start == 0) throw Refusal("the kernel hides its symbols");
    NetnsSwitch netns;
    const bool entered = netns.run_in_new([&] {
      dt_layout layout = bpf.layout();
      layout.test_netns = inode_of("/proc/self/ns/net").value_or(0);
      layout.calibrating = 1;
      bpf.set_layout(layout);
      Trial trial(bpf, layout.test_netns, other);
      trial.calibrate();
      trial.verify(symbols);
    });
    if (!entered) throw Refusal("no namespace for the test: " + errno_text(errno));
    report.known = true;
  } catch (const Refusal& refusal) {
    report.refusal = refusal.what();
  }
  bpf.set_company(false);
  dt_layout layout = bpf.layout();
  layout.test_netns = 0;
  layout.calibrating = 0;
  if (!report.known) std::ranges::fill(layout.entry, dt_entry_place{});
  bpf.set_layout(layout);
  report.duration_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace droptrace
