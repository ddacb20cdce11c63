// SPDX-License-Identifier: GPL-2.0-only
// What is this node's own: its addresses and its pods', and the Docker host's namespace, where its
// packets die as well. All nodes of a machine share that one, and from inside the node's container
// it can be neither seen nor entered.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "core/address.h"
#include "core/scope.h"
#include "kernel/bpf_object.h"
#include "kernel/netns.h"
#include "kernel/world_loader.h"

namespace droptrace {

class NodeScope {
 public:
  // cluster: service and pod CIDRs. The node's own pod CIDR is read from its CNI configuration.
  explicit NodeScope(std::vector<Cidr> cluster);

  // All prefixes known now, for BpfOptions.
  std::vector<WatchedPrefix> prefixes() const;

  // Looks at the node's links, its addresses and its pods' and tells bpf and world what is new.
  // Call when the world may have changed; does nothing if that part of it has not.
  void refresh(const WatchMaps& maps, const BpfObject& bpf, WorldLoader& world);

  // Namespaces of the Docker host: one, or none if it was not found.
  const std::set<std::uint32_t>& hosts() const { return hosts_; }

 private:
  std::size_t add_pods(const Workloads& workloads);
  void find_hosts(const BpfObject& bpf, WorldLoader& world, const Netns& node);

  std::vector<Cidr> cluster_;
  std::vector<Cidr> own_pods_;
  std::set<Cidr> own_;
  std::set<std::uint32_t> hosts_;
  // The node's namespace and its pods as they were at the last look.
  std::shared_ptr<const Netns> seen_;
  std::shared_ptr<const Workloads> seen_pods_;
  NetnsSwitch switch_;
};

}  // namespace droptrace
