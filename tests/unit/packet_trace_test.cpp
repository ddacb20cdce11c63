// SPDX-License-Identifier: GPL-2.0-only
#include "core/packet_trace.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/packet_builder.h"

namespace droptrace {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Path = std::vector<std::string>;

constexpr std::uint32_t kNode = 4026531840;
constexpr std::uint32_t kPod = 4026532000;
constexpr std::uint64_t kSecond = 1'000'000'000;

Bytes syn(std::uint16_t sport) {
  return PacketBuilder().ipv4("10.244.0.5", "10.244.0.6").tcp(sport, 8080, kTcpSyn).bytes();
}

Bytes syn6(std::uint16_t sport) {
  return PacketBuilder().ipv6("fd00:10:244::5", "fd00:10:244::6").tcp(sport, 80, kTcpSyn).bytes();
}

std::string identity(const Bytes& packet) { return packet_identity(packet).value(); }

// The messages of one packet in one base chain.
class Way {
 public:
  Way(PacketTraces& traces, std::uint32_t id, Bytes packet, std::string table = "filter",
      unsigned nfproto = NFPROTO_IPV4)
      : traces_(traces),
        id_(id),
        packet_(std::move(packet)),
        table_(std::move(table)),
        nfproto_(nfproto) {}

  Way& at(std::uint64_t time_ns) {
    now_ns_ = time_ns;
    return *this;
  }
  Way& in(std::uint32_t netns) {
    netns_ = netns;
    return *this;
  }

  Way& verdict(const char* chain, std::uint64_t rule, std::int64_t code, const char* target = "") {
    TraceMessage message = begin(chain);
    message.rule = rule;
    message.verdict = static_cast<std::uint32_t>(code);
    message.target = target;
    return send(std::move(message));
  }
  Way& matches(const char* chain, std::uint64_t rule) { return verdict(chain, rule, NFT_CONTINUE); }
  Way& jumps(const char* chain, std::uint64_t rule, const char* target) {
    return verdict(chain, rule, NFT_JUMP, target);
  }
  Way& chain_ends(const char* chain) {
    TraceMessage message = begin(chain);
    message.verdict = static_cast<std::uint32_t>(NFT_CONTINUE);
    return send(std::move(message));
  }
  Way& policy(const char* chain, std::uint32_t code) {
    TraceMessage message = begin(chain);
    message.policy = code;
    return send(std::move(message));
  }

 private:
  TraceMessage begin(const char* chain) {
    TraceMessage message;
    message.id = id_;
    message.nfproto = nfproto_;
    message.table = table_;
    message.chain = chain;
    if (!std::exchange(told_, true)) {
      const auto header = nfproto_ == NFPROTO_IPV6 ? 40 : 20;
      message.network.assign(packet_.begin(), packet_.begin() + header);
      message.transport.assign(packet_.begin() + header, packet_.begin() + header + 20);
    }
    return message;
  }
  Way& send(const TraceMessage& message) {
    traces_.add(netns_, message, now_ns_);
    return *this;
  }

  PacketTraces& traces_;
  std::uint32_t id_;
  Bytes packet_;
  std::string table_;
  unsigned nfproto_;
  std::uint32_t netns_ = kNode;
  std::uint64_t now_ns_ = kSecond;
  bool told_ = false;
};

std::optional<TracedVerdict> drop_of(PacketTraces& traces, const Bytes& packet,
                                     std::uint64_t now_ns = kSecond) {
  return traces.take(kNode, identity(packet), false, now_ns);
}

std::optional<TracedVerdict> queue_of(PacketTraces& traces, const Bytes& packet,
                                      std::uint64_t now_ns = kSecond) {
  return traces.take(kNode, identity(packet), true, now_ns);
}

TEST_CASE("the path is the jumps that have not returned") {
  PacketTraces traces;
  Way(traces, 1, syn(40000))
      .jumps("FORWARD", 5, "ONE")
      .jumps("ONE", 6, "BESIDE")
      .matches("BESIDE", 7)
      .chain_ends("BESIDE")
      .jumps("ONE", 8, "TWO")
      .verdict("TWO", 9, NFT_RETURN)
      .jumps("ONE", 10, "THREE")
      .verdict("THREE", 11, NF_DROP);
  const auto verdict = drop_of(traces, syn(40000));
  REQUIRE(verdict);
  CHECK(verdict->table == "filter");
  CHECK(verdict->chain == "THREE");
  CHECK(verdict->rule == 11U);
  CHECK(verdict->path == Path{"FORWARD", "ONE", "THREE"});
  CHECK_FALSE(drop_of(traces, syn(40000)));  // told once
}

TEST_CASE("a goto is on the path until its chain ends") {
  PacketTraces traces;
  Way(traces, 1, syn(40000))
      .jumps("FORWARD", 5, "ONE")
      .verdict("ONE", 6, NFT_GOTO, "TWO")
      .verdict("TWO", 7, NF_DROP);
  CHECK(drop_of(traces, syn(40000))->path == Path{"FORWARD", "ONE", "TWO"});
  Way(traces, 1, syn(40001))
      .jumps("FORWARD", 5, "ONE")
      .verdict("ONE", 6, NFT_GOTO, "TWO")
      .chain_ends("TWO")
      .matches("FORWARD", 8)
      .policy("FORWARD", NF_DROP);
  const auto verdict = drop_of(traces, syn(40001));
  CHECK_FALSE(verdict->rule);
  CHECK(verdict->path == Path{"FORWARD"});
}

TEST_CASE("a verdict without the messages before it has no path") {
  PacketTraces traces;
  Way(traces, 1, syn(40000)).jumps("FORWARD", 5, "ONE").verdict("THREE", 11, NF_DROP);
  const auto verdict = drop_of(traces, syn(40000));
  REQUIRE(verdict);
  CHECK(verdict->rule == 11U);
  CHECK(verdict->path.empty());
}

TEST_CASE("what is accepted, or dropped by our own table, is no verdict") {
  PacketTraces traces;
  Way(traces, 1, syn(40000)).verdict("FORWARD", 5, NF_ACCEPT);
  Way(traces, 1, syn(40000)).policy("FORWARD", NF_ACCEPT);
  Way(traces, 1, syn(40000), kTraceTable).verdict("prerouting", 5, NF_DROP);
  CHECK_FALSE(drop_of(traces, syn(40000)));
}

TEST_CASE("a drop is matched by namespace and headers") {
  PacketTraces traces;
  Way(traces, 1, syn(40000)).verdict("FORWARD", 5, NF_DROP);
  Way(traces, 1, syn(40001)).in(kPod).verdict("FORWARD", 6, NF_DROP);
  CHECK_FALSE(drop_of(traces, syn(40002)));
  CHECK_FALSE(drop_of(traces, syn(40001)));
  Bytes forwarded = syn(40000);
  forwarded[8] -= 1;   // a router counts the hops,
  forwarded[10] ^= 1;  // and the checksum follows
  CHECK(drop_of(traces, forwarded)->rule == 5U);
}

TEST_CASE("packets of IPv6 are matched as well") {
  PacketTraces traces;
  Way(traces, 1, syn6(40000), "filter", NFPROTO_IPV6).verdict("FORWARD", 5, NF_DROP);
  CHECK_FALSE(drop_of(traces, syn6(40001)));
  CHECK(drop_of(traces, syn6(40000))->rule == 5U);
}

TEST_CASE("packets that look the same and died by different rules are not told apart") {
  PacketTraces traces;
  Way(traces, 1, syn(40000)).verdict("FORWARD", 5, NF_DROP);
  Way(traces, 2, syn(40000)).verdict("FORWARD", 6, NF_DROP);
  CHECK_FALSE(drop_of(traces, syn(40000)));
  Way(traces, 1, syn(40000)).verdict("FORWARD", 5, NF_DROP);
  Way(traces, 2, syn(40000)).verdict("FORWARD", 5, NF_DROP);
  CHECK(drop_of(traces, syn(40000)));
  CHECK(drop_of(traces, syn(40000)));
}

TEST_CASE("a drop that is long past is not this one") {
  PacketTraces traces;
  Way(traces, 1, syn(40000)).verdict("FORWARD", 5, NF_DROP);
  CHECK_FALSE(drop_of(traces, syn(40000), 7 * kSecond));
}

TEST_CASE("a packet in a queue was put there by a rule, however long ago") {
  PacketTraces traces;
  Way(traces, 1, syn(40000), "mangle").verdict("POSTROUTING", 5, 101 << 16 | 0x8000 | NF_QUEUE);
  CHECK_FALSE(drop_of(traces, syn(40000), 9 * kSecond));
  const auto verdict = queue_of(traces, syn(40000), 9 * kSecond);
  REQUIRE(verdict);
  CHECK(verdict->rule == 5U);
  CHECK(verdict->queue == 101);
}

TEST_CASE("a rule behind the queue outweighs the rule that queued") {
  PacketTraces traces;
  Way(traces, 1, syn(40000), "mangle").verdict("POSTROUTING", 5, 101 << 16 | NF_QUEUE);
  Way(traces, 1, syn(40000), "late").verdict("post", 6, NF_DROP);
  const auto verdict = queue_of(traces, syn(40000));
  REQUIRE(verdict);
  CHECK(verdict->table == "late");
  CHECK_FALSE(verdict->queue);
}

TEST_CASE("headers that are cut name no packet") {
  const Bytes packet = syn(40000);
  CHECK_FALSE(packet_identity({}));
  CHECK_FALSE(packet_identity(std::span(packet).first(19)));
  CHECK_FALSE(packet_identity(std::span(packet).first(30)));
  CHECK(packet_identity(std::span(packet).first(40)));
}

Table table(NfFamily family, std::uint64_t handle, std::vector<std::uint64_t> rules) {
  Chain forward;
  forward.name = "FORWARD";
  forward.handle = 1;
  forward.hook = Hook::kForward;
  for (const std::uint64_t each : rules) {
    forward.rules.emplace_back();
    forward.rules.back().handle = each;
  }
  Table result;
  result.family = family;
  result.name = "filter";
  result.handle = handle;
  result.chains = {forward};
  return result;
}

TEST_CASE("a verdict is placed by the names of its table and chain") {
  const Ruleset rules{
      {table(NfFamily::kIp6, 3, {5}), table(NfFamily::kIp, 4, {5}), table(NfFamily::kInet, 5, {6})},
      {}};
  NetfilterRecord record;
  const auto facts =
      place_verdict(record, {NFPROTO_IPV4, "filter", "FORWARD", 5, {}, {"FORWARD"}}, rules);
  REQUIRE(facts);
  CHECK(record.family == NfFamily::kIp);
  CHECK(record.table == 4);
  CHECK(record.hook == Hook::kForward);
  CHECK(facts->path == Path{"FORWARD"});
}

TEST_CASE("a verdict that two tables could have given is not placed") {
  const Ruleset rules{{table(NfFamily::kIp, 4, {5}), table(NfFamily::kInet, 5, {5})}, {}};
  NetfilterRecord record;
  CHECK_FALSE(place_verdict(record, {NFPROTO_IPV4, "filter", "FORWARD", 5, {}, {}}, rules));
  CHECK_FALSE(place_verdict(record, {NFPROTO_IPV4, "filter", "FORWARD", 7, {}, {}}, rules));
  CHECK_FALSE(place_verdict(record, {NFPROTO_IPV4, "filter", "FORWARD", {}, {}, {}}, rules));
  CHECK(record.table == 0);
}

}  // namespace
}  // namespace droptrace
