// SPDX-License-Identifier: GPL-2.0-only
// Reads services from kube-proxy's nftables mode: the names of the chains of its table (they hold
// everything but the addresses dialled) and the elements of its maps. Not from what nft prints:
// that takes nft seconds for 10,000 services, and the kernel hands out the same at once.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string_view>

#include "core/address.h"
#include "core/services.h"

namespace droptrace {

// Name of the table, in families ip and ip6.
inline constexpr std::string_view kKubeNftTable = "kube-proxy";

// Its sets and maps that are of use here, in the order in which to read them: which addresses are
// ClusterIPs comes before what is dialled there.
inline constexpr const char* kKubeNftSets[] = {
    "cluster-ips",          "nodeport-ips",          "service-ips", "service-nodeports",
    "no-endpoint-services", "no-endpoint-nodeports", "firewall-ips"};

// An element as the kernel has it.
struct NftElement {
  std::string_view set;
  std::span<const std::uint8_t> key;  // network order; each part fills up to a multiple of 4 bytes
  std::string_view chain;             // that the verdict jumps or goes to; empty: another verdict
  std::string_view comment;
};

// That externalTrafficPolicy is Local is seen only of services without an endpoint here: else it
// stands in rules, which are not read.
class KubeNftablesReader {
 public:
  // v6: the table is of family ip6. builder must outlive the reader.
  KubeNftablesReader(ServicesBuilder& builder, bool v6) : builder_(builder), v6_(v6) {}

  void add_chain(std::string_view name);
  void add_element(const NftElement& element);

 private:
  ServicesBuilder& builder_;
  bool v6_;
  std::set<Address> cluster_ips_;
};

}  // namespace droptrace
