// SPDX-License-Identifier: GPL-2.0-only
// Packets as rules see them, and rule sets to walk through, for tests of the evaluation.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "core/packet.h"
#include "core/rule_values.h"
#include "core/rule_walk.h"
#include "tests/support/rule_dumps.h"

namespace droptrace {

// A forwarded packet of a new connection of which all is known.
inline PacketFacts facts_of_packet(const std::string& src, const std::string& dst,
                                   std::uint8_t protocol, std::uint16_t dport) {
  PacketFacts facts;
  facts.src = parse_address(src).value();
  facts.dst = parse_address(dst).value();
  facts.v6 = facts.src->v6;
  facts.protocol = protocol;
  facts.sport = 40000;
  facts.dport = dport;
  if (protocol == IPPROTO_TCP) facts.tcp_flags = kTcpSyn;
  facts.mark = 0;
  facts.ct_states = kCtNew;
  facts.ct_status = 0;
  facts.ct_reply = false;
  facts.in = "eth0";
  facts.has_socket = false;
  facts.src_local = false;
  facts.dst_local = false;
  return facts;
}

inline PacketFacts tcp_to(const std::string& dst, std::uint16_t dport) {
  return facts_of_packet("10.244.0.9", dst, IPPROTO_TCP, dport);
}

inline Question dropped_at(Hook hook, PacketFacts packet) {
  Question question;
  question.hook = hook;
  question.packet = std::move(packet);
  return question;
}

inline SharedTables shared(std::vector<Table> tables) {
  return std::make_shared<const std::vector<Table>>(std::move(tables));
}

inline RuleWalker nft_walker(const std::string& dump) {
  return RuleWalker(shared(nft_dump(dump)), nullptr);
}

// The numbers of the rules that may have done it, as "CHAIN #N"; a policy is "CHAIN".
inline std::vector<std::string> names_of(const Walk& walk) {
  std::vector<std::string> names;
  for (const Candidate& each : walk.candidates) {
    names.push_back(each.chain->name);
    if (each.rule) names.back() += " #" + std::to_string(each.rule->number);
  }
  return names;
}

}  // namespace droptrace
