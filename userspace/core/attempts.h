// SPDX-License-Identifier: GPL-2.0-only
// Connection attempts: which SYN of which attempt a dropped packet is, and how long the client
// will go on trying.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/address.h"
#include "core/world.h"

namespace droptrace {

// An attempt is one 4-tuple as the client dialled it, before NAT, and one initial sequence number.
struct AttemptKey {
  Tuple dialled;
  std::uint32_t isn = 0;

  bool operator==(const AttemptKey&) const = default;
};

// What is known about the attempt once a drop has been added to it.
struct AttemptState {
  unsigned syn = 0;                          // which SYN this is, 1 = first
  unsigned dropped = 0;                      // SYNs of this attempt dropped so far
  unsigned dropped_here = 0;                 // of these, at the same place
  std::uint64_t age_ns = 0;                  // since the first SYN
  std::optional<std::uint64_t> gives_up_ns;  // ETIMEDOUT, counted from the first SYN
};

// When each SYN of an attempt is sent, in seconds from the first (index 0 is 0), and last when the
// client gives up. Follows tcp_retransmit_timer(): tcp_syn_linear_timeouts (Linux 6.5,
// ccce324dabfe) adds that many retries, one second apart, before the exponential back-off; a wait
// is at most 120 s (TCP_RTO_MAX).
std::vector<unsigned> syn_schedule(const SynTimers& timers);

// Bounded: beyond capacity the attempt that was quiet for longest is forgotten.
class Attempts {
 public:
  explicit Attempts(std::size_t capacity = 65536) : capacity_(capacity) {}
  Attempts(const Attempts&) = delete;
  Attempts& operator=(const Attempts&) = delete;

  // Adds a dropped SYN. place identifies where it died (equal text, equal place). timers are the
  // client's, if known. A log that starts in the middle of a hang cannot have seen the first SYN,
  // and records may be lost: the waits between the SYNs tell which ones they are, and the numbers
  // and ages follow. Where the waits tell nothing, or without timers, the SYNs are just counted.
  AttemptState add_drop(const AttemptKey& key, std::uint64_t time_ns, const std::string& place,
                        const std::optional<SynTimers>& timers);

  std::size_t size() const { return by_key_.size(); }
  // Attempts evicted to stay within capacity.
  std::uint64_t forgotten() const { return forgotten_; }

 private:
  struct Attempt {
    AttemptKey key;
    std::int64_t seen_ns = 0;          // the first SYN that was seen
    std::int64_t first_ns = 0;         // the first SYN that was sent, as far as the waits tell
    std::vector<std::int64_t> row_ns;  // the latest SYNs whose waits fit the schedule together
    unsigned row_lowest = 1;           // the lowest number that the first of them can have
    unsigned syn = 0;
    unsigned dropped = 0;
    std::map<std::string, unsigned> places;
  };
  struct KeyHash {
    std::size_t operator()(const AttemptKey& key) const;
  };

  Attempt& find_or_add(const AttemptKey& key, std::int64_t time_ns);
  static void number(Attempt& attempt, std::int64_t time_ns, const std::vector<unsigned>& schedule);

  std::size_t capacity_;
  std::uint64_t forgotten_ = 0;
  std::list<Attempt> by_age_;  // the most recently active first
  std::unordered_map<AttemptKey, std::list<Attempt>::iterator, KeyHash> by_key_;
};

}  // namespace droptrace
