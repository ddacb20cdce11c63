// SPDX-License-Identifier: GPL-2.0-only
// What the files say that the container runtime and the CNI plugins keep on a node about its pods,
// and which pods that makes. Text in, values out; who reads them is kernel/pod_loader.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/workloads.h"

namespace droptrace {

// What libcni keeps of an attachment that it made, in /var/lib/cni/results/NETWORK-SANDBOX-IFNAME:
// of all files the one that knows most. Nodes that restart keep it although the pod is gone.
// nullopt if it is malformed or not of a pod's Ethernet, such as that of the loopback network.
std::optional<Pod> pod_from_cni_cache(std::string_view json);

// A container as containerd's CRI plugin starts it, from the annotations and namespaces in the
// config.json of its bundle (OCI runtime specification).
struct ContainerFacts {
  bool is_sandbox = false;
  std::string sandbox_id;
  std::string space;  // of the pod; empty if it is not there, as are the next two
  std::string name;
  std::string uid;
  std::string netns_mount;  // name under /run/netns; empty: on the node's network, or in the pod's
                            // sandbox

  bool operator==(const ContainerFacts&) const = default;
};

// nullopt if it is malformed or not of a pod's container.
std::optional<ContainerFacts> container_from_config(std::string_view json);

// The sandbox that an address is reserved for: host-local's file, named after the address, holds
// the sandbox and, since 0.8, behind CR LF the interface. nullopt if it names no sandbox.
std::optional<std::string> sandbox_from_lease(std::string_view text);

struct PodLogs {
  std::string space;
  std::string name;
  std::string uid;

  bool operator==(const PodLogs&) const = default;
};

// From the name of a pod's directory in /var/log/pods, "NAMESPACE_POD_UID".
std::optional<PodLogs> pod_from_log_directory(std::string_view name);

struct PodFiles {
  std::vector<Pod> attachments;  // of libcni; a pod on several networks has several
  std::map<std::string, ContainerFacts> containers;  // by container id
  std::map<Address, std::string> leases;             // to sandbox ids
  std::vector<PodLogs> logs;
};

// The pods that live: those whose namespace is mounted. mounts: inode numbers by the name under
// /run/netns. Pods on the node's own network are not among them.
std::vector<Pod> live_pods(const PodFiles& files,
                           const std::map<std::string, std::uint32_t>& mounts);

}  // namespace droptrace
