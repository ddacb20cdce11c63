// SPDX-License-Identifier: GPL-2.0-only
// IP addresses, CIDRs and endpoints as values.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace droptrace {

// An IPv4 or IPv6 address. Bytes in network order; IPv4 uses the first four, the rest are zero.
struct Address {
  bool v6 = false;
  std::array<std::uint8_t, 16> bytes{};

  auto operator<=>(const Address&) const = default;
};

// From raw bytes in network order: 4 or 16 of them, else nullopt.
std::optional<Address> address_from_bytes(std::span<const std::uint8_t> bytes);

// "10.244.0.5", "fd00::5" (RFC 5952). nullopt if it is not an address.
std::optional<Address> parse_address(std::string_view text);

// Dotted quad, or RFC 5952 text.
std::string to_string(const Address& address);

bool is_loopback(const Address& address);

// A network; host bits are zero.
struct Cidr {
  Address network;
  std::uint8_t prefix_length = 0;

  bool contains(const Address& address) const;
  auto operator<=>(const Cidr&) const = default;
};

// "10.96.0.0/12"; host bits are cleared. nullopt if malformed.
std::optional<Cidr> parse_cidr(std::string_view text);

// "10.96.0.0/12,fd00:10:96::/112", as dual-stack clusters write it; blanks around a part are fine.
// nullopt if any part is malformed or empty.
std::optional<std::vector<Cidr>> parse_cidr_list(std::string_view text);

std::string to_string(const Cidr& cidr);

// An address and, where the protocol has one, a port (host order).
struct Endpoint {
  Address address;
  std::optional<std::uint16_t> port;

  auto operator<=>(const Endpoint&) const = default;
};

// "10.0.0.1:80", "[fd00::1]:80", or the bare address if there is no port.
std::string to_string(const Endpoint& endpoint);

// The two ends of a flow, in one direction. Ports in host order.
struct Tuple {
  Endpoint src;
  Endpoint dst;
  std::uint8_t protocol = 0;  // IPPROTO_*

  Tuple reversed() const { return {dst, src, protocol}; }
  auto operator<=>(const Tuple&) const = default;
};

}  // namespace droptrace
