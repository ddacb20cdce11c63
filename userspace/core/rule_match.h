// SPDX-License-Identifier: GPL-2.0-only
// What a rule asks of a packet, as values, and whether a packet has it: yes, no, or not known.
// Pure.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"

namespace droptrace {

// Ordered, so that the least of several is what all of them together come to.
enum class Truth { kNo, kUnknown, kYes };

// A value of any field, made to compare byte by byte: numbers and IPv4 addresses stand at the end
// (big endian), names at the start.
using Key = std::array<std::uint8_t, 16>;
Key number_key(std::uint64_t number);
Key address_key(const Address& address);
// Cut off where the kernel does: interfaces have at most 15 bytes.
Key name_key(std::string_view name);

// Both ends are in it.
struct Range {
  Key first{};
  Key last{};
};

// A rule's "eth*"; the character at the end is '*' for nft and '+' for iptables.
Range name_range(std::string_view pattern, char wildcard);
// From the first to the last address of the network.
Range cidr_range(const Cidr& cidr);

enum class Field : std::uint8_t {
  kUnknown,  // one that we do not know, or cannot know
  kInName,
  kOutName,
  kNfproto,
  kL4proto,
  kMark,
  kSocketUser,
  kSrc,
  kDst,
  kSrcPort,
  kDstPort,
  kTcpFlags,
  kIcmpType,
  kIcmpCode,
  kCtState,   // NF_CT_STATE_BIT(): one bit for each state
  kCtStatus,  // IPS_*
  kCtDirection,
  kSrcType,  // RTN_*
  kDstType,
};

// A field of the packet, and what the packet must be to have it at all: where it has not, the rule
// does not match, negated or not.
struct Operand {
  Field field = Field::kUnknown;
  std::uint8_t protocol = 0;  // IPPROTO_* that it must have; 0: any
  std::uint8_t nfproto = 0;   // NFPROTO_IPV4 or _IPV6 that it must be; 0: either
  std::optional<std::uint32_t> mask = std::nullopt;  // compared are these bits only
};

// What a rule, or an element of a verdict map, has the packet do.
struct Verdict {
  enum class Kind : std::uint8_t {
    kContinue,
    kAccept,
    kDrop,
    kReject,
    kReturn,
    kJump,
    kGoto,
    kQueue,
    kUnknown,  // of an extension that we do not know: anything may come of it
  };
  Kind kind = Kind::kContinue;
  std::string chain;  // of kJump and kGoto
};

struct Element {
  std::vector<Range> parts;  // one for each operand; empty: we could not read it, so it may match
  Verdict verdict;           // of a verdict map
  bool catch_all = false;    // "*": the packet has it if it has no other
  std::string text;          // as nft prints it, with its comment and its verdict
};

struct ElementSet {
  std::vector<Element> elements;
  bool named = false;
  bool changes = false;  // packets and time add and remove elements: no dump says what it holds
};

// A set or a map and what is looked up in it.
struct SetLookup {
  std::vector<Operand> operands;
  std::shared_ptr<const ElementSet> set;  // nullptr: it is not in the dump
};

struct Match {
  enum class Test : std::uint8_t { kUnknown, kInRange, kAnyBit, kInSet };
  Test test = Test::kUnknown;
  bool negated = false;
  Operand operand;        // kAnyBit: the bits are its mask
  Range range;            // of kInRange
  SetLookup lookup = {};  // of kInSet
};

// What a rule does, as far as it matters to where packets end.
struct RuleLogic {
  std::vector<Match> matches;  // all of them must hold
  Verdict verdict;
  std::optional<SetLookup> map;  // it decides on the verdict; a packet that is not in it goes on
  bool sets_mark = false;
  bool alters = false;  // changes addresses or ports, other than by NAT
};

// A packet as it was when it was dropped; what is not known is absent.
struct PacketFacts {
  bool v6 = false;
  std::optional<Address> src;
  std::optional<Address> dst;
  std::optional<std::uint8_t> protocol;
  std::optional<std::uint16_t> sport;
  std::optional<std::uint16_t> dport;
  std::optional<std::uint8_t> tcp_flags;
  std::optional<std::uint8_t> icmp_type;
  std::optional<std::uint8_t> icmp_code;
  bool later_fragment = false;  // has no ports for rules to match
  std::optional<std::uint32_t> mark;
  std::uint32_t ct_states = 0;             // those it may be in, as bits; 0: not known
  std::optional<std::uint32_t> ct_status;  // IPS_* bits of its own conntrack entry
  std::optional<bool> ct_reply;
  std::optional<std::string> in;  // names of interfaces
  std::optional<std::string> out;
  std::optional<bool> has_socket;
  std::optional<bool> src_local;  // an address of the namespace itself
  std::optional<bool> dst_local;
};

Truth evaluate(const Match& match, const PacketFacts& packet);
// All of them.
Truth evaluate(const std::vector<Match>& matches, const PacketFacts& packet);
// What a packet finds in a set or map.
struct Found {
  bool known = true;                     // no: any element may be it, also one we do not know of
  const Element* sure = nullptr;         // the one that it has
  std::vector<const Element*> possible;  // others that it may have, if none is sure
};
Found find_elements(const SetLookup& lookup, const PacketFacts& packet);

}  // namespace droptrace
