// SPDX-License-Identifier: GPL-2.0-only
#include "recording/pcapng_writer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <vector>

#include "recording/pcapng.h"

namespace droptrace {

using namespace pcapng;

namespace {

constexpr std::size_t kClosingBytes = 512;
constexpr std::size_t kInterfacesMost = 65536;
constexpr std::size_t kNamesMost = 65536;
constexpr std::uint16_t kVlanTag = 0x8100;
constexpr std::size_t kNameMost = 1024;

std::size_t padded(std::size_t size) { return (size + 3) / 4 * 4; }

// Appends to a buffer in the byte order of x86-64, as recordings have it.
class Bytes {
 public:
  explicit Bytes(std::string& buffer) : buffer_(buffer) {}

  template <std::integral Number>
  void number(Number value) {
    static_assert(std::endian::native == std::endian::little);
    buffer_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }

  void text(std::string_view value) { buffer_.append(value); }
  void pad(std::size_t since) { buffer_.resize(since + padded(buffer_.size() - since)); }

  void option(OptionCode code, std::string_view value) {
    value = value.substr(0, kOptionMost);
    number<std::uint16_t>(code);
    number(static_cast<std::uint16_t>(value.size()));
    const std::size_t start = buffer_.size();
    text(value);
    pad(start);
  }

  void number_option(OptionCode code, std::uint64_t value) {
    option(code, {reinterpret_cast<const char*>(&value), sizeof(value)});
  }

  // High half first (section 4.6 of the draft).
  void time(std::uint64_t value) {
    number(static_cast<std::uint32_t>(value >> 32U));
    number(static_cast<std::uint32_t>(value));
  }

  void time_option(OptionCode code, std::uint64_t value) {
    std::string bytes;
    Bytes(bytes).time(value);
    option(code, bytes);
  }

  void custom_option(OptionCode code, std::string_view value) {
    std::string bytes;
    Bytes(bytes).number(kEnterprise);
    option(code, bytes.append(value));
  }

  void json_options(std::string_view json) {
    constexpr std::size_t kPiece = kOptionMost - sizeof(kEnterprise);
    for (; !json.empty(); json.remove_prefix(std::min(json.size(), kPiece)))
      custom_option(kCustomText, json.substr(0, kPiece));
  }

  void end_of_options() { number<std::uint32_t>(kEnd); }

 private:
  std::string& buffer_;
};

// A block under construction at the end of a buffer. Its length, which stands at both ends, is
// filled in when it is complete.
class Block : public Bytes {
 public:
  Block(std::string& buffer, BlockType type)
      : Bytes(buffer), buffer_(buffer), start_(buffer.size()) {
    number<std::uint32_t>(type);
    number<std::uint32_t>(0);
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() {
    pad(start_);
    const auto length = static_cast<std::uint32_t>(buffer_.size() - start_ + sizeof(std::uint32_t));
    number(length);
    std::copy_n(reinterpret_cast<const char*>(&length), sizeof(length),
                buffer_.begin() + static_cast<std::ptrdiff_t>(start_ + sizeof(std::uint32_t)));
  }

 private:
  std::string& buffer_;
  std::size_t start_;
};

// What stood before L3. 0 if it is not known.
std::uint16_t ethertype(const Packet& packet) {
  if (packet.vlan) return kVlanTag;
  if (packet.ethertype) return *packet.ethertype;
  if (packet.l3 == L3::kIpv4) return 0x0800;
  return packet.l3 == L3::kIpv6 ? 0x86dd : 0;
}

// "pod:data/web-0/eth0", "node/veth1a2b"
std::string interface_name(const RecordedEvent& event) {
  std::string name = event.where;
  if (name.empty())
    name = event.record.netns ? "netns:" + std::to_string(*event.record.netns) : "unknown";
  return event.record.ifname.empty() ? name : name + '/' + event.record.ifname;
}

std::uint64_t unsigned_time(std::int64_t time_ns) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(time_ns, 0));
}

}  // namespace

PcapngWriter::PcapngWriter(const RecordingHeader& header) : os_(header.os) {
  begin_section(header);
}

void PcapngWriter::begin_section(const RecordingHeader& header) {
  Block block(buffer_, kSectionHeader);
  block.number(kByteOrderMagic);
  block.number(kMajor);
  block.number<std::uint16_t>(0);
  block.number(kLengthUnknown);
  block.option(kSectionOs, header.os);
  block.option(kSectionApplication, header.application);
  block.option(kComment, header.comment);
  block.json_options(header.environment);
  closing_offset_ = buffer_.size();
  block.text(closing_bytes("This recording has not been closed: its end may be missing."));
  block.end_of_options();
}

std::string PcapngWriter::closing_bytes(std::string_view figures) {
  std::string bytes;
  Bytes options(bytes);
  options.option(kComment, figures.substr(0, kClosingBytes / 2));
  // The rest of the room is an option without a meaning: header, enterprise, zeros.
  constexpr std::size_t kOptionHeader = 4;
  const std::size_t rest =
      kClosingBytes - bytes.size() - kOptionHeader - sizeof(std::uint32_t /*enterprise*/);
  options.custom_option(kCustomBytes, std::string(rest, '\0'));
  return bytes;
}

void PcapngWriter::add(const RecordedEvent& event) {
  if (!event.has_packet) {
    add_line(event.json);
    return;
  }
  add_names(event);
  Interface& interface = interface_of(event);
  if (!start_ns_) start_ns_ = event.time_ns;
  ++interface.packets;
  ++packets_;
  add_packet(event, interface.id);
}

PcapngWriter::Interface& PcapngWriter::interface_of(const RecordedEvent& event) {
  std::string name = interface_name(event);
  InterfaceKey key{event.record.netns.value_or(0), event.record.ifindex.value_or(0), name};
  auto found = interfaces_.find(key);
  if (found != interfaces_.end()) return found->second;
  // Beyond so many, all others are one.
  const bool full = interfaces_.size() + 1 >= kInterfacesMost;
  if (full) {
    key = {0, 0, name = "others"};
    found = interfaces_.find(key);
    if (found != interfaces_.end()) return found->second;
  }
  const auto id = static_cast<std::uint32_t>(interfaces_.size());
  add_interface(full ? RecordedEvent() : event, name);
  return interfaces_.emplace(std::move(key), Interface{id, 0}).first->second;
}

void PcapngWriter::add_interface(const RecordedEvent& event, const std::string& name) {
  std::string description = "packets dropped here; the MAC header is made up";
  if (!event.peer.empty()) description = "other end: " + event.peer + "; " + description;
  Block block(buffer_, kInterface);
  block.number(kEthernet);
  block.number<std::uint16_t>(0);
  block.number<std::uint32_t>(0);  // no limit of the capture length
  block.option(kInterfaceName, name);
  block.option(kInterfaceDescription, description);
  block.option(kInterfaceResolution, "\x09");  // nanoseconds
  block.option(kInterfaceOs, os_);
  block.end_of_options();
}

void PcapngWriter::add_names(const RecordedEvent& event) {
  std::string records;
  Bytes bytes(records);
  for (const auto& [address, whole_name] : event.names) {
    const std::string name = whole_name.substr(0, std::min(whole_name.find('\0'), kNameMost));
    if (name.empty() || names_.size() >= kNamesMost) continue;
    if (!names_.emplace(address, name).second) continue;
    const std::size_t size = address.v6 ? 16 : 4;
    bytes.number<std::uint16_t>(address.v6 ? kName6 : kName4);
    bytes.number(static_cast<std::uint16_t>(size + name.size() + 1));
    const std::size_t start = records.size();
    records.append(reinterpret_cast<const char*>(address.bytes.data()), size);
    records.append(name).push_back('\0');
    bytes.pad(start);
  }
  if (records.empty()) return;
  Block block(buffer_, kNames);
  block.text(records);
  block.number<std::uint32_t>(kNamesEnd);
}

void PcapngWriter::add_packet(const RecordedEvent& event, std::uint32_t interface) {
  const std::vector<std::uint8_t>& bytes = event.record.bytes;
  const std::uint16_t type = ethertype(event.record.packet);
  std::array<char, kMacHeader> header{};
  header[kMacHeader - 2] = static_cast<char>(type >> 8U);
  header[kMacHeader - 1] = static_cast<char>(type);

  Block block(buffer_, kPacket);
  block.number(interface);
  block.time(unsigned_time(event.time_ns));
  block.number(static_cast<std::uint32_t>(kMacHeader + bytes.size()));
  block.number(static_cast<std::uint32_t>(
      kMacHeader + std::max<std::size_t>(event.record.packet.length, bytes.size())));
  const std::size_t start = buffer_.size();
  block.text({header.data(), header.size()});
  block.text({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  block.pad(start);
  block.option(kComment, event.text);
  block.json_options(event.json);
  block.end_of_options();
}

void PcapngWriter::add_line(std::string_view json) {
  // A block of names without names: Wireshark would count a custom block as a packet.
  Block block(buffer_, kNames);
  block.number<std::uint32_t>(kNamesEnd);
  block.json_options(json);
  block.end_of_options();
}

void PcapngWriter::finish(std::int64_t time_ns, std::uint64_t lost, std::string_view figures) {
  for (const auto& [key, interface] : interfaces_) {
    Block block(buffer_, kStatistics);
    block.number(interface.id);
    block.time(unsigned_time(time_ns));
    block.time_option(kStatisticsStart, unsigned_time(start_ns_.value_or(time_ns)));
    block.time_option(kStatisticsEnd, unsigned_time(time_ns));
    block.number_option(kStatisticsReceived, interface.packets);
    // Nobody knows where lost records were from: all of them count for the first interface.
    if (interface.id == 0) {
      block.number_option(kStatisticsDropped, lost);
      block.option(kComment, figures);
    }
    block.end_of_options();
  }
}

}  // namespace droptrace
