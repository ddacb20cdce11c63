// SPDX-License-Identifier: GPL-2.0-only
#include "core/scope.h"

#include <algorithm>
#include <cstdint>
#include <set>

namespace droptrace {
namespace {

bool lies_in(const Cidr& inner, const std::vector<Cidr>& networks) {
  return std::ranges::any_of(networks, [&](const Cidr& outer) {
    return outer.prefix_length <= inner.prefix_length && outer.contains(inner.network);
  });
}

}  // namespace

std::vector<WatchedPrefix> watched_prefixes(const std::vector<Cidr>& cluster,
                                            const std::vector<Cidr>& own) {
  std::set<Cidr> all(cluster.begin(), cluster.end());
  all.insert(own.begin(), own.end());
  std::vector<WatchedPrefix> prefixes;
  prefixes.reserve(all.size());
  for (const Cidr& cidr : all)
    prefixes.push_back({cidr, lies_in(cidr, cluster), lies_in(cidr, own)});
  return prefixes;
}

Cidr host_cidr(const Address& address) {
  constexpr std::uint8_t kBits4 = 32;
  constexpr std::uint8_t kBits6 = 128;
  return {address, address.v6 ? kBits6 : kBits4};
}

}  // namespace droptrace
