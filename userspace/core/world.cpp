// SPDX-License-Identifier: GPL-2.0-only
#include "core/world.h"

#include <algorithm>

#include <fmt/format.h>

namespace droptrace {
namespace {

// The kernel gives the number of a namespace that ended to the next one: a pod that is gone counts
// only while its namespace is the last one that had the number.
const Pod* pod_in(const World& world, std::uint32_t inum) {
  const Pod* const pod = world.workloads ? world.workloads->in_netns(inum) : nullptr;
  if (!pod || inum == world.own_netns) return nullptr;
  if (!pod->gone) return pod;
  const Netns* const known = world.netns(inum);
  const bool is_same = known && known->where == "netns:" + pod->netns_mount;
  return is_same ? pod : nullptr;
}

// The namespace that has the address says most: what the files tell may be of the last moment.
const Pod* pod_at(const World& world, const Address& address) {
  if (!world.workloads) return nullptr;
  const std::vector<const Pod*> candidates = world.workloads->with_address(address);
  if (candidates.empty() && !world.pod_cidrs.contains(address)) return nullptr;
  const Pod* only = nullptr;
  std::size_t living = 0;
  for (const Pod* const pod : candidates) {
    if (pod->gone) continue;
    const Netns* const its = world.netns(pod->netns);
    const bool has_it = its && its->addresses.contains(address);
    if (has_it && candidates.size() == 1) return pod;
    only = pod;
    ++living;
  }
  if (const Netns* const holder = world.owner(address)) return pod_in(world, holder->inum);
  // A pod whose interface lost the address is still the one that it was given to.
  if (living > 0) return living == 1 ? only : nullptr;
  return candidates.empty() ? nullptr : candidates.front();
}

}  // namespace

bool CidrList::contains(const Address& address) const {
  return std::ranges::any_of(cidrs, [&](const Cidr& cidr) { return cidr.contains(address); });
}

std::string_view to_string(AddressClass address_class) {
  switch (address_class) {
    case AddressClass::kPod:
      return "pod";
    case AddressClass::kService:
      return "service";
    case AddressClass::kNode:
      return "node";
    case AddressClass::kLoopback:
      return "loopback";
    case AddressClass::kExternal:
      return "external";
  }
  return "";
}

std::string to_string(const Owner& owner) {
  if (owner.kind == Owner::Kind::kNode) return "node/" + owner.name;
  return fmt::format("p/{}/{}", owner.space, owner.name);
}

const Netns* World::netns(std::uint32_t inum) const {
  const auto found = namespaces.find(inum);
  return found == namespaces.end() ? nullptr : found->second.get();
}

const Link* World::link(std::uint32_t inum, std::uint32_t ifindex) const {
  const Netns* const of = netns(inum);
  if (!of) return nullptr;
  const auto found = of->links.find(ifindex);
  return found == of->links.end() ? nullptr : &found->second;
}

std::string World::where(std::uint32_t inum) const {
  if (const Pod* const pod = pod_in(*this, inum))
    return fmt::format("pod:{}/{}", pod->space, pod->name);
  const Netns* const known = netns(inum);
  return known ? known->where : fmt::format("netns:{}", inum);
}

std::optional<std::string> World::peer(std::uint32_t inum, std::uint32_t ifindex) const {
  const Link* const near = link(inum, ifindex);
  if (!near || !near->peer || !near->peer->netns) return std::nullopt;
  const Link* const far = link(*near->peer->netns, near->peer->ifindex);
  if (!far) return std::nullopt;
  return fmt::format("{}/{}", where(*near->peer->netns), far->name);
}

const Netns* World::owner(const Address& address) const {
  const Netns* owner = nullptr;
  for (const auto& [inum, candidate] : namespaces) {
    // The address of a deleted pod may already be another's.
    if (candidate->gone || !candidate->addresses.contains(address)) continue;
    if (owner) return nullptr;
    owner = candidate.get();
  }
  return owner;
}

std::optional<Owner> World::who(const Address& address) const {
  const AddressClass kind = classify(address);
  if (kind == AddressClass::kNode && !node_name.empty())
    return Owner{Owner::Kind::kNode, {}, node_name};
  if (kind != AddressClass::kPod && kind != AddressClass::kExternal) return std::nullopt;
  if (const Pod* const here = pod_at(*this, address))
    return Owner{Owner::Kind::kPod, here->space, here->name, here->gone};
  // The files of this node are newer than what the API server has told of its pods.
  const ApiNames::Pod* const pod = api ? api->pod(address) : nullptr;
  if (pod && pod->node != node_name)
    return Owner{Owner::Kind::kPod, pod->space, pod->name, false, pod->node};
  return std::nullopt;
}

std::optional<Address> World::remote_node(const Address& address) const {
  const Netns* const own = netns(own_netns);
  if (!own || !workloads || classify(address) != AddressClass::kPod) return std::nullopt;
  const Route* best = nullptr;
  for (const Route& route : own->routes) {
    if (!route.destination.contains(address)) continue;
    if (!best || route.destination.prefix_length > best->destination.prefix_length) best = &route;
  }
  return best ? std::optional(best->gateway) : std::nullopt;
}

AddressClass World::classify(const Address& address) const {
  if (is_loopback(address)) return AddressClass::kLoopback;
  // Before the node's own: kube-proxy's IPVS mode and NodeLocal DNSCache bind service addresses.
  if (service_cidrs.contains(address)) return AddressClass::kService;
  const Netns* const own = netns(own_netns);
  if (own && own->addresses.contains(address)) return AddressClass::kNode;
  if (pod_cidrs.contains(address)) return AddressClass::kPod;
  return AddressClass::kExternal;
}

}  // namespace droptrace
