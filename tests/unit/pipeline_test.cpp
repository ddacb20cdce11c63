// SPDX-License-Identifier: GPL-2.0-only
#include "pipeline.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "sink/json.h"
#include "sink/text.h"
#include "tests/support/record_builder.h"

namespace droptrace {
namespace {

constexpr std::uint32_t kNetfilterDrop = 12;
constexpr std::uint32_t kQueuePurge = 77;  // harmless, unless the packet is a SYN

PacketBuilder tcp(std::uint8_t flags) {
  return PacketBuilder().ipv4("10.244.0.5", "10.244.0.6").tcp(40112, 8080, flags, 7);
}

RecordBuilder syn() { return RecordBuilder().reason(kNetfilterDrop).packet(tcp(kTcpSyn)); }

RecordBuilder harmless() { return RecordBuilder().reason(kQueuePurge).packet(tcp(kTcpAck)); }

// A pipeline with its options, in a world of which nothing is known.
class Run {
 public:
  explicit Run(Options options = {})
      : options_(std::move(options)), pipeline_(options_, make_sink(), reasons()) {}

  std::string add(const RecordBuilder& record) {
    return pipeline_.add(decode_drop(record.bytes()).value(), World());
  }

  bool shows(const PacketBuilder& packet) {
    return !add(RecordBuilder().reason(kNetfilterDrop).packet(packet)).empty();
  }

  Pipeline* operator->() { return &pipeline_; }

 private:
  std::unique_ptr<Sink> make_sink() const {
    if (options_.output == OutputFormat::kText) return std::make_unique<TextSink>(TextOptions());
    return std::make_unique<JsonSink>();
  }

  static DropReasons reasons() {
    return DropReasons({{"skb_drop_reason",
                         {{"SKB_DROP_REASON_NETFILTER_DROP", kNetfilterDrop},
                          {"SKB_DROP_REASON_QUEUE_PURGE", kQueuePurge}}}});
  }

  Options options_;
  Pipeline pipeline_;
};

Options json_output() {
  Options options;
  options.output = OutputFormat::kJson;
  return options;
}

Options expecting(std::vector<std::pair<std::string, std::string>> fields) {
  Options options = json_output();
  options.expect_drop = std::move(fields);
  return options;
}

TEST_CASE("a shown drop is the sink's text, enriched and numbered") {
  Run run(json_output());
  run.add(syn());
  const std::string line = run.add(syn());
  CHECK(json_field(line, "reason") == "NETFILTER_DROP");
  CHECK(json_field(line, "attempt.syn") == "2");
  CHECK(run->totals().seen == 2);
  CHECK(run->totals().shown == 2);
}

TEST_CASE("symbols and the time of day count from when they are known") {
  Run run(json_output());
  CHECK(json_field(run.add(syn().location(0xffffffff81000010)), "location") ==
        "0xffffffff81000010");
  SymbolsBuilder symbols;
  symbols.add("ffffffff81000000 T nft_do_chain\n");
  run->use_symbols(std::move(symbols).build());
  run->set_realtime_offset(1'000'000'000);
  const std::string line = run.add(syn().location(0xffffffff81000010));
  CHECK(json_field(line, "location") == "nft_do_chain+0x10");
  CHECK(json_field(line, "time") == "1970-01-01T00:00:01.000000000Z");
}

TEST_CASE("harmless drops are counted and shown only on demand") {
  Options options;
  SUBCASE("by default they are hidden") {
    Run run(options);
    CHECK(run.add(harmless()).empty());
    CHECK(run->totals().seen == 1);
    CHECK(run->totals().noise == 1);
    CHECK(run->totals().shown == 0);
  }
  SUBCASE("--noise shows them, and they are drops like others") {
    options.noise = true;
    Run run(options);
    CHECK_FALSE(run.add(harmless()).empty());
    CHECK(run->totals().noise == 0);
    CHECK(run->totals().shown == 1);
  }
}

TEST_CASE("what FILTER does not match is counted as filtered, harmless or not") {
  Options options;
  options.filter = "tcp port 9";
  Run run(options);
  CHECK(run.add(syn()).empty());
  CHECK(run.add(harmless()).empty());
  CHECK(run.shows(PacketBuilder().ipv4("10.0.0.1", "10.0.0.2").tcp(40112, 9, kTcpSyn)));
  CHECK(run->totals().seen == 3);
  CHECK(run->totals().filtered == 2);
  CHECK(run->totals().noise == 0);
  CHECK(run->totals().shown == 1);
}

TEST_CASE("SYNs that FILTER hides count in their attempt") {
  Options options = json_output();
  options.filter = "ip[8] = 63";
  Run run(options);
  CHECK_FALSE(run.shows(tcp(kTcpSyn)));
  const std::string line = run.add(RecordBuilder().packet(
      PacketBuilder().ipv4("10.244.0.5", "10.244.0.6", {.ttl = 63}).tcp(40112, 8080, kTcpSyn, 7)));
  CHECK(json_field(line, "attempt.syn") == "2");
}

TEST_CASE("a FILTER that libpcap does not take is an error before the first drop") {
  Options options;
  options.filter = "port nowhere at all";
  CHECK_THROWS_AS(Run{options}, FilterError);
}

TEST_CASE("--syn leaves attempts and what answers them") {
  Options options;
  options.syn_only = true;
  Run run(options);
  const auto ipv4 = PacketBuilder().ipv4("10.0.0.1", "10.0.0.2");
  const auto ipv6 = PacketBuilder().ipv6("fd00::1", "fd00::2");
  CHECK(run.shows(tcp(kTcpSyn)));
  CHECK(run.shows(tcp(kTcpSyn | kTcpAck)));
  CHECK(run.shows(tcp(kTcpRst)));
  CHECK(run.shows(tcp(kTcpRst | kTcpAck)));
  CHECK(run.shows(PacketBuilder(ipv4).icmp(3, 3)));
  CHECK(run.shows(PacketBuilder(ipv6).icmpv6(1, 4)));
  CHECK(run.shows(PacketBuilder(ipv6).icmpv6(2, 0)));
  CHECK(run->totals().filtered == 0);

  CHECK_FALSE(run.shows(tcp(kTcpAck)));
  CHECK_FALSE(run.shows(tcp(kTcpFin | kTcpAck)));
  CHECK_FALSE(run.shows(PacketBuilder(ipv4).udp(40112, 53)));
  CHECK_FALSE(run.shows(PacketBuilder(ipv4).icmp(8, 0)));
  CHECK_FALSE(run.shows(PacketBuilder(ipv4).icmp(5, 1)));
  CHECK_FALSE(run.shows(PacketBuilder(ipv6).icmpv6(128, 0)));
  CHECK_FALSE(run.shows(PacketBuilder(ipv6).icmpv6(135, 0)));
  CHECK_FALSE(run.shows(PacketBuilder().arp_request("10.0.0.1", "10.0.0.2")));
  CHECK(run->totals().filtered == 8);
}

TEST_CASE("--count is reached by shown drops, not by hidden ones") {
  Options options;
  options.count = 2;
  options.filter = "tcp";
  Run run(options);
  CHECK_FALSE(run->complete());
  run.add(syn());
  run.add(harmless());
  run.shows(PacketBuilder().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2));
  CHECK_FALSE(run->complete());
  run.add(syn());
  CHECK(run->complete());
}

TEST_CASE("without --count a run is never complete") {
  Run run;
  run.add(syn());
  CHECK_FALSE(run->complete());
}

TEST_CASE("--expect-drop is met by one drop that has all the fields") {
  Run run(expecting({{"packet.dport", "9"}, {"packet.proto", "tcp"}}));
  run.add(syn());
  run.shows(PacketBuilder().ipv4("10.0.0.1", "10.0.0.2").udp(40112, 9));
  CHECK(run->disappointment() == "the expected drop was not seen");
  run.shows(PacketBuilder().ipv4("10.0.0.1", "10.0.0.2").tcp(40112, 9, kTcpSyn));
  CHECK_FALSE(run->disappointment().has_value());
  run.add(syn());
  CHECK_FALSE(run->disappointment().has_value());
}

TEST_CASE("expectations are about JSON fields, whatever the output is") {
  Options options = expecting({{"reason", "NETFILTER_DROP"}});
  options.output = OutputFormat::kText;
  Run run(options);
  CHECK(run->disappointment().has_value());
  run.add(syn());
  CHECK_FALSE(run->disappointment().has_value());
}

TEST_CASE("a hidden drop is not the expected one") {
  Run run(expecting({{"reason", "QUEUE_PURGE"}}));
  run.add(harmless());
  CHECK(run->disappointment().has_value());
}

TEST_CASE("--expect-none is disappointed by a shown drop only") {
  Options options;
  options.expect_none = true;
  Run run(options);
  run.add(harmless());
  CHECK_FALSE(run->disappointment().has_value());
  run.add(syn());
  CHECK(run->disappointment() == "a drop was seen, and none was expected");
}

TEST_CASE("without expectations nothing disappoints") {
  Run run;
  run.add(syn());
  CHECK_FALSE(run->disappointment().has_value());
}

TEST_CASE("losses are reported by what is new since the last report") {
  Run run(json_output());
  CHECK(run->report_lost(0, {}).empty());

  const std::string first = run->report_lost(0, {{"ring_buffer_full", 3}});
  CHECK(json_field(first, "causes.ring_buffer_full") == "3");
  CHECK(run->report_lost(0, {{"ring_buffer_full", 3}}).empty());

  const std::string second = run->report_lost(0, {{"recursion", 1}, {"ring_buffer_full", 3}});
  CHECK(json_field(second, "causes.recursion") == "1");
  CHECK_FALSE(json_field(second, "causes.ring_buffer_full").has_value());

  const std::string third = run->report_lost(0, {{"recursion", 1}, {"ring_buffer_full", 10}});
  CHECK(json_field(third, "causes.ring_buffer_full") == "7");
  CHECK(run->totals().lost_total() == 11);
}

TEST_CASE("the last bytes are the totals and what became of the programs") {
  Run run(json_output());
  run.add(syn());
  run.add(harmless());
  run->report_lost(0, {{"ring_buffer_full", 3}});
  const std::string line = run->finish(0, {{"drop", "attached"}});
  CHECK(json_field(line, "type") == "summary");
  CHECK(json_field(line, "seen") == "2");
  CHECK(json_field(line, "shown") == "1");
  CHECK(json_field(line, "noise") == "1");
  CHECK(json_field(line, "filtered") == "0");
  CHECK(json_field(line, "lost") == "3");
  CHECK(json_field(line, "programs.drop") == "attached");
}

}  // namespace
}  // namespace droptrace
