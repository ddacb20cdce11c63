// SPDX-License-Identifier: GPL-2.0-only
// Connection attempts on their way, and what becomes of them: answered, rejected, dropped, or
// nothing at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/decode.h"
#include "core/hop.h"

namespace droptrace {

enum class Outcome { kAnswered, kRejected, kDropped, kUnanswered };

// An attempt. Hops are those of its latest SYN, in order.
struct Attempted {
  std::uint32_t isn = 0;
  Tuple dialled;  // before NAT
  std::uint64_t first_ns = 0;
  std::uint64_t last_ns = 0;
  std::vector<Hop> hops;
  unsigned left_out = 0;     // hops beyond the bound
  unsigned syns = 0;         // seen where the first one was
  unsigned retransmits = 0;  // as the client's kernel says
  unsigned dropped = 0;      // packets of it that were dropped
  bool has_place = false;    // the first packet's place is known:
  Hop place;
  std::uint64_t answer_ns = 0;  // an answer has come back there, and no further SYN behind it
  bool answer_ignored = false;  // one has, and the client has gone on trying
  bool was_reset = false;
  bool refused = false;  // an ICMP error was sent
  bool established = false;
  bool closed = false;  // the client has given up
  bool reported = false;
  bool incomplete = false;  // hops were lost while it was under way
  // What the node's conntrack has of it: an entry, or for certain none.
  std::optional<Conntrack> entry;
  bool has_no_entry = false;

  // Which SYN the latest one is, 1 = first.
  unsigned syn() const;
  // What has become of it, as far as is known now.
  Outcome outcome() const;
  // The latest hop of a SYN; nullptr if no device has passed one.
  const Hop* last_syn() const;
  // The latest hop of the answer; nullptr if there was none.
  const Hop* last_answer() const;
};

// Bounded: beyond capacity the oldest attempts are forgotten, those that are over before others.
class Paths {
 public:
  explicit Paths(std::size_t capacity = 16384) : capacity_(capacity) {}
  Paths(const Paths&) = delete;
  Paths& operator=(const Paths&) = delete;

  // lost: hops that the kernel side has lost so far.
  void add(const Hop& hop, std::uint64_t lost);

  // The attempt of a dropped packet; nullptr if there is none. It has been dropped from now on.
  const Attempted* add_drop(const Record& record, bool answered, bool harmless);

  // Attempts that began so long ago and have come to nothing, and those that were answered after
  // all. Of what hops were lost of, only those whose client has shown that it is still trying.
  std::vector<Attempted> judge(std::uint64_t now_ns, std::uint64_t after_ns, std::uint64_t lost);

  // At the end: those that the client has given up, however long ago they began.
  std::vector<Attempted> judge_closed(std::uint64_t lost);

  // The latest attempt that dialled so; nullptr if there is none.
  const Attempted* find_dialled(const Tuple& dialled) const;

  // The hops of what is answered are wanted, too.
  void keep_hops() { keeps_hops_ = true; }

  // Attempts that are under way and have been for so long.
  std::vector<const Attempted*> pending(std::uint64_t now_ns, std::uint64_t for_ns) const;

  std::size_t size() const { return by_isn_.size(); }
  std::uint64_t forgotten() const { return forgotten_; }  // without having been judged
  std::uint64_t unknown() const { return unknown_; }      // not judged, as hops were lost

 private:
  struct Entry {
    Attempted attempt;
    std::uint64_t lost = 0;  // when it began
  };
  using List = std::list<Entry>;

  List::iterator find(std::uint32_t isn, const Tuple& there, const std::optional<Tuple>& original);
  List::iterator begin(const Hop& hop, std::uint64_t lost);
  void make_room();
  void erase(List& list, List::iterator entry);
  static bool is_silent(const Entry& entry);
  static void add_packet(Attempted& attempt, const Hop& hop);
  void note_answered(Attempted& attempt);
  bool is_known(Entry& entry, std::uint64_t lost);

  std::size_t capacity_;
  bool keeps_hops_ = false;
  std::uint64_t forgotten_ = 0;
  std::uint64_t unknown_ = 0;
  List open_;    // the oldest first
  List judged_;  // kept to be recognised
  std::unordered_multimap<std::uint32_t, List::iterator> by_isn_;
  std::vector<Attempted> answered_;
};

}  // namespace droptrace
