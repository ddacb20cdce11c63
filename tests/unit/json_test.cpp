// SPDX-License-Identifier: GPL-2.0-only
#include "sink/json.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include <doctest/doctest.h>

#include "tests/support/drop_builder.h"
#include "tests/support/golden.h"
#include "tests/support/sample_drops.h"

namespace droptrace {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
constexpr const char* kMaxText = "18446744073709551615";

std::string json_of(const Drop& drop) { return JsonSink().drop(drop); }

Totals some_totals() {
  Totals totals;
  totals.seen = 12;
  totals.shown = 9;
  totals.noise = 2;
  totals.filtered = 1;
  totals.lost = {{"recursion", 1}, {"ring_buffer_full", 11}};
  totals.programs = {{"drop", "attached"}, {"hook", "this kernel does not allow \"fentry\""}};
  return totals;
}

TEST_CASE("drops, losses and totals are objects as in the golden lines") {
  JsonSink sink;
  std::string lines;
  for (const Drop& drop : sample_drops()) lines += sink.drop(drop);
  lines += sink.lost(DropBuilder::kStartNs, {{"ring_buffer_full", 12}});
  lines += sink.summary(DropBuilder::kStartNs, some_totals());
  check_golden("drops.jsonl", lines);
}

TEST_CASE("whatever the names hold, a drop is one line of printable ASCII") {
  const std::string line = json_of(hostile_drop());
  CHECK(line.back() == '\n');
  CHECK(std::all_of(line.begin(), line.end() - 1,
                    [](char byte) { return byte >= 0x20 && byte < 0x7f; }));
}

TEST_CASE("names come back as they were, but for bytes that are not UTF-8") {
  const std::string line = json_of(hostile_drop());
  CHECK(json_field(line, "where") == "netns:\x1b]0;owned\x07");
  CHECK(json_field(line, "ifname") ==
        "a\"b\\c\xc2\x9b"
        "2J");
  CHECK(json_field(line, "comm") ==
        "\xef\xbf\xbd\xef\xbf\xbd sh\n\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

TEST_CASE("the owners of the packet's addresses are named, a pod that was deleted as gone") {
  const std::string line = json_of(named_syn(1, 0)
                                       .node_at("10.244.0.5", "kind-worker")
                                       .pod_at("10.244.0.6", "lake", "a", true)
                                       .build());
  CHECK(json_field(line, "src_name") == "node/kind-worker");
  CHECK(!json_field(line, "src_gone"));
  CHECK(json_field(line, "dst_name") == "p/lake/a");
  CHECK(json_field(line, "dst_gone") == "true");
}

TEST_CASE("a pod of another node has no name") {
  const std::string line =
      json_of(forwarded_syn().remote_pod_at("10.244.1.6", "172.18.0.3").build());
  CHECK(!json_field(line, "dst_name"));
}

TEST_CASE("a rule that was noted at its verdict is exact, and says how it was found") {
  DropBuilder builder = DropBuilder(PacketBuilder().ipv4("10.244.0.5", "10.244.0.6").udp(1, 2))
                            .netfilter(NetfilterBackend::kNfqueue, Hook::kPostrouting)
                            .rule(NfFamily::kInet, 7, rule_facts("policies", {"post"}, 2, "queue"))
                            .queue(101);
  Drop drop = builder.build();
  CHECK(json_field(json_of(drop), "netfilter.method") == "frame");
  drop.netfilter->from_frame = false;
  CHECK(json_field(json_of(drop), "netfilter.method") == "none");
  drop.netfilter->from_hook = true;
  const std::string line = json_of(drop);
  CHECK(json_field(line, "netfilter.method") == "hook");
  CHECK(json_field(line, "netfilter.confidence") == "exact");
  CHECK(json_field(line, "netfilter.rule_handle") == "7");
  CHECK(json_field(line, "netfilter.queue") == "101");
}

TEST_CASE("what is not known is absent") {
  const std::string line = json_of(Drop{});
  CHECK(line == R"({"schema":1,"type":"drop","time":"1970-01-01T00:00:00.000000000Z","boot_ns":0,)"
                R"("packet":{"l3":"other","length":0},"reason":"","location":""})"
                "\n");
}

TEST_CASE("the hook's function is exact, several are candidates") {
  const auto conntrack = [] {
    return DropBuilder(PacketBuilder()).netfilter(NetfilterBackend::kConntrack);
  };
  const std::string exact = json_of(conntrack().function("nf_confirm").build());
  CHECK(json_field(exact, "netfilter.backend") == "conntrack");
  CHECK(json_field(exact, "netfilter.function") == "nf_confirm");
  CHECK(json_field(exact, "netfilter.method") == "frame");
  CHECK(json_field(exact, "netfilter.confidence") == "exact");

  const std::string candidates = json_of(conntrack().functions({"nf_confirm"}).build());
  CHECK(candidates.find(R"("functions":["nf_confirm"])") != std::string::npos);
  CHECK(!json_field(candidates, "netfilter.function"));
  CHECK(json_field(candidates, "netfilter.method") == "none");
  CHECK(json_field(candidates, "netfilter.confidence") == "candidate");
}

TEST_CASE("a mark of zero and a flow without NAT are not mentioned") {
  const Endpoint client = endpoint("10.244.0.5", 40112);
  const Endpoint server = endpoint("10.244.0.6", 8080);
  const auto packet = PacketBuilder().ipv4("10.244.0.5", "10.244.0.6").tcp(40112, 8080, kTcpAck);
  const std::string line =
      json_of(DropBuilder(packet).mark(0).conntrack(client, server, server).build());
  CHECK(!json_field(line, "packet.mark"));
  CHECK(!json_field(line, "original.dst"));
}

TEST_CASE("IPv6 addresses are in RFC 5952 form without brackets") {
  const auto packet = PacketBuilder().ipv6("fd00:10:244:0:0:0:0:5", "::1").udp(1, 53);
  const std::string line =
      json_of(DropBuilder(packet)
                  .conntrack(endpoint("fd00:10:244::5", 1), endpoint("fd00:10:96::a", 53),
                             endpoint("::1", 53), IPPROTO_UDP)
                  .build());
  CHECK(json_field(line, "packet.l3") == "ipv6");
  CHECK(json_field(line, "packet.src") == "fd00:10:244::5");
  CHECK(json_field(line, "packet.dst") == "::1");
  CHECK(json_field(line, "original.dst") == "fd00:10:96::a");
  CHECK(json_field(line, "original.dport") == "53");
}

TEST_CASE("ARP has addresses and neither protocol nor ports") {
  const std::string line =
      json_of(DropBuilder(PacketBuilder().arp_request("10.244.0.1", "10.244.0.6")).build());
  CHECK(json_field(line, "packet.l3") == "arp");
  CHECK(json_field(line, "packet.src") == "10.244.0.1");
  CHECK(json_field(line, "packet.dst") == "10.244.0.6");
  CHECK(!json_field(line, "packet.proto"));
  CHECK(!json_field(line, "packet.sport"));
}

TEST_CASE("the packet of a reply is shown as it is, its flow as the client dialled it") {
  const auto packet =
      PacketBuilder().ipv4("10.244.0.6", "10.244.0.5").tcp(8080, 40112, kTcpSyn | kTcpAck);
  const std::string line =
      json_of(DropBuilder(packet)
                  .conntrack(endpoint("10.244.0.5", 40112), endpoint("10.96.100.10", 80),
                             endpoint("10.244.0.6", 8080))
                  .in_reply_direction()
                  .build());
  CHECK(json_field(line, "packet.src") == "10.244.0.6");
  CHECK(json_field(line, "packet.tcp_flags") == "S.");
  CHECK(json_field(line, "original.src") == "10.244.0.5");
  CHECK(json_field(line, "original.dst") == "10.96.100.10");
}

TEST_CASE("times are RFC 3339 in UTC with nanoseconds, before the epoch too") {
  Drop drop;
  drop.time_ns = DropBuilder::kStartNs;
  CHECK(json_field(json_of(drop), "time") == "2025-11-22T17:03:04.123456789Z");
  drop.time_ns = 1'709'164'800'000'000'001;
  CHECK(json_field(json_of(drop), "time") == "2024-02-29T00:00:00.000000001Z");
  drop.time_ns = -1;
  CHECK(json_field(json_of(drop), "time") == "1969-12-31T23:59:59.999999999Z");
}

TEST_CASE("counters keep all 64 bits") {
  Drop drop;
  drop.record.boot_ns = kMax;
  CHECK(json_field(json_of(drop), "boot_ns") == kMaxText);

  JsonSink sink;
  CHECK(json_field(sink.lost(0, {{"ring_buffer_full", kMax}}), "causes.ring_buffer_full") ==
        kMaxText);
  Totals totals;
  totals.seen = totals.shown = totals.noise = totals.filtered = kMax;
  totals.lost["ring_buffer_full"] = kMax;
  const std::string summary = sink.summary(0, totals);
  for (const char* name : {"seen", "shown", "noise", "filtered", "lost"}) {
    INFO(name);
    CHECK(json_field(summary, name) == kMaxText);
  }
}

TEST_CASE("a field is found by its dotted name") {
  const std::string line = json_of(service_syn(2, 1'021).noise("for this test").build());
  CHECK(json_field(line, "reason") == "NETFILTER_DROP");
  CHECK(json_field(line, "packet.dport") == "8080");
  CHECK(json_field(line, "attempt.syn") == "2");
  CHECK(json_field(line, "netfilter.hook") == "forward");
  CHECK(json_field(line, "noise") == "true");
}

TEST_CASE("a field that is absent or no scalar has no text") {
  const std::string line = json_of(hostile_drop());
  for (const char* name : {"", ".", "cause", "packet", "packet.", ".packet", "packet.cause",
                           "reason.name", "stack", "stack.0"}) {
    INFO(name);
    CHECK(!json_field(line, name));
  }
}

TEST_CASE("text that is no object has no fields") {
  for (const char* text : {"", "{", "null", "[1]", "7", "{\"reason\":null}"}) {
    INFO(text);
    CHECK(!json_field(text, "reason"));
  }
}

}  // namespace
}  // namespace droptrace
