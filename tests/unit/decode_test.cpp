// SPDX-License-Identifier: GPL-2.0-only
#include "core/decode.h"

#include <netinet/in.h>

// Behind netinet/in.h, whose types it defines where nobody has yet.
#include <linux/netfilter.h>

#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "droptrace/event.h"

#include "tests/support/packet_builder.h"
#include "tests/support/record_builder.h"

namespace droptrace {
namespace {

Endpoint endpoint(std::string_view address, std::optional<std::uint16_t> port = std::nullopt) {
  return {parse_address(address).value(), port};
}

Record decoded(const RecordBuilder& builder) { return decode_drop(builder.bytes()).value(); }

TEST_CASE("a record's numbers are decoded as they are") {
  const Record record = decoded(RecordBuilder()
                                    .time_ns(1'234'567'890'123)
                                    .location(0xffffffff81f657b8)
                                    .reason(12)
                                    .cpu(3)
                                    .netns(4026532736)
                                    .sk_netns(4026532467)
                                    .device(7, "veth1a2b3c4d")
                                    .iif(5)
                                    .mark(0x4000)
                                    .task(815, "kindnetd"));
  CHECK(record.boot_ns == 1'234'567'890'123);
  CHECK(record.location == 0xffffffff81f657b8);
  CHECK(record.reason == 12);
  CHECK(record.cpu == 3);
  CHECK(record.netns == 4026532736);
  CHECK(record.sk_netns == 4026532467);
  CHECK(record.ifindex == 7);
  CHECK(record.ifname == "veth1a2b3c4d");
  CHECK(record.iif == 5);
  CHECK(record.mark == 0x4000);
  CHECK(record.tgid == 815);
  CHECK(record.comm == "kindnetd");
}

TEST_CASE("what the kernel side left zero is not known") {
  const Record record = decoded(RecordBuilder());
  CHECK(record.reason == std::nullopt);
  CHECK(record.netns == std::nullopt);
  CHECK(record.sk_netns == std::nullopt);
  CHECK(record.ifindex == std::nullopt);
  CHECK(record.iif == std::nullopt);
  CHECK(record.ifname.empty());
  CHECK(record.comm.empty());
  CHECK_FALSE(record.conntrack.has_value());
  CHECK(record.stack.empty());
  CHECK(record.bytes.empty());
}

TEST_CASE("a verdict that was noted says so, and of a queue it has the rule that queued") {
  dt_netfilter part{};
  part.kind = DT_NF_QUEUE_VERDICT;
  part.family = NFPROTO_INET;
  part.table = 3;
  part.rule = 42;
  part.queue = 101;
  part.has_queue = 1;
  CHECK_FALSE(decoded(RecordBuilder().netfilter(part)).netfilter.value().has_nft_rule());
  part.from_hook = 1;
  const NetfilterRecord record = decoded(RecordBuilder().netfilter(part)).netfilter.value();
  CHECK(record.from_hook);
  CHECK(record.has_nft_rule());
  CHECK(record.kind == NetfilterRecord::Kind::kQueueVerdict);
  CHECK(record.table == 3);
  CHECK(record.rule == 42);
  CHECK(record.queue == 101);
}

TEST_CASE("reason 0 is a reason if the kernel gave it") {
  CHECK(decoded(RecordBuilder().reason(0)).reason == 0);
}

TEST_CASE("names as long as their field need no NUL") {
  const Record record =
      decoded(RecordBuilder().device(2, "sixteen-letters!").task(1, "another-sixteen."));
  CHECK(record.ifname == "sixteen-letters!");
  CHECK(record.comm == "another-sixteen.");
}

TEST_CASE("only a whole record is a record") {
  std::vector<std::byte> bytes = RecordBuilder().bytes();
  CHECK(decode_drop(bytes).has_value());
  bytes.push_back(std::byte{0});
  CHECK_FALSE(decode_drop(bytes).has_value());
  bytes.resize(sizeof(dt_drop) - 1);
  CHECK_FALSE(decode_drop(bytes).has_value());
  CHECK_FALSE(decode_drop({}).has_value());
}

TEST_CASE("the stack has as many entries as the record says") {
  std::vector<std::uint64_t> stack(DT_STACK_DEPTH);
  std::iota(stack.begin(), stack.end(), 0xffffffff81000000);
  for (const std::size_t depth : {std::size_t{0}, std::size_t{1}, stack.size()}) {
    CAPTURE(depth);
    stack.resize(depth);
    CHECK(decoded(RecordBuilder().stack(stack)).stack == stack);
  }
}

TEST_CASE("a stack size that cannot be makes the record invalid") {
  const std::uint32_t whole = sizeof(dt_drop::stack);
  CHECK(decode_drop(RecordBuilder().stack_size(whole).bytes()).has_value());
  for (const std::uint32_t size : {1u, 7u, 9u, whole - 1, whole + 1, whole + 8,
                                   std::numeric_limits<std::uint32_t>::max() - 7}) {
    CAPTURE(size);
    CHECK_FALSE(decode_drop(RecordBuilder().stack_size(size).bytes()).has_value());
  }
}

TEST_CASE("more captured bytes than there is room for make the record invalid") {
  CHECK(decode_drop(RecordBuilder().snapped(DT_SNAPLEN_MAX).bytes()).has_value());
  CHECK_FALSE(decode_drop(RecordBuilder().snapped(DT_SNAPLEN_MAX + 1).bytes()).has_value());
  CHECK_FALSE(decode_drop(RecordBuilder().snapped(0xffff).bytes()).has_value());
}

TEST_CASE("the packet is parsed from the captured bytes") {
  const PacketBuilder syn =
      PacketBuilder().ipv4("10.244.0.5", "10.244.0.6").tcp(40000, 8181, kTcpSyn, 77);
  const Record record = decoded(RecordBuilder().packet(syn));
  CHECK(record.bytes == syn.bytes());
  CHECK(record.packet.length == syn.length());
  CHECK(record.packet.tuple() ==
        Tuple{endpoint("10.244.0.5", 40000), endpoint("10.244.0.6", 8181), IPPROTO_TCP});
  CHECK(record.packet.is_syn());
  CHECK(record.packet.seq == 77);
}

TEST_CASE("the protocol is in network order, so that ARP is recognised") {
  const PacketBuilder request = PacketBuilder().arp_request("10.244.0.1", "10.244.0.9");
  const Record record = decoded(RecordBuilder().packet(request));
  CHECK(record.packet.l3 == L3::kArp);
  CHECK(record.packet.dst == endpoint("10.244.0.9").address);
}

TEST_CASE("bytes behind the captured ones are not looked at") {
  const PacketBuilder syn = PacketBuilder().ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2, kTcpSyn);
  const Record record = decoded(RecordBuilder().packet(syn).snapped(20));
  CHECK(record.bytes.size() == 20);
  CHECK(record.packet.length == 40);
  CHECK(record.packet.protocol == IPPROTO_TCP);
  CHECK(record.packet.sport == std::nullopt);
}

TEST_CASE("conntrack tuples come in host order, with what NAT did") {
  const Tuple dialled{endpoint("10.244.0.5", 40000), endpoint("10.96.12.7", 8181), IPPROTO_TCP};
  const Tuple answer{endpoint("10.244.0.6", 80), endpoint("10.244.0.5", 40000), IPPROTO_TCP};
  const Record record = decoded(RecordBuilder().conntrack(dialled, answer, 0x120));
  REQUIRE(record.conntrack.has_value());
  CHECK(record.conntrack->original == dialled);
  CHECK(record.conntrack->reply == answer);
  CHECK(record.conntrack->status == 0x120);
  CHECK_FALSE(record.conntrack->reply_direction);
  CHECK(record.conntrack->has_nat());
}

TEST_CASE("a reply that is the original reversed had no NAT") {
  const Tuple dialled{endpoint("fd00:10:244::5", 40000), endpoint("fd00:10:244::6", 53),
                      IPPROTO_UDP};
  const Record record =
      decoded(RecordBuilder().conntrack(dialled, dialled.reversed()).reply_direction());
  REQUIRE(record.conntrack.has_value());
  CHECK(record.conntrack->original == dialled);
  CHECK(record.conntrack->reply_direction);
  CHECK_FALSE(record.conntrack->has_nat());
}

TEST_CASE("a source port that masquerading changed is NAT") {
  const Tuple dialled{endpoint("10.244.0.5", 40000), endpoint("1.1.1.1", 443), IPPROTO_TCP};
  Tuple answer = dialled.reversed();
  answer.dst.port = 1024;
  CHECK(decoded(RecordBuilder().conntrack(dialled, answer)).conntrack.value().has_nat());
}

TEST_CASE("what ICMP keeps in place of ports is not taken for ports") {
  const std::uint8_t protocols[] = {IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_GRE, IPPROTO_ESP};
  for (const std::uint8_t protocol : protocols) {
    CAPTURE(int{protocol});
    const Tuple query{endpoint("10.244.0.5", 0x1234), endpoint("10.244.0.6", 0x0800), protocol};
    const Tuple answer{endpoint("10.244.0.6", 0x1234), endpoint("10.244.0.5", 0), protocol};
    const Conntrack conntrack = decoded(RecordBuilder().conntrack(query, answer)).conntrack.value();
    CHECK(conntrack.original == Tuple{endpoint("10.244.0.5"), endpoint("10.244.0.6"), protocol});
    CHECK_FALSE(conntrack.has_nat());
  }
}

TEST_CASE("tuples of an unknown address family are not known") {
  const Tuple tuple{endpoint("10.0.0.1", 1), endpoint("10.0.0.2", 2), IPPROTO_TCP};
  const Record record =
      decoded(RecordBuilder().reason(2).conntrack(tuple, tuple.reversed()).conntrack_family(7));
  CHECK_FALSE(record.conntrack.has_value());
  CHECK(record.reason == 2);
}

dt_netfilter nft_rule_two_jumps_deep() {
  dt_netfilter part{};
  part.kind = DT_NF_NFT_RULE;
  part.family = NFPROTO_IPV4;
  part.table = 4;
  part.chain = 12;
  part.rule = 42;
  part.depth = 2;
  part.path[0] = {.chain = 2, .next_rule = 18};
  part.path[1] = {.chain = 10, .next_rule = 0};
  return part;
}

TEST_CASE("functions of a hook are read as far as there is room, and one only if it is alone") {
  dt_netfilter part{};
  part.has_hook = 1;
  part.functions = 200;
  part.has_function = 1;
  part.function[0] = 1;
  const NetfilterRecord many = decoded(RecordBuilder().netfilter(part)).netfilter.value();
  CHECK(many.functions.size() == DT_HOOK_FUNCTIONS);
  CHECK_FALSE(many.has_function);
  part.functions = 1;
  const NetfilterRecord one = decoded(RecordBuilder().netfilter(part)).netfilter.value();
  CHECK(one.functions == std::vector<std::uint64_t>{1});
  CHECK(one.has_function);
}

TEST_CASE("a record without netfilter's part has none") {
  CHECK_FALSE(decoded(RecordBuilder()).netfilter.has_value());
}

TEST_CASE("a rule comes with its handles and the jumps that led to it") {
  const Record record =
      decoded(RecordBuilder().netns(4026531840).netfilter(nft_rule_two_jumps_deep()));
  REQUIRE(record.netfilter.has_value());
  CHECK(record.netfilter->kind == NetfilterRecord::Kind::kNftRule);
  CHECK(record.netfilter->family == NfFamily::kIp);
  CHECK(record.netfilter->table == 4);
  CHECK(record.netfilter->chain == 12);
  CHECK(record.netfilter->rule == 42);
  REQUIRE(record.netfilter->path.size() == 2);
  CHECK(record.netfilter->path[0].chain == 2);
  CHECK(record.netfilter->path[0].next_rule == 18);
  CHECK(record.netfilter->path[1].chain == 10);
  CHECK(record.netfilter->path[1].next_rule == 0);
  CHECK_FALSE(record.netfilter->hook.has_value());
  CHECK_FALSE(record.netfilter->queue.has_value());
}

TEST_CASE("the hook's namespace is the packet's unless the kernel side names another") {
  dt_netfilter part = nft_rule_two_jumps_deep();
  CHECK(decoded(RecordBuilder().netns(100).netfilter(part)).netfilter.value().netns == 100);
  part.netns = 200;
  CHECK(decoded(RecordBuilder().netns(100).netfilter(part)).netfilter.value().netns == 200);
  CHECK(decoded(RecordBuilder().netfilter(part)).netfilter.value().netns == 200);
}

TEST_CASE("a path deeper than a record reaches is cut there") {
  dt_netfilter part = nft_rule_two_jumps_deep();
  part.depth = 255;
  CHECK(decoded(RecordBuilder().netfilter(part)).netfilter.value().path.size() == DT_PATH_DEPTH);
}

TEST_CASE("a hook is known even where the frame was not understood") {
  dt_netfilter part{};
  part.has_hook = 1;
  part.pf = NFPROTO_IPV4;
  part.hook = NF_INET_PRE_ROUTING;
  const Record record = decoded(RecordBuilder().netfilter(part));
  REQUIRE(record.netfilter.has_value());
  CHECK(record.netfilter->kind == NetfilterRecord::Kind::kNotFound);
  CHECK(record.netfilter->hook == Hook::kPrerouting);
  CHECK_FALSE(record.netfilter->family.has_value());
}

TEST_CASE("a hook number without the mark that it is valid means nothing") {
  dt_netfilter part = nft_rule_two_jumps_deep();
  part.pf = NFPROTO_IPV4;
  part.hook = NF_INET_FORWARD;
  CHECK_FALSE(decoded(RecordBuilder().netfilter(part)).netfilter.value().hook.has_value());
  part.has_hook = 1;
  CHECK(decoded(RecordBuilder().netfilter(part)).netfilter.value().hook == Hook::kForward);
}

TEST_CASE("policies and queues are told apart, and queue 0 is a queue") {
  dt_netfilter part{};
  part.kind = DT_NF_NFT_POLICY;
  CHECK(decoded(RecordBuilder().netfilter(part)).netfilter.value().kind ==
        NetfilterRecord::Kind::kNftPolicy);
  part.kind = DT_NF_QUEUE_VERDICT;
  part.has_queue = 1;
  const NetfilterRecord verdict = decoded(RecordBuilder().netfilter(part)).netfilter.value();
  CHECK(verdict.kind == NetfilterRecord::Kind::kQueueVerdict);
  CHECK(verdict.queue == 0);
  part.kind = DT_NF_QUEUE_FAILED;
  part.queue = 100;
  const NetfilterRecord failed = decoded(RecordBuilder().netfilter(part)).netfilter.value();
  CHECK(failed.kind == NetfilterRecord::Kind::kQueueFailed);
  CHECK(failed.queue == 100);
}

TEST_CASE("an ICMP error or a reset that was sent for the packet is its answer") {
  CHECK_FALSE(decoded(RecordBuilder()).answer.has_value());

  const Record told = decoded(RecordBuilder().answered_icmp(3, 13));
  REQUIRE(told.answer.has_value());
  CHECK_FALSE(told.answer->reset);
  CHECK(told.answer->icmp_type == 3);
  CHECK(told.answer->icmp_code == 13);

  const Record refused = decoded(RecordBuilder().answered_reset());
  REQUIRE(refused.answer.has_value());
  CHECK(refused.answer->reset);
}

}  // namespace
}  // namespace droptrace
