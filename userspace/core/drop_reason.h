// SPDX-License-Identifier: GPL-2.0-only
// Names of drop reasons, built from the running kernel's enums: numbers move between kernels.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace droptrace {

// One enum as BTF has it.
struct KernelEnum {
  std::string name;  // e.g. skb_drop_reason
  std::vector<std::pair<std::string, std::uint32_t>> values;
};

class DropReasons {
 public:
  DropReasons() = default;

  // From enum skb_drop_reason, enum skb_drop_reason_subsys and any subsystem's own enums (those of
  // mac80211, openvswitch, …): an enum belongs to the subsystem that the upper 16 bits of its
  // values name (Linux 6.4, 071c0fc6fb91). Enums that fit nowhere are ignored.
  explicit DropReasons(const std::vector<KernelEnum>& enums);

  // "NETFILTER_DROP"; "OPENVSWITCH/OVS_DROP_ACTION_ERROR"; a subsystem reason without a name is
  // "OPENVSWITCH/7", any other unknown value its number.
  std::string name(std::uint32_t reason) const;

  // The number behind a core reason's name ("NETFILTER_DROP"), if this kernel has it.
  std::optional<std::uint32_t> value(const std::string& name) const;

  bool empty() const { return names_.empty(); }

 private:
  std::unordered_map<std::uint32_t, std::string> names_;
  std::unordered_map<std::uint32_t, std::string> subsystems_;
};

}  // namespace droptrace
