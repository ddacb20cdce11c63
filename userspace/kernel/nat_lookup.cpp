// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/nat_lookup.h"

#include <linux/netlink.h>
#include <netinet/in.h>

#include "kernel/conntrack.h"

namespace droptrace {

namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint64_t kTrustAnswerNs = 5 * kSecondNs;
constexpr std::size_t kAnswersMax = 4096;
constexpr std::size_t kQuestionsPerSecond = 500;  // some 20 us each: 1 % of the time

bool has_ports(std::uint8_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

}  // namespace

std::optional<Conntrack> NatLookup::find(const Record& record, const World& world,
                                         const std::map<std::uint32_t, NetnsRef>& live) {
  if (record.conntrack || !record.netns || !record.ifindex) return std::nullopt;
  const auto tuple = record.packet.tuple();
  if (!tuple || !has_ports(tuple->protocol) || !tuple->src.port || !tuple->dst.port)
    return std::nullopt;
  const Link* link = world.link(*record.netns, *record.ifindex);
  if (!link || !link->peer || !link->peer->netns) return std::nullopt;

  const auto key = std::pair{*link->peer->netns, *tuple};
  if (const auto known = answers_.find(key);
      known != answers_.end() && record.boot_ns - known->second.asked_ns < kTrustAnswerNs)
    return known->second.conntrack;
  if (record.boot_ns - second_ns_ >= kSecondNs) {
    second_ns_ = record.boot_ns;
    asked_ = 0;
  }
  if (asked_ >= kQuestionsPerSecond) {
    ++skipped_;
    return std::nullopt;
  }
  ++asked_;
  if (answers_.size() >= kAnswersMax) answers_.clear();
  const auto conntrack = ask(*tuple, key.first, live);
  answers_[key] = {conntrack, record.boot_ns};
  return conntrack;
}

std::optional<Conntrack> NatLookup::ask(const Tuple& tuple, std::uint32_t netns,
                                        const std::map<std::uint32_t, NetnsRef>& live) {
  if (netns == switch_.home()) {
    if (!home_socket_) home_socket_ = NetlinkSocket::open(NETLINK_NETFILTER);
    return home_socket_ ? find_conntrack(*home_socket_, tuple) : std::nullopt;
  }
  const auto ref = live.find(netns);
  if (ref == live.end()) return std::nullopt;
  std::optional<Conntrack> conntrack;
  switch_.run_in(ref->second.path, [&] {
    if (auto socket = NetlinkSocket::open(NETLINK_NETFILTER))
      conntrack = find_conntrack(*socket, tuple);
  });
  return conntrack;
}

}  // namespace droptrace
