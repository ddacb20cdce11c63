// SPDX-License-Identifier: GPL-2.0-only
// A packet's bytes, behind two bytes of ethertype and two of length.
#include "core/packet.h"

#include <cstddef>
#include <cstdint>
#include <span>

using namespace droptrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  const auto number = [&](std::size_t at) {
    return static_cast<std::uint16_t>(data[at] << 8U | data[at + 1]);
  };
  const Packet packet = parse_packet(std::span(data, size).subspan(4), number(0), number(2));
  packet.tuple();
  packet.is_syn();
  if (packet.tcp_flags) tcp_flags_text(*packet.tcp_flags);
  return 0;
}
