// SPDX-License-Identifier: GPL-2.0-only
// Pods for tests of who has an address.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/workloads.h"

namespace droptrace {

inline Address address_of(std::string_view text) { return parse_address(text).value(); }

// In namespace "data"; sandbox, mount and veth are named after it.
inline Pod pod(const std::string& name, std::string_view address, std::uint32_t netns) {
  Pod pod;
  pod.space = "data";
  pod.name = name;
  pod.sandbox_id = "sandbox-" + name;
  pod.addresses = {address_of(address)};
  pod.host_veth = "veth-" + name;
  pod.netns_mount = "cni-" + name;
  pod.netns = netns;
  return pod;
}

// gone: pods that lived before the others.
inline std::shared_ptr<const Workloads> workloads_of(std::vector<Pod> live,
                                                     std::vector<Pod> gone = {}) {
  auto workloads = std::make_shared<Workloads>();
  workloads->update(std::move(gone), 0);
  workloads->update(std::move(live), 1);
  return workloads;
}

}  // namespace droptrace
