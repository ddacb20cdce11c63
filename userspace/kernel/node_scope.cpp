// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/node_scope.h"

#include <linux/netlink.h>

#include <algorithm>
#include <string>
#include <utility>

#include "core/cluster.h"
#include "kernel/files.h"
#include "kernel/netlink.h"
#include "kernel/route.h"

namespace droptrace {

namespace {

constexpr const char* kCniDirectory = "/etc/cni/net.d";

std::vector<Cidr> read_own_pod_cidrs() {
  std::vector<Cidr> found;
  for (const std::string& name : list_directory(kCniDirectory)) {
    if (!name.ends_with(".conflist")) continue;
    const auto text = read_file(std::string(kCniDirectory) + "/" + name);
    if (text) std::ranges::move(pod_cidrs_from_conflist(*text), std::back_inserter(found));
  }
  return found;
}

// Every host veth of kindnet has the pods' gateway address, and each link one of fe80::/10: neither
// tells this node from another.
bool is_of_this_node_alone(const Address& address) {
  const bool link_local =
      address.v6 && address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
  return !is_loopback(address) && !link_local;
}

}  // namespace

NodeScope::NodeScope(std::vector<Cidr> cluster)
    : cluster_(std::move(cluster)), own_pods_(read_own_pod_cidrs()) {
  own_.insert(own_pods_.begin(), own_pods_.end());
}

std::vector<WatchedPrefix> NodeScope::prefixes() const {
  return watched_prefixes(cluster_, {own_.begin(), own_.end()});
}

void NodeScope::refresh(const WatchMaps& maps, const BpfObject& bpf, WorldLoader& world) {
  const std::shared_ptr<const World> now = world.world();
  const auto found = now->namespaces.find(switch_.home());
  const bool node_changed = found != now->namespaces.end() && found->second != seen_;
  const bool pods_changed = now->workloads && now->workloads != seen_pods_;
  std::size_t added = 0;
  if (node_changed) {
    seen_ = found->second;
    for (const Address& address : seen_->addresses) {
      if (is_of_this_node_alone(address)) added += own_.insert(host_cidr(address)).second ? 1 : 0;
    }
  }
  if (pods_changed) {
    seen_pods_ = now->workloads;
    added += add_pods(*seen_pods_);
  }
  if (added > 0) {
    for (const WatchedPrefix& prefix : prefixes()) maps.watch_prefix(prefix);
  }
  if (node_changed) find_hosts(bpf, world, *seen_);
}

// Returns how many addresses are new: none where the CNI's configuration has named their network.
std::size_t NodeScope::add_pods(const Workloads& workloads) {
  const auto is_known = [](const std::vector<Cidr>& networks, const Address& address) {
    return std::ranges::any_of(networks, [&](const Cidr& cidr) { return cidr.contains(address); });
  };
  std::size_t added = 0;
  for (const Pod& pod : workloads.pods()) {
    for (const Address& address : pod.addresses) {
      if (is_known(own_pods_, address) || !is_known(cluster_, address)) continue;
      added += own_.insert(host_cidr(address)).second ? 1 : 0;
    }
  }
  return added;
}

// The host is behind the veth that the default route leaves by, or that Docker has named eth0. The
// other veths lead to pods, whose namespaces may just not have been found yet.
void NodeScope::find_hosts(const BpfObject& bpf, WorldLoader& world, const Netns& node) {
  std::set<std::uint32_t> ways_out;
  if (auto socket = NetlinkSocket::open(NETLINK_ROUTE))
    ways_out = read_default_route_links(*socket).value_or(std::set<std::uint32_t>{});
  std::map<std::uint32_t, VethPeer> peers;
  for (const auto& [ifindex, link] : node.links) {
    if (link.kind != "veth" || !link.peer) continue;
    if (!ways_out.contains(ifindex) && link.name != "eth0") continue;
    const auto peer = bpf.find_peer(ifindex);
    if (peer && !world.live().contains(peer->netns)) peers.emplace(ifindex, *peer);
  }
  hosts_.clear();
  for (const auto& [ifindex, peer] : peers) {
    hosts_.insert(peer.netns);
    world.set_host_link(ifindex, peer);
  }
}

}  // namespace droptrace
