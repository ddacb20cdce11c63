// SPDX-License-Identifier: GPL-2.0-only
#include "recording/pcapng_reader.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "recording/event_json.h"
#include "recording/pcapng.h"
#include "sink/style.h"

namespace droptrace {

using namespace pcapng;

namespace {

constexpr std::size_t kFixedPart = 20;  // of a packet's block, before its bytes
constexpr std::uint8_t kNanoseconds = 9;
// In the year 2116: whatever a file claims, times can be subtracted.
constexpr std::uint64_t kTimeMost = std::uint64_t{1} << 62U;
constexpr std::size_t kInterfacesMost = 1U << 20U;

std::size_t padded(std::size_t size) { return (size + 3) / 4 * 4; }

// bytes are enough.
template <typename Number>
Number number_at(std::string_view bytes, std::size_t offset) {
  Number value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

bool is_pcap(std::uint32_t magic) {
  return magic == 0xa1b2c3d4 || magic == 0xd4c3b2a1 || magic == 0xa1b23c4d || magic == 0x4d3cb2a1;
}

std::string_view without_padding(std::string_view text) {
  return text.substr(0, text.find_last_not_of('\0') + 1);
}

// JSON as we write it, in which nothing can drive a terminal or end a line.
bool is_our_json(std::string_view json) {
  const auto is_ours = [](char byte) { return byte >= 0x20 && byte < 0x7f; };
  return !json.empty() && std::ranges::all_of(json, is_ours);
}

// Text of the log, whose lines may begin with a tab. Whatever else drives a terminal is shown: the
// file may be anybody's.
std::string printable(std::string_view text) {
  std::string result;
  while (true) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.starts_with('\t')) {
      result += '\t';
      line.remove_prefix(1);
    }
    result += escaped(line).bytes;
    if (end == text.size()) return result;
    result += '\n';
    text.remove_prefix(end + 1);
  }
}

// JSON has the addresses of the flow as the client began it; what comes back to the client is an
// answer.
void complete_flow(Record& record) {
  const std::optional<Tuple> tuple = record.packet.tuple();
  if (!record.conntrack || !tuple) return;
  // An ICMP error has the flow that it is about.
  if (record.conntrack->original.src.port.has_value() != tuple->src.port.has_value()) return;
  record.conntrack->original.protocol = tuple->protocol;
  record.conntrack->reply_direction = tuple->dst == record.conntrack->original.src;
}

}  // namespace

void PcapngReader::feed(std::string_view bytes) {
  if (problem_) return;
  consumed_ += position_;
  buffer_.erase(0, std::exchange(position_, 0));
  buffer_.append(bytes);
}

std::optional<RecordedEvent> PcapngReader::next() {
  while (const auto block = next_block()) {
    auto event = understand(*block);
    if (problem_) return std::nullopt;
    position_ += block->size();
    if (event) return event;
  }
  return std::nullopt;
}

void PcapngReader::fail(std::string why) { problem_ = std::move(why); }

// What the file begins with tells what it is, long before a block is whole.
bool PcapngReader::check_start(std::string_view rest) {
  const auto type = number_at<std::uint32_t>(rest, 0);
  if (is_pcap(type))
    fail("a pcap file, but no recording of droptrace, which is pcapng and made with -w");
  else if (type != kSectionHeader)
    fail("neither pcapng nor a recording of droptrace");
  return !problem_;
}

std::optional<std::size_t> PcapngReader::block_length(std::string_view rest) {
  if (rest.size() < sizeof(std::uint32_t)) return std::nullopt;
  if (!ours_ && !check_start(rest)) return std::nullopt;
  if (rest.size() < kBlockLeast) return std::nullopt;
  const bool is_section = number_at<std::uint32_t>(rest, 0) == kSectionHeader;
  if (is_section && number_at<std::uint32_t>(rest, 8) != kByteOrderMagic) {
    fail("pcapng in another byte order or damaged, in any case no recording of droptrace");
    return std::nullopt;
  }
  const std::size_t length = number_at<std::uint32_t>(rest, 4);
  if (length < kBlockLeast || length % 4 != 0 || length > kBlockMost) {
    fail("damaged: a block has an impossible length");
    return std::nullopt;
  }
  return length;
}

std::optional<std::string_view> PcapngReader::next_block() {
  if (problem_) return std::nullopt;
  const std::string_view rest = std::string_view(buffer_).substr(position_);
  const auto length = block_length(rest);
  if (!length || rest.size() < *length) return std::nullopt;
  if (number_at<std::uint32_t>(rest, *length - sizeof(std::uint32_t)) != *length) {
    fail("damaged: the two lengths of a block differ");
    return std::nullopt;
  }
  return rest.substr(0, *length);
}

std::optional<RecordedEvent> PcapngReader::understand(std::string_view block) {
  const std::string_view body = block.substr(8, block.size() - kBlockLeast);
  switch (number_at<std::uint32_t>(block, 0)) {
    case kSectionHeader:
      return section(body);
    case kInterface:
      interface(body);
      return std::nullopt;
    case kNames:
      return names(body);
    case kPacket:
      return packet(body);
    default:
      return std::nullopt;
  }
}

std::optional<PcapngReader::Options> PcapngReader::read_options(std::string_view bytes) {
  Options options;
  while (bytes.size() >= 4) {
    const auto code = number_at<std::uint16_t>(bytes, 0);
    const std::size_t size = number_at<std::uint16_t>(bytes, 2);
    if (code == kEnd) break;
    if (bytes.size() < 4 + padded(size)) return std::nullopt;
    const std::string_view value = bytes.substr(4, size);
    bytes.remove_prefix(4 + padded(size));
    if (code == kComment && options.comment.empty()) options.comment = value;
    if (code == kSectionApplication) options.application = value;
    if (code == kInterfaceResolution && size == 1)
      options.resolution = static_cast<std::uint8_t>(value[0]);
    if (code == kCustomText && size >= 4 && number_at<std::uint32_t>(value, 0) == kEnterprise)
      options.json += value.substr(4);
  }
  return options;
}

std::optional<RecordedEvent> PcapngReader::section(std::string_view body) {
  const auto options = body.size() < 16 ? std::nullopt : read_options(body.substr(16));
  if (!options || !options->json.starts_with(kEnvironmentStart) || !is_our_json(options->json)) {
    const bool named = options && !options->application.empty();
    fail("pcapng" + (named ? " made by " + options->application : std::string()) +
         ", but no recording of droptrace");
    return std::nullopt;
  }
  ours_ = true;
  resolutions_.clear();
  names_.clear();
  return recorded_line(0, options->json);
}

void PcapngReader::interface(std::string_view body) {
  const auto options = body.size() < 8 ? std::nullopt : read_options(body.substr(8));
  if (resolutions_.size() >= kInterfacesMost) return;
  const bool ethernet = options && number_at<std::uint16_t>(body, 0) == kEthernet;
  resolutions_.push_back(ethernet ? options->resolution : 0);
}

// Names, and behind them lines without a packet.
std::optional<RecordedEvent> PcapngReader::names(std::string_view body) {
  while (body.size() >= 4) {
    const auto type = number_at<std::uint16_t>(body, 0);
    const std::size_t size = number_at<std::uint16_t>(body, 2);
    if (body.size() < 4 + padded(size)) return std::nullopt;
    const std::string_view value = body.substr(4, size);
    body.remove_prefix(4 + padded(size));
    if (type == kNamesEnd) break;
    const std::size_t address_size = type == kName4 ? 4 : 16;
    if ((type != kName4 && type != kName6) || size <= address_size) continue;
    const auto address =
        address_from_bytes({reinterpret_cast<const std::uint8_t*>(value.data()), address_size});
    if (address) names_.emplace_back(*address, without_padding(value.substr(address_size)));
  }
  const auto options = read_options(body);
  if (!options || !is_our_json(options->json)) return std::nullopt;
  return recorded_line(0, options->json);
}

std::optional<RecordedEvent> PcapngReader::skip() {
  ++skipped_;
  return std::nullopt;
}

std::optional<RecordedEvent> PcapngReader::packet(std::string_view body) {
  if (body.size() < kFixedPart) return skip();
  const auto interface = number_at<std::uint32_t>(body, 0);
  const std::size_t captured = number_at<std::uint32_t>(body, 12);
  const auto length = number_at<std::uint32_t>(body, 16);
  const std::size_t room = body.size() - kFixedPart;
  if (interface >= resolutions_.size() || resolutions_[interface] != kNanoseconds) return skip();
  if (captured < kMacHeader || captured > room || padded(captured) > room || length < captured)
    return skip();
  const auto options = read_options(body.substr(kFixedPart + padded(captured)));
  if (!options) return skip();

  RecordedEvent event;
  event.has_packet = true;
  const std::uint64_t time_ns =
      std::uint64_t{number_at<std::uint32_t>(body, 4)} << 32U | number_at<std::uint32_t>(body, 8);
  event.time_ns = static_cast<std::int64_t>(std::min(time_ns, kTimeMost));
  event.text = printable(options->comment);
  event.json = options->json;
  if (!is_our_json(event.json)) return skip();
  if (!facts_) return event;
  if (!add_facts(event)) return skip();
  const std::string_view frame = body.substr(kFixedPart, captured);
  const auto type = static_cast<std::uint16_t>(static_cast<std::uint8_t>(frame[12]) << 8U |
                                               static_cast<std::uint8_t>(frame[13]));
  event.record.bytes.assign(frame.begin() + kMacHeader, frame.end());
  event.record.packet =
      parse_packet(event.record.bytes, type, length - static_cast<std::uint32_t>(kMacHeader));
  complete_flow(event.record);
  event.names = std::exchange(names_, {});
  return event;
}

}  // namespace droptrace
