// SPDX-License-Identifier: GPL-2.0-only
#include "core/enrich.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/enriched.h"
#include "tests/support/pods.h"

namespace droptrace {
namespace {

Tuple tuple(std::string_view src, std::uint16_t sport, std::string_view dst, std::uint16_t dport) {
  return {{parse_address(src).value(), sport}, {parse_address(dst).value(), dport}, IPPROTO_TCP};
}

TEST_CASE("reason and location are named as the running kernel does") {
  const Drop drop = enriched(freed_by("nft_do_chain", kForwarding));
  CHECK(drop.reason == "NETFILTER_DROP");
  CHECK(drop.location == "nft_do_chain+0x3e8");
}

TEST_CASE("a kernel without reasons gives none, and an unknown location is its address") {
  const Drop drop = enriched(RecordBuilder{}.location(0x1234).packet(syn()));
  CHECK(drop.reason == "NO_REASON");
  CHECK(drop.location == "0x1234");
}

TEST_CASE("the time since boot becomes the time of day") {
  const Drop drop = enriched(RecordBuilder{}.time_ns(5'000), {.realtime_offset_ns = 1'000'000});
  CHECK(drop.time_ns == 1'005'000);
  CHECK(drop.record.boot_ns == 5'000);
}

TEST_CASE("the namespace, the other end of the veth and both addresses are named") {
  const Drop drop = enriched(
      RecordBuilder{}
          .netns(kNode)
          .device(7, "vetha1")
          .packet(PacketBuilder{}.ipv4("10.244.0.5", "10.96.100.10").tcp(40112, 80, kTcpSyn)));
  CHECK(drop.where == "node");
  CHECK(drop.peer == "netns:podA/eth0");
  CHECK(drop.src_class == AddressClass::kPod);
  CHECK(drop.dst_class == AddressClass::kService);
}

TEST_CASE("the owners of the packet's addresses and of the flow's are named") {
  World world = node_and_pod();
  world.own_netns = kNode;
  world.node_name = "kind-worker";
  world.workloads =
      workloads_of({pod("web-0", "10.244.0.5", kPod), pod("web-1", "10.244.0.6", kPod + 1)});
  const auto record =
      RecordBuilder{}
          .packet(PacketBuilder{}.ipv4("10.244.0.1", "10.244.0.6").tcp(1024, 8080, kTcpSyn))
          .conntrack(tuple("10.244.0.5", 40112, "10.96.100.10", 80),
                     tuple("10.244.0.6", 8080, "10.244.0.1", 1024));
  const Drop drop = enrich(decode_drop(record.bytes()).value(), world, kernel_names(), {});
  const auto name = [&drop](std::string_view address) {
    const Party* const party = drop.party(address_of(address));
    return party && party->owner ? to_string(*party->owner) : "";
  };
  CHECK(name("10.244.0.1") == "node/kind-worker");
  CHECK(name("10.244.0.5") == "p/data/web-0");
  CHECK(name("10.244.0.6") == "p/data/web-1");
  CHECK(name("10.96.100.10").empty());
}

TEST_CASE("a namespace that has but a number is described by a process in it") {
  World world = node_and_pod();
  Netns netns = *world.netns(kPod);
  netns.process = "nginx";
  world.namespaces[kPod] = std::make_shared<const Netns>(netns);
  const auto where_process = [&world] {
    const auto record = decode_drop(RecordBuilder{}.netns(kPod).bytes()).value();
    return enrich(record, world, kernel_names(), {}).where_process;
  };
  CHECK(where_process() == "nginx");
  world.workloads = workloads_of({pod("web-0", "10.244.0.5", kPod)});
  CHECK(where_process().empty());
}

TEST_CASE("what a record does not say stays unknown") {
  const Drop drop = enriched(RecordBuilder{});
  CHECK_FALSE(drop.where.has_value());
  CHECK_FALSE(drop.peer.has_value());
  CHECK_FALSE(drop.src_class.has_value());
  CHECK_FALSE(drop.dst_class.has_value());
  CHECK_FALSE(drop.comm.has_value());
  CHECK_FALSE(drop.netfilter.has_value());
  CHECK_FALSE(drop.attempt.has_value());
}

TEST_CASE("the stack is shown only if asked for, without the tracer's own frames") {
  const RecordBuilder record = freed_by("nft_do_chain", {"nf_hook_slow", "ip_forward"});
  CHECK(enriched(record).stack.empty());
  CHECK(enriched(record, {.stack = true}).stack ==
        std::vector<std::string>{"nft_do_chain+0x3e8", "nf_hook_slow+0x3e8", "ip_forward+0x3e8"});
}

TEST_CASE("a stack without the location is shown whole") {
  const std::vector<std::uint64_t> stack = {address_in("ip_rcv"), 0x1234};
  CHECK(enriched(RecordBuilder{}.location(address_in("tcp_v4_rcv")).stack(stack), {.stack = true})
            .stack == std::vector<std::string>{"ip_rcv+0x3e8", "0x1234"});
}

TEST_CASE("the current task is named only if it caused the drop") {
  CHECK(enriched(freed_by("tcp_v4_rcv", {"__x64_sys_sendmsg"}).task(5, "curl")).comm == "curl");
  CHECK_FALSE(enriched(freed_by("tcp_v4_rcv", kForwarding).task(5, "curl")).comm.has_value());
}

TEST_CASE("harmless drops are marked, a SYN's never") {
  const RecordBuilder record = freed_by("inet_sock_destruct", {}, kQueuePurge);
  CHECK_FALSE(enriched(RecordBuilder(record).packet(tcp(kTcpAck))).noise.empty());
  CHECK(enriched(record).noise.empty());
}

TEST_CASE("the SYNs of an attempt are counted with the timers of the client's namespace") {
  const World world = node_and_pod();
  Attempts attempts;
  Drop first = enriched(freed_by("nft_do_chain", kForwarding).time_ns(1'000'000'000));
  Drop second = enriched(freed_by("nft_do_chain", kForwarding).time_ns(2'000'000'000));
  count_attempt(first, attempts, world);
  count_attempt(second, attempts, world);
  REQUIRE(second.attempt.has_value());
  CHECK(second.attempt->syn == 2);
  CHECK(second.attempt->dropped_here == 2);
  CHECK(second.attempt->age_ns == 1'000'000'000);
  CHECK(second.attempt->gives_up_ns == 131'000'000'000);
}

TEST_CASE("a client that nobody here owns has no known timers") {
  Attempts attempts;
  Drop drop = enriched(RecordBuilder{}.packet(
      PacketBuilder{}.ipv4("172.18.0.9", "10.244.0.6").tcp(40112, 8080, kTcpSyn)));
  count_attempt(drop, attempts, node_and_pod());
  REQUIRE(drop.attempt.has_value());
  CHECK_FALSE(drop.attempt->gives_up_ns.has_value());
}

TEST_CASE("an attempt is the flow as dialled, whatever endpoint NAT chose") {
  const Tuple dialled = tuple("10.244.0.5", 40112, "10.96.100.10", 80);
  Attempts attempts;
  Drop before = enriched(RecordBuilder{}.packet(
      PacketBuilder{}.ipv4("10.244.0.5", "10.96.100.10").tcp(40112, 80, kTcpSyn, 7)));
  Drop after = enriched(RecordBuilder{}.packet(syn()).conntrack(
      dialled, tuple("10.244.0.6", 8080, "10.244.0.5", 40112)));
  count_attempt(before, attempts, node_and_pod());
  count_attempt(after, attempts, node_and_pod());
  CHECK(attempts.size() == 1);
  REQUIRE(after.attempt.has_value());
  CHECK(after.attempt->dropped == 2);
}

TEST_CASE("drops at different interfaces or functions are different places") {
  Attempts attempts;
  const auto here = [&](std::uint32_t ifindex, std::string_view ifname, std::string_view function) {
    Drop drop = enriched(freed_by(function, kForwarding).netns(kNode).device(ifindex, ifname));
    count_attempt(drop, attempts, node_and_pod());
    return drop.attempt.value().dropped_here;
  };
  CHECK(here(7, "vetha1", "nft_do_chain") == 1);
  CHECK(here(7, "vetha1", "nf_hook_slow") == 1);
  CHECK(here(2, "eth0", "nft_do_chain") == 1);
  CHECK(here(7, "vetha1", "nft_do_chain") == 2);
}

TEST_CASE("only SYNs whose ports and sequence number were captured are counted") {
  Attempts attempts;
  const auto is_counted = [&](const RecordBuilder& record) {
    Drop drop = enriched(record);
    count_attempt(drop, attempts, node_and_pod());
    return drop.attempt.has_value();
  };
  CHECK(is_counted(RecordBuilder{}.packet(syn())));
  CHECK_FALSE(is_counted(RecordBuilder{}.packet(tcp(kTcpSyn | kTcpAck))));
  CHECK_FALSE(is_counted(RecordBuilder{}.packet(tcp(kTcpAck))));
  CHECK_FALSE(is_counted(RecordBuilder{}.packet(syn()).snapped(24)));
  CHECK_FALSE(is_counted(RecordBuilder{}));
  CHECK(attempts.size() == 1);
}

TEST_CASE("a client that was told is not waiting to give up") {
  Attempts attempts;
  Drop drop = enriched(freed_by("nft_do_chain", kForwarding).answered_icmp(3, 3));
  count_attempt(drop, attempts, node_and_pod());
  REQUIRE(drop.attempt.has_value());
  CHECK(drop.attempt->syn == 1);
  CHECK_FALSE(drop.attempt->gives_up_ns.has_value());
}

}  // namespace
}  // namespace droptrace
