// SPDX-License-Identifier: GPL-2.0-only
#include "core/filter.h"

#include <linux/if_ether.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <span>
#include <vector>

#include <pcap/pcap.h>

namespace droptrace {
namespace {

using Bytes = std::span<std::uint8_t>;

constexpr int kSnapLength = 65535;
constexpr std::size_t kVlanTagSize = 4;
constexpr std::size_t kIpv6HeaderSize = 40;

struct PcapClose {
  void operator()(pcap_t* handle) const { pcap_close(handle); }
};

void put16(Bytes bytes, std::size_t offset, std::uint16_t value) {
  if (bytes.size() < offset + sizeof(value)) return;
  bytes[offset] = static_cast<std::uint8_t>(value >> 8);
  bytes[offset + 1] = static_cast<std::uint8_t>(value);
}

void put_address(Bytes bytes, std::size_t offset, const Address& address) {
  const std::size_t size = address.v6 ? 16 : 4;
  if (bytes.size() < offset + size) return;
  std::copy_n(address.bytes.begin(), size, bytes.subspan(offset).begin());
}

// A record has no link layer: the frame's MAC addresses are zero.
std::vector<std::uint8_t> ethernet_frame(const Record& record) {
  std::vector<std::uint8_t> frame(ETH_HLEN);
  put16(frame, ETH_HLEN - 2,
        record.packet.vlan ? ETH_P_8021Q : record.packet.ethertype.value_or(0));
  frame.insert(frame.end(), record.bytes.begin(), record.bytes.end());
  return frame;
}

// Bytes of the link layer: up to the type field that names the L3 header, behind any VLAN tags.
std::size_t link_header_size(std::span<const std::uint8_t> frame, const Packet& packet) {
  std::size_t size = ETH_HLEN;
  while (size + kVlanTagSize <= frame.size() &&
         (frame[size - 2] << 8 | frame[size - 1]) != packet.ethertype.value_or(0)) {
    size += kVlanTagSize;
  }
  return size;
}

// Where the ports are, if they were captured and libpcap would look for them there: it does not
// follow IPv6 extension headers.
std::optional<std::size_t> port_offset(std::span<const std::uint8_t> l3, const Packet& packet) {
  if (!packet.sport || !packet.dport) return std::nullopt;
  if (packet.l3 == L3::kIpv4) return 4u * (l3[0] & 0x0f);
  if (l3[6] == packet.protocol) return kIpv6HeaderSize;
  return std::nullopt;
}

// The flow of this very packet before NAT; nullopt if NAT left it alone. An ICMP error belongs to
// the conntrack entry of the flow it is about, but has no addresses of that flow.
std::optional<Tuple> flow_before_nat(const Record& record) {
  if (!record.conntrack || !record.conntrack->has_nat()) return std::nullopt;
  const Tuple& original = record.conntrack->original;
  const std::optional<Tuple> flow = record.packet.tuple();
  if (!flow || flow->protocol != original.protocol ||
      flow->src.address.v6 != original.src.address.v6) {
    return std::nullopt;
  }
  return record.conntrack->reply_direction ? original.reversed() : original;
}

void replace_flow(Bytes l3, const Packet& packet, const Tuple& flow) {
  const bool v6 = packet.l3 == L3::kIpv6;
  put_address(l3, v6 ? 8 : 12, flow.src.address);
  put_address(l3, v6 ? 24 : 16, flow.dst.address);
  const std::optional<std::size_t> ports = port_offset(l3, packet);
  if (!ports || !flow.src.port || !flow.dst.port) return;
  put16(l3, *ports, *flow.src.port);
  put16(l3, *ports + 2, *flow.dst.port);
}

}  // namespace

struct PacketFilter::Program {
  Program() = default;
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() { pcap_freecode(&code); }

  bool matches(std::span<const std::uint8_t> frame, std::size_t length) const {
    pcap_pkthdr header{};
    header.caplen = static_cast<bpf_u_int32>(frame.size());
    header.len = static_cast<bpf_u_int32>(std::max(length, frame.size()));
    return pcap_offline_filter(&code, &header, frame.data()) != 0;
  }

  bpf_program code{};
};

PacketFilter::PacketFilter(const std::string& expression) : program_(std::make_unique<Program>()) {
  const std::unique_ptr<pcap_t, PcapClose> handle(pcap_open_dead(DLT_EN10MB, kSnapLength));
  if (!handle) throw std::bad_alloc();
  constexpr int kOptimize = 1;
  if (pcap_compile(handle.get(), &program_->code, expression.c_str(), kOptimize,
                   PCAP_NETMASK_UNKNOWN) != 0) {
    throw FilterError(pcap_geterr(handle.get()));
  }
}

PacketFilter::~PacketFilter() = default;
PacketFilter::PacketFilter(PacketFilter&&) noexcept = default;
PacketFilter& PacketFilter::operator=(PacketFilter&&) noexcept = default;

bool PacketFilter::matches(const Record& record) const {
  std::vector<std::uint8_t> frame = ethernet_frame(record);
  const std::size_t link_header = link_header_size(frame, record.packet);
  const std::size_t length = link_header + record.packet.length;
  if (program_->matches(frame, length)) return true;

  const std::optional<Tuple> flow = flow_before_nat(record);
  if (!flow) return false;
  replace_flow(Bytes(frame).subspan(link_header), record.packet, *flow);
  return program_->matches(frame, length);
}

}  // namespace droptrace
