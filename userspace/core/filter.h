// SPDX-License-Identifier: GPL-2.0-only
// FILTER: a pcap-filter(7) expression, applied to the packet as dropped and as it was before NAT.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "core/decode.h"

namespace droptrace {

// What libpcap said about an expression that it does not take.
class FilterError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

class PacketFilter {
 public:
  // Compiles the expression for Ethernet frames; throws FilterError.
  explicit PacketFilter(const std::string& expression);
  ~PacketFilter();
  PacketFilter(PacketFilter&&) noexcept;
  PacketFilter& operator=(PacketFilter&&) noexcept;

  // True if the expression matches the packet as it was at the drop, or with the addresses and
  // ports that the client used, before NAT.
  bool matches(const Record& record) const;

 private:
  struct Program;
  std::unique_ptr<Program> program_;
};

}  // namespace droptrace
