// SPDX-License-Identifier: GPL-2.0-only
// Builds a test's drop: a packet, then what conntrack, the world and earlier drops add to it.
// What a test does not name is not known.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/address.h"
#include "core/drop.h"
#include "core/packet.h"
#include "tests/support/packet_builder.h"

namespace droptrace {

inline Endpoint endpoint(std::string_view address, std::optional<std::uint16_t> port = {}) {
  return {parse_address(address).value(), port};
}

// A rule by name; path holds the chains that lead to its own, which is the last.
inline RuleFacts rule_facts(std::string table, std::vector<std::string> path,
                            std::optional<unsigned> number, std::string text,
                            std::string comment = "") {
  RuleFacts facts;
  facts.table = std::move(table);
  facts.chain = path.back();
  facts.number = number;
  facts.text = std::move(text);
  facts.comment = std::move(comment);
  facts.path = std::move(path);
  return facts;
}

// What is known of a chain's policy.
inline RuleFacts chain_facts(std::string table, std::string chain) {
  RuleFacts facts;
  facts.table = std::move(table);
  facts.chain = std::move(chain);
  return facts;
}

class DropBuilder {
 public:
  static constexpr std::int64_t kStartNs = 1'763'830'984'123'456'789;  // 2025-11-22 17:03:04 UTC

  explicit DropBuilder(const PacketBuilder& packet) {
    drop_.record.bytes = packet.bytes();
    drop_.record.packet = parse_packet(drop_.record.bytes, packet.ethertype(), packet.length());
    after_ms(0);
    why("NETFILTER_DROP", "nft_do_chain+0x3e8");
  }

  DropBuilder& after_ms(std::int64_t ms) {
    drop_.time_ns = kStartNs + ms * 1'000'000;
    drop_.record.boot_ns = static_cast<std::uint64_t>(5'000'000'000 + ms * 1'000'000);
    return *this;
  }

  DropBuilder& why(std::string reason, std::string location) {
    drop_.reason = std::move(reason);
    drop_.location = std::move(location);
    return *this;
  }

  DropBuilder& reason_value(std::uint32_t value) {
    drop_.record.reason = value;
    return *this;
  }

  DropBuilder& in_netns(std::uint32_t inum, std::string where) {
    drop_.record.netns = inum;
    drop_.where = std::move(where);
    return *this;
  }

  DropBuilder& device(std::uint32_t ifindex, std::string ifname) {
    drop_.record.ifindex = ifindex;
    drop_.record.ifname = std::move(ifname);
    return *this;
  }

  DropBuilder& peer(std::string peer) {
    drop_.peer = std::move(peer);
    return *this;
  }

  // The packet's flow as the client dialled it, and who answers.
  DropBuilder& conntrack(Endpoint client, Endpoint dialled, Endpoint answers,
                         std::uint8_t protocol = IPPROTO_TCP) {
    drop_.record.conntrack = Conntrack{
        .original = {client, dialled, protocol},
        .reply = {answers, client, protocol},
    };
    return *this;
  }

  DropBuilder& in_reply_direction() {
    drop_.record.conntrack.value().reply_direction = true;
    return *this;
  }

  DropBuilder& classes(AddressClass src, AddressClass dst) {
    drop_.src_class = src;
    drop_.dst_class = dst;
    return *this;
  }

  DropBuilder& attempt(AttemptState state) {
    drop_.attempt = state;
    return *this;
  }

  // Netfilter dropped it. The setters below add to this what more is known of it.
  DropBuilder& netfilter(NetfilterBackend backend, std::optional<Hook> hook = {}) {
    drop_.netfilter.emplace();
    drop_.netfilter->backend = backend;
    drop_.netfilter->hook = hook;
    return *this;
  }

  // The rule is known by its number only.
  DropBuilder& handle(NfFamily family, std::uint64_t number) {
    NetfilterFacts& facts = drop_.netfilter.value();
    facts.family = family;
    facts.handle = number;
    facts.from_frame = true;
    return *this;
  }

  DropBuilder& rule(NfFamily family, std::uint64_t number, RuleFacts rule) {
    handle(family, number);
    drop_.netfilter->rule = std::move(rule);
    return *this;
  }

  DropBuilder& policy(NfFamily family, RuleFacts chain) {
    NetfilterFacts& facts = drop_.netfilter.value();
    facts.family = family;
    facts.policy = true;
    facts.rule = std::move(chain);
    facts.from_frame = true;
    return *this;
  }

  // A function of the hook dropped it.
  DropBuilder& function(std::string name) {
    drop_.netfilter.value().function = std::move(name);
    drop_.netfilter->from_frame = true;
    return *this;
  }

  // One of these did.
  DropBuilder& functions(std::vector<std::string> names) {
    drop_.netfilter.value().functions = std::move(names);
    return *this;
  }

  DropBuilder& queue(std::uint16_t number) {
    drop_.netfilter.value().queue = number;
    drop_.netfilter->from_frame = true;
    return *this;
  }

  DropBuilder& queue_failed() {
    drop_.netfilter.value().queue_failed = true;
    return *this;
  }

  DropBuilder& queue_owner(std::string comm) {
    drop_.netfilter.value().queue_owner = std::move(comm);
    return *this;
  }

  DropBuilder& pod_at(std::string_view address, std::string space, std::string name,
                      bool gone = false) {
    drop_.parties[parse_address(address).value()].owner =
        Owner{Owner::Kind::kPod, std::move(space), std::move(name), gone};
    return *this;
  }

  DropBuilder& node_at(std::string_view address, std::string name) {
    drop_.parties[parse_address(address).value()].owner =
        Owner{Owner::Kind::kNode, {}, std::move(name)};
    return *this;
  }

  DropBuilder& remote_pod_at(std::string_view address, std::string_view node) {
    drop_.parties[parse_address(address).value()].remote_node = parse_address(node).value();
    return *this;
  }

  DropBuilder& service(std::string service) {
    drop_.service = std::move(service);
    return *this;
  }

  DropBuilder& where_process(std::string comm) {
    drop_.where_process = std::move(comm);
    return *this;
  }

  DropBuilder& answer(std::string answer) {
    drop_.answer = std::move(answer);
    return *this;
  }

  DropBuilder& comm(std::string comm) {
    drop_.comm = std::move(comm);
    return *this;
  }

  DropBuilder& mark(std::uint32_t mark) {
    drop_.record.mark = mark;
    return *this;
  }

  // why must outlive the drop, as the table of noise does.
  DropBuilder& noise(std::string_view why) {
    drop_.noise = why;
    return *this;
  }

  DropBuilder& stack(std::vector<std::string> frames) {
    drop_.stack = std::move(frames);
    return *this;
  }

  Drop build() const { return drop_; }

 private:
  Drop drop_;
};

}  // namespace droptrace
