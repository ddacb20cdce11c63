// SPDX-License-Identifier: GPL-2.0-only
// From one pipeline into a recording, and through another one out of it.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "pipeline.h"
#include "tests/support/record_builder.h"
#include "tests/support/recording.h"

namespace droptrace {
namespace {

constexpr std::uint32_t kNetfilterDrop = 12;

RecordBuilder syn(std::uint16_t port = 8080) {
  return RecordBuilder()
      .reason(kNetfilterDrop)
      .netns(4026532000)
      .device(7, "veth1")
      .packet(PacketBuilder().ipv4("10.244.0.5", "10.244.0.6").tcp(40112, port, kTcpSyn, 7));
}

RecordBuilder harmless() {
  return RecordBuilder().reason(77).packet(
      PacketBuilder().ipv4("10.244.0.5", "10.244.0.6").tcp(40112, 8080, kTcpAck, 7));
}

DropReasons reasons() {
  return DropReasons({{"skb_drop_reason",
                       {{"SKB_DROP_REASON_NETFILTER_DROP", kNetfilterDrop},
                        {"SKB_DROP_REASON_QUEUE_PURGE", 77}}}});
}

Options json_with_noise() {
  Options options;
  options.output = OutputFormat::kJson;
  options.noise = true;
  options.all = true;
  return options;
}

// Nobody has answered it.
Attempted unanswered() {
  Hop hop;
  hop.boot_ns = 7;
  hop.isn = 4711;
  hop.netns = 5;
  hop.ifindex = 2;
  hop.ifname = "eth0";
  hop.event = HopEvent::kReceive;
  hop.tcp_flags = kTcpSyn;
  hop.tuple = {{parse_address("10.244.0.5").value(), 40000},
               {parse_address("10.96.0.10").value(), 81},
               IPPROTO_TCP};
  Attempted attempt;
  attempt.isn = hop.isn;
  attempt.dialled = hop.tuple;
  attempt.hops = {hop};
  return attempt;
}

// A live run; what it recorded and what it said.
struct Live {
  Live() : pipeline(options, std::make_unique<JsonSink>(), reasons()) {
    pipeline.set_observer([this](const RecordedEvent& event) { writer.add(event); }, {});
    for (const RecordBuilder& record : {syn(), syn(9), syn(), harmless()})
      output += pipeline.add(decode_drop(record.bytes()).value(), World());
    output += pipeline.add_attempt(unanswered(), World(), nullptr);
    output += pipeline.report_lost(5, {{"ring_buffer_full", 3}});
    output += pipeline.finish(6, {{"drop", "attached"}});
    file = writer.take();
  }

  Options options = json_with_noise();
  PcapngWriter writer{sample_header()};
  Pipeline pipeline;
  std::string output;
  std::string file;
};

std::string replay(const std::string& file, const Options& options, Totals* totals = nullptr) {
  Pipeline pipeline(options, std::make_unique<JsonSink>(), DropReasons());
  std::string output;
  for (const RecordedEvent& event : ReadBack(file).events) output += pipeline.replay(event);
  if (totals) *totals = pipeline.totals();
  return output;
}

TEST_CASE("a replay gives the lines that the trace gave") {
  const Live live;
  Totals totals;
  CHECK(replay(live.file, json_with_noise(), &totals) == live.output);
  CHECK(totals.seen == 4);
  CHECK(totals.shown == 4);
  CHECK(live.output.find(R"("type":"unanswered")") != std::string::npos);
  CHECK(totals.lost == std::map<std::string, std::uint64_t>{{"ring_buffer_full", 3}});
}

TEST_CASE("a replay in text gives the text of then") {
  const Live live;
  Options options;
  options.noise = true;
  const std::string text = replay(live.file, options);
  CHECK(text.find("SYN 1") != std::string::npos);
  CHECK(text.find("same place (2 dropped)") != std::string::npos);
  CHECK(text.find("UNANSWERED") != std::string::npos);
  CHECK(text.find('{') == std::string::npos);
}

TEST_CASE("a replay filters anew, and its figures say so") {
  const Live live;
  Options options;
  options.output = OutputFormat::kJson;
  options.filter = "port 8080";
  Totals totals;
  const std::string lines = replay(live.file, options, &totals);
  CHECK(totals.shown == 2);
  CHECK(totals.filtered == 1);
  CHECK(totals.noise == 1);
  const std::string summary = lines.substr(lines.rfind('\n', lines.size() - 2) + 1);
  CHECK(json_field(summary, "type") == "summary");
  CHECK(json_field(summary, "seen") == "4");
  CHECK(json_field(summary, "shown") == "2");
  CHECK(json_field(summary, "filtered") == "1");
  CHECK(json_field(summary, "programs.drop") == "attached");
}

TEST_CASE("a replay ends at the count and meets expectations as a trace does") {
  const Live live;
  Options options;
  options.count = 1;
  options.expect_drop = {{"packet.dport", "9"}};
  Pipeline pipeline(options, std::make_unique<JsonSink>(), DropReasons());
  for (const RecordedEvent& event : ReadBack(live.file).events) {
    pipeline.replay(event);
    if (pipeline.complete()) break;
  }
  CHECK(pipeline.disappointment());
  options.count = 2;
  Pipeline longer(options, std::make_unique<JsonSink>(), DropReasons());
  for (const RecordedEvent& event : ReadBack(live.file).events) longer.replay(event);
  CHECK_FALSE(longer.disappointment());
}

TEST_CASE("a replayed packet matches a FILTER as it was before NAT") {
  const Endpoint client{parse_address("10.244.0.5").value(), 40112};
  const Endpoint service{parse_address("10.96.0.1").value(), 443};
  const Endpoint server{parse_address("10.244.0.6").value(), 8080};
  const Tuple original{client, service, IPPROTO_TCP};
  const Tuple reply{server, client, IPPROTO_TCP};
  const RecordBuilder out = syn().conntrack(original, reply);
  const RecordBuilder back =
      RecordBuilder()
          .reason(kNetfilterDrop)
          .packet(PacketBuilder().ipv4("10.244.0.6", "10.244.0.5").tcp(8080, 40112, kTcpRst, 7))
          .conntrack(original, reply)
          .reply_direction();
  Options options = json_with_noise();
  PcapngWriter writer(sample_header());
  Pipeline pipeline(options, std::make_unique<JsonSink>(), reasons());
  pipeline.set_observer([&](const RecordedEvent& event) { writer.add(event); }, {});
  for (const RecordBuilder& record : {out, back})
    pipeline.add(decode_drop(record.bytes()).value(), World());
  const std::string file = writer.take();

  const auto matches = [&](const char* filter) {
    options.filter = filter;
    Totals totals;
    replay(file, options, &totals);
    return totals.shown;
  };
  CHECK(matches("dst host 10.96.0.1 and dst port 443") == 1);
  CHECK(matches("src host 10.96.0.1 and src port 443") == 1);
  CHECK(matches("port 8080") == 2);
}

}  // namespace
}  // namespace droptrace
