// SPDX-License-Identifier: GPL-2.0-only
// The BPF side as the tracer sees it: configured, loaded, attached, drained.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "droptrace/event.h"

#include "core/drop_reason.h"
#include "core/scope.h"
#include "kernel/record_ring.h"
#include "kernel/watch_maps.h"

namespace droptrace {

struct BpfOptions {
  std::uint32_t snaplen = 128;
  std::uint32_t ring_bytes = 4U << 20U;  // a power of two and a multiple of the page size
  bool stack_always = false;
  bool filter_netns = true;  // only namespaces given to WatchMaps
  bool filter_cidrs = true;  // without filter_netns: only packets that touch the cluster's prefixes
  bool has_reason = true;    // the tracepoint has a reason argument
  bool note_nat = true;      // note what new connections were before NAT
  bool xt_tables = true;     // look at ip_tables
  bool peers = true;         // find the other ends of veths
  bool note_icmp = true;     // note ICMP errors that answer a packet
  bool note_resets = true;   // note TCP resets that answer a packet
  std::vector<WatchedPrefix> prefixes;
};

// The other end of a veth.
struct VethPeer {
  std::uint32_t netns = 0;
  std::uint32_t ifindex = 0;
  std::string ifname;

  bool operator==(const VethPeer&) const = default;
};

// Counters of the BPF side, over all CPUs.
struct BpfCounters {
  std::uint64_t seen = 0;             // drops in the whole kernel
  std::uint64_t other_netns = 0;      // passed over: not a watched namespace
  std::uint64_t other_addresses = 0;  // passed over: touches no watched CIDR
  std::uint64_t recorded = 0;
  std::map<std::string, std::uint64_t> lost;  // by cause
};

// Whether libbpf's messages go to standard error, or nowhere: for all objects.
void log_libbpf(bool wanted);

class BpfObject {
 public:
  // Loads the programs; nothing is attached yet. Throws Error (exit status 4 where the kernel or
  // the privileges are the reason).
  BpfObject(const WatchMaps& maps, const BpfOptions& options, const DropReasons& reasons);
  ~BpfObject();

  void attach();

  // Bytes of the ring buffer that wait to be read.
  std::uint64_t ring_used_bytes() const;

  // Readable when records wait; level-triggered for epoll.
  int epoll_fd() const;

  // Calls handle for each record that waits, at most limit of them. Returns how many there were.
  // The bytes are valid during the call only.
  std::size_t consume(const RecordRing::Handle& handle, std::size_t limit);

  // While true, the kernel side does not wake us for each record: we come back on a timer.
  void set_polling(bool polling);

  // Where this kernel keeps what it knows while it drops; see event.h.
  dt_layout layout() const;
  void set_layout(const dt_layout& layout);
  // The tables of ip_tables that the hooks of the thread's namespace call, or of the namespace of
  // an earlier list, without going there. nullopt if that one is gone, or if the kernel cannot
  // tell.
  std::optional<dt_xt_list> list_xt_tables(const dt_xt_list* earlier);
  // From now on, drops tell which of the table's rules has counted them. False if that cannot be.
  bool prime_xt_table(std::uint64_t info, const dt_xt_table& table);
  void forget_xt_table(std::uint64_t info);

  // The map in which programs on nf_tables' verdicts leave their notes; see VerdictHook.
  int verdicts_fd() const;

  // What the kernel side noted of a frame while layout().calibrating was set: of nft_do_chain's,
  // and of nf_hook_slow's.
  std::vector<dt_calibration> calibration() const;
  dt_frame_words frame_words() const;

  // While true, the mandatory program shares its tracepoint, as with another tracer. False if that
  // cannot be.
  bool set_company(bool company);

  // The other end of a veth of the thread's namespace; nullopt if there is none, or if the kernel
  // cannot tell.
  std::optional<VethPeer> find_peer(std::uint32_t ifindex) const;

  BpfCounters counters() const;

  // For programs() as well: what has become of a part that is loaded elsewhere.
  void set_state(const std::string& program, const std::string& state) {
    programs_[program] = state;
  }

  // Program name -> "attached", or why not.
  const std::map<std::string, std::string>& programs() const { return programs_; }

 private:
  // One try with these options. Returns 0 or an errno value.
  int load(const WatchMaps& maps, const BpfOptions& options, const DropReasons& reasons);

  struct State;
  std::unique_ptr<State> state_;
  std::map<std::string, std::string> programs_;
};

}  // namespace droptrace
