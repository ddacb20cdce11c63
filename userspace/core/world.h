// SPDX-License-Identifier: GPL-2.0-only
// What the tracer knows about its surroundings: an immutable snapshot, replaced whole when it
// changes. Look-ups in it never block.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/api_names.h"
#include "core/services.h"
#include "core/workloads.h"

namespace droptrace {

// The other end of a veth.
struct Peer {
  std::uint32_t ifindex = 0;
  std::optional<std::uint32_t> netns;  // inode number, if that namespace is known

  bool operator==(const Peer&) const = default;
};

struct Link {
  std::string name;
  std::string kind;  // "veth", "bridge", …; empty if the kernel names none
  std::optional<Peer> peer;

  bool operator==(const Link&) const = default;
};

// How long a client keeps trying to connect (ip-sysctl: tcp_syn_retries and, since Linux 6.5,
// tcp_syn_linear_timeouts).
struct SynTimers {
  unsigned retries = 6;
  unsigned linear_timeouts = 0;

  bool operator==(const SynTimers&) const = default;
};

// A route that leads over another host.
struct Route {
  Cidr destination;
  Address gateway;

  bool operator==(const Route&) const = default;
};

struct Netns {
  std::uint32_t inum = 0;
  std::string where;                    // "node", "netns:NAME", "netns:INUM"; pods are in workloads
  std::string process;                  // comm of one that is in it, if its mount has no name
  std::map<std::uint32_t, Link> links;  // by ifindex
  std::set<Address> addresses;
  std::vector<Route> routes;  // the node's to other nodes' pods
  std::optional<SynTimers> syn_timers;
  bool gone = false;  // deleted, kept for a while so that late drops still have a name

  bool operator==(const Netns&) const = default;
};

// Where a list of CIDRs was found.
struct CidrList {
  std::vector<Cidr> cidrs;
  std::string source;  // "/kind/kubeadm.conf", "--pod-cidr", "default"

  bool contains(const Address& address) const;
};

// Who has an address, as far as the files of the node and the API server tell.
struct Owner {
  enum class Kind { kPod, kNode };
  Kind kind = Kind::kPod;
  std::string space;   // Kubernetes namespace of the pod
  std::string name;    // of the pod, or the node's host name
  bool gone = false;   // the pod was deleted
  std::string node{};  // the other node that the pod is on; empty: this one

  bool operator==(const Owner&) const = default;
};

// As the JSON schema spells it: "p/NS/POD", "node/NAME".
std::string to_string(const Owner& owner);

enum class AddressClass { kPod, kService, kNode, kLoopback, kExternal };

// As the JSON schema spells it: "pod", …
std::string_view to_string(AddressClass address_class);

// What the Docker host's namespace is called.
inline constexpr std::string_view kHostPlace = "host";

struct World {
  std::map<std::uint32_t, std::shared_ptr<const Netns>> namespaces;  // by inode number
  std::uint32_t own_netns = 0;                                       // the node's
  std::string node_name;                                             // empty: names are not wanted
  CidrList service_cidrs;
  CidrList pod_cidrs;
  std::shared_ptr<const Services> services;    // nullptr: not known, or not yet
  std::shared_ptr<const Workloads> workloads;  // nullptr: names are not wanted
  std::shared_ptr<const ApiNames> api;         // nullptr: not asked, or no answer yet

  // nullptr if the namespace was never seen.
  const Netns* netns(std::uint32_t inum) const;
  const Link* link(std::uint32_t inum, std::uint32_t ifindex) const;
  // "node", "pod:NS/NAME", "netns:NAME"; "netns:INUM" for a namespace never seen.
  std::string where(std::uint32_t inum) const;
  // "WHERE/IFNAME" of the other end of a veth, if it is known.
  std::optional<std::string> peer(std::uint32_t inum, std::uint32_t ifindex) const;
  // The namespace that owns an address; nullptr if none does or more than one.
  const Netns* owner(const Address& address) const;
  // Whose an address is now: the node's own, or a pod's, on another node only if the API server was
  // asked. A pod that is gone has its address until another has it. nullopt if nobody is known to
  // have it.
  std::optional<Owner> who(const Address& address) const;
  // The node that the pods of this address are on, by its address, if a route leads to them.
  std::optional<Address> remote_node(const Address& address) const;
  // An address of the node itself counts as node even inside the pod CIDR (each host veth of
  // kindnet carries the pods' gateway address).
  AddressClass classify(const Address& address) const;
};

}  // namespace droptrace
