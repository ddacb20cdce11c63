// SPDX-License-Identifier: GPL-2.0-only
#include "recording/pcapng.h"

#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/recording.h"
#include "tests/support/sample_drops.h"

namespace droptrace {
namespace {

struct Recording {
  std::string bytes;
  std::size_t last_block = 0;  // where it begins
};

Recording record(const std::vector<Drop>& drops) {
  PcapngWriter writer(sample_header());
  Recording recording;
  for (const Drop& drop : drops) {
    recording.bytes += writer.take();
    recording.last_block = recording.bytes.size();
    writer.add(event_of(drop));
  }
  recording.bytes += writer.take();
  return recording;
}

void check_same(const RecordedEvent& read, const RecordedEvent& written) {
  CHECK(read.has_packet);
  CHECK(read.time_ns == written.time_ns);
  CHECK(read.json == written.json);
  CHECK(read.text == written.text);
  CHECK(read.noise == written.noise);
  CHECK(read.record.bytes == written.record.bytes);
  CHECK(read.record.packet.length == written.record.packet.length);
  CHECK(read.record.packet.tuple() == written.record.packet.tuple());
  CHECK(read.record.netns == written.record.netns);
  CHECK(read.record.ifindex == written.record.ifindex);
}

TEST_CASE("what was recorded is read back, in pieces of any size") {
  const std::vector<Drop> drops = sample_drops();
  const Recording recording = record(drops);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{1} << 20U}) {
    const ReadBack read(recording.bytes, piece);
    CHECK_FALSE(read.reader.problem());
    CHECK(read.reader.cut_bytes() == 0);
    CHECK(read.reader.skipped() == 0);
    REQUIRE(read.events.size() == drops.size() + 1);
    CHECK(read.events.front().json == sample_header().environment);
    for (std::size_t i = 0; i < drops.size(); ++i)
      check_same(read.events[i + 1], event_of(drops[i]));
  }
}

TEST_CASE("a recording that ends anywhere in its last block is whole up to there") {
  const std::vector<Drop> drops = sample_attempt();
  const Recording recording = record(drops);
  for (std::size_t size = recording.last_block; size < recording.bytes.size(); ++size) {
    const ReadBack read(std::string_view(recording.bytes).substr(0, size));
    REQUIRE_FALSE(read.reader.problem());
    REQUIRE(read.events.size() == drops.size());  // less one, with the environment
    REQUIRE(read.reader.cut_bytes() == size - recording.last_block);
    REQUIRE(read.reader.offset() == recording.last_block);
  }
}

TEST_CASE("addresses are named once, and events have the names") {
  const Recording recording = record({named_syn(1, 0).build(), named_syn(2, 1'000).build()});
  const ReadBack read(recording.bytes);
  REQUIRE(read.events.size() == 3);
  CHECK(read.events[1].names == event_of(named_syn(1, 0).build()).names);
  CHECK(read.events[1].names.size() == 3);  // client, service, endpoint
  CHECK(read.events[2].names.empty());
}

TEST_CASE("lines without a packet keep their place") {
  PcapngWriter writer(sample_header());
  writer.add(recorded_line(1, R"({"schema":1,"type":"lost"})"));
  writer.finish(2, 0, "figures");
  const ReadBack read(writer.take());
  REQUIRE(read.events.size() == 2);
  CHECK_FALSE(read.events[1].has_packet);
  CHECK(line_type(read.events[1].json) == "lost");
}

TEST_CASE("a line of JSON longer than an option is kept") {
  RecordedEvent event = event_of(sample_attempt().front());
  event.json.pop_back();
  event.json += R"(,"long":")" + std::string(200'000, 'x') + "\"}";
  PcapngWriter writer(sample_header());
  writer.add(event);
  const ReadBack read(writer.take());
  REQUIRE(read.events.size() == 2);
  CHECK(read.events[1].json == event.json);
}

TEST_CASE("the closing figures fit where the header has left room") {
  const std::size_t room = PcapngWriter::closing_bytes("").size();
  for (const std::size_t length : {1U, 2U, 3U, 255U, 256U, 10'000U})
    CHECK(PcapngWriter::closing_bytes(std::string(length, 'x')).size() == room);

  PcapngWriter writer(sample_header());
  std::string file = writer.take();
  const std::string bytes = PcapngWriter::closing_bytes("12 drops seen");
  file.replace(writer.closing_offset(), bytes.size(), bytes);
  CHECK(ReadBack(file).events.size() == 1);
  CHECK(file.find("has not been closed") == std::string::npos);
}

TEST_CASE("files of others are refused") {
  const auto problem = [](std::string_view file) {
    return ReadBack(file).reader.problem().value_or("");
  };
  CHECK(problem("\xd4\xc3\xb2\xa1\x02\x00\x04\x00").starts_with("a pcap file"));
  CHECK(problem("#!/bin/sh\n").starts_with("neither pcapng"));

  RecordingHeader header = sample_header();
  header.environment.clear();
  header.application = "Dumpcap";
  PcapngWriter writer(header);
  CHECK(problem(writer.take()) == "pcapng made by Dumpcap, but no recording of droptrace");

  std::string other_order = record({}).bytes;
  other_order.assign(PcapngWriter(sample_header()).take()).replace(8, 4, "\x1a\x2b\x3c\x4d");
  CHECK(problem(other_order).starts_with("pcapng in another byte order"));
}

TEST_CASE("a damaged length ends the reading with what came before") {
  Recording recording = record(sample_attempt());
  recording.bytes[recording.last_block + 4] ^= 1;
  const ReadBack read(recording.bytes);
  CHECK(read.events.size() == sample_attempt().size());
  CHECK(read.reader.problem());
  CHECK(read.reader.offset() == recording.last_block);
}

TEST_CASE("packets that somebody else has put into a recording are passed over") {
  RecordedEvent event = event_of(sample_attempt().front());
  event.json.clear();
  PcapngWriter writer(sample_header());
  writer.add(event);
  const ReadBack read(writer.take());
  CHECK(read.events.size() == 1);
  CHECK(read.reader.skipped() == 1);
}

TEST_CASE("nothing in a recording drives the terminal that shows it") {
  RecordedEvent event = event_of(sample_attempt().front());
  event.text = "first\x1b[2J\n\tnf_hook_slow+0x1\rx";
  PcapngWriter writer(sample_header());
  writer.add(event);
  event.json.insert(event.json.size() - 1, ",\"x\":\"\xc2\x9b\"");
  writer.add(event);
  const ReadBack read(writer.take());
  REQUIRE(read.events.size() == 2);
  CHECK(read.events[1].text == "first\\x1b[2J\n\tnf_hook_slow+0x1\\x0dx");
  CHECK(read.reader.skipped() == 1);
}

TEST_CASE("no byte that differs does harm") {
  const Recording recording = record({named_syn(1, 0).build()});
  for (std::size_t i = 0; i < recording.bytes.size(); ++i) {
    for (const int bits : {0x01, 0x80, 0xff}) {
      std::string file = recording.bytes;
      file[i] = static_cast<char>(file[i] ^ bits);
      CHECK(ReadBack(file).events.size() <= 2);
    }
  }
}

}  // namespace
}  // namespace droptrace
