// SPDX-License-Identifier: GPL-2.0-only
#include "core/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstddef>

namespace droptrace {
namespace {

constexpr std::size_t kIpv4Size = 4;
constexpr std::size_t kIpv6Size = 16;
constexpr std::string_view kBlanks = " \t\r\n";

std::size_t size_of(const Address& address) { return address.v6 ? kIpv6Size : kIpv4Size; }

// The address with all bits behind the prefix cleared.
Address masked(const Address& address, unsigned prefix_length) {
  Address network = address;
  for (std::uint8_t& byte : network.bytes) {
    const unsigned kept = std::min(prefix_length, 8u);
    byte = static_cast<std::uint8_t>(byte & 0xff00u >> kept);
    prefix_length -= kept;
  }
  return network;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

}  // namespace

std::optional<Address> address_from_bytes(std::span<const std::uint8_t> bytes) {
  if (bytes.size() != kIpv4Size && bytes.size() != kIpv6Size) return std::nullopt;
  Address address;
  address.v6 = bytes.size() == kIpv6Size;
  std::ranges::copy(bytes, address.bytes.begin());
  return address;
}

std::optional<Address> parse_address(std::string_view text) {
  // inet_pton would stop at a NUL and take what stands before it.
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  const std::string terminated(text);
  Address address;
  address.v6 = text.find(':') != std::string_view::npos;
  const int family = address.v6 ? AF_INET6 : AF_INET;
  if (inet_pton(family, terminated.c_str(), address.bytes.data()) != 1) return std::nullopt;
  return address;
}

std::string to_string(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(address.v6 ? AF_INET6 : AF_INET, address.bytes.data(), text.data(), text.size());
  return text.data();
}

bool is_loopback(const Address& address) {
  if (!address.v6) return address.bytes[0] == IN_LOOPBACKNET;
  return std::ranges::equal(address.bytes, in6addr_loopback.s6_addr);
}

bool Cidr::contains(const Address& address) const {
  return masked(address, prefix_length) == network;
}

std::optional<Cidr> parse_cidr(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::optional<Address> address = parse_address(text.substr(0, slash));
  if (!address) return std::nullopt;

  const std::string_view digits = text.substr(slash + 1);
  const char* const end = digits.data() + digits.size();
  std::uint8_t prefix_length = 0;
  const auto [rest, error] = std::from_chars(digits.data(), end, prefix_length);
  if (error != std::errc{} || rest != end || prefix_length > 8 * size_of(*address)) {
    return std::nullopt;
  }
  return Cidr{masked(*address, prefix_length), prefix_length};
}

std::optional<std::vector<Cidr>> parse_cidr_list(std::string_view text) {
  std::vector<Cidr> cidrs;
  for (;;) {
    const std::size_t comma = text.find(',');
    const std::optional<Cidr> cidr = parse_cidr(trimmed(text.substr(0, comma)));
    if (!cidr) return std::nullopt;
    cidrs.push_back(*cidr);
    if (comma == std::string_view::npos) return cidrs;
    text.remove_prefix(comma + 1);
  }
}

std::string to_string(const Cidr& cidr) {
  return to_string(cidr.network) + '/' + std::to_string(cidr.prefix_length);
}

std::string to_string(const Endpoint& endpoint) {
  std::string address = to_string(endpoint.address);
  if (!endpoint.port) return address;
  const std::string port = std::to_string(*endpoint.port);
  return endpoint.address.v6 ? '[' + address + "]:" + port : address + ':' + port;
}

}  // namespace droptrace
