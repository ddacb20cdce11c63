// SPDX-License-Identifier: GPL-2.0-only
// What was dialled, for packets that have crossed a veth: the crossing wipes skb->_nfct, but the
// conntrack table of the namespace at the other end still knows the connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "core/decode.h"
#include "core/world.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"

namespace droptrace {

class NatLookup {
 public:
  // The conntrack entry of the record's connection in the namespace at the other end of the veth it
  // came through; nullopt if there is none, the packet is not of a connection, or the budget of
  // questions per second is used up. live: namespaces that can be entered.
  std::optional<Conntrack> find(const Record& record, const World& world,
                                const std::map<std::uint32_t, NetnsRef>& live);

  // Connections that were not looked up because the budget was used up.
  std::uint64_t skipped() const { return skipped_; }

 private:
  struct Answer {
    std::optional<Conntrack> conntrack;
    std::uint64_t asked_ns = 0;
  };
  std::optional<Conntrack> ask(const Tuple& tuple, std::uint32_t netns,
                               const std::map<std::uint32_t, NetnsRef>& live);

  NetnsSwitch switch_;
  std::optional<NetlinkSocket> home_socket_;
  std::map<std::pair<std::uint32_t, Tuple>, Answer> answers_;
  std::uint64_t second_ns_ = 0;  // start of the second that asked_ counts
  std::size_t asked_ = 0;
  std::uint64_t skipped_ = 0;
};

}  // namespace droptrace
