// SPDX-License-Identifier: GPL-2.0-only
// The pods of this node, as an index that names a namespace, an address or a host's veth. A pod
// that was deleted is remembered for a while: a client may go on dialling its address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"

namespace droptrace {

// A port of the node that portmap hands on to a pod. Ports in host order.
struct PortMapping {
  std::uint16_t host = 0;
  std::uint16_t container = 0;
  std::string protocol;            // "tcp"
  std::optional<Address> host_ip;  // absent: any address of the node

  bool operator==(const PortMapping&) const = default;
};

// A pod's sandbox; a pod that is created again under its old name is another one.
struct Pod {
  std::string space;  // its Kubernetes namespace
  std::string name;
  std::string uid;  // empty if no file has it
  std::string sandbox_id;
  std::set<Address> addresses;  // as the CNI plugin gave them
  std::string host_veth;        // empty if no file has it
  std::string netns_mount;      // name under /run/netns
  std::uint32_t netns = 0;      // inode number
  std::set<std::string> containers;
  std::vector<PortMapping> host_ports;
  bool gone = false;

  bool operator==(const Pod&) const = default;
};

class Workloads {
 public:
  // Takes the pods that live now; those that did and are not among them are gone, remembered for
  // minutes. Returns true if anything changed. now_ns: any monotonic clock.
  bool update(std::vector<Pod> live, std::uint64_t now_ns);

  const std::vector<Pod>& pods() const { return pods_; }

  // Pods that have or had the address, those that live first, then the last that went.
  std::vector<const Pod*> with_address(const Address& address) const;
  // The pod of a namespace or of a veth on the node's side: the one that lives, else the last one
  // that went; nullptr if there was none.
  const Pod* in_netns(std::uint32_t inum) const;
  const Pod* behind(std::string_view host_veth) const;

 private:
  void index();

  std::vector<Pod> pods_;                            // the order of with_address()
  std::map<std::string, std::uint64_t> gone_since_;  // by sandbox
  std::multimap<Address, std::size_t> by_address_;
  std::map<std::uint32_t, std::size_t> by_netns_;
  std::map<std::string, std::size_t, std::less<>> by_veth_;
};

}  // namespace droptrace
