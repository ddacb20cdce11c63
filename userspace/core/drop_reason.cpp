// SPDX-License-Identifier: GPL-2.0-only
#include "core/drop_reason.h"

#include <algorithm>
#include <string_view>

namespace droptrace {
namespace {

constexpr std::string_view kReasonPrefix = "SKB_DROP_REASON_";
constexpr std::string_view kSubsystemPrefix = "SKB_DROP_REASON_SUBSYS_";

// As SKB_DROP_REASON_SUBSYS_SHIFT has it, which is a macro and so no part of BTF.
constexpr std::uint32_t subsystem_of(std::uint32_t reason) { return reason >> 16; }
constexpr std::uint32_t number_in_subsystem(std::uint32_t reason) { return reason & 0xffff; }

using Names = std::unordered_map<std::uint32_t, std::string>;

std::string without_prefix(std::string_view name, std::string_view prefix) {
  return std::string(name.starts_with(prefix) ? name.substr(prefix.size()) : name);
}

// True of enumerators that say something of their enum: where it ends, or how to mask its values.
bool is_no_reason(std::string_view name) {
  return name.ends_with("_MAX") || name.ends_with("_SUBSYS_MASK");
}

void add_subsystems(const KernelEnum& kernel_enum, Names& subsystems) {
  for (const auto& [name, value] : kernel_enum.values) {
    if (name == "SKB_DROP_REASON_SUBSYS_CORE" || name == "SKB_DROP_REASON_SUBSYS_NUM") continue;
    subsystems.emplace(value, without_prefix(name, kSubsystemPrefix));
  }
}

void add_core_reasons(const KernelEnum& kernel_enum, Names& names) {
  for (const auto& [name, value] : kernel_enum.values) {
    if (!is_no_reason(name)) names.emplace(value, without_prefix(name, kReasonPrefix));
  }
}

// One enum may hold reasons of several subsystems and of the core (mac80211_drop_reason).
void add_subsystem_reasons(const KernelEnum& kernel_enum, const Names& subsystems, Names& names) {
  const bool fits = std::ranges::all_of(kernel_enum.values, [&](const auto& value) {
    const std::uint32_t subsystem = subsystem_of(value.second);
    return subsystem == 0 || subsystems.contains(subsystem);
  });
  if (!fits) return;
  for (const auto& [name, value] : kernel_enum.values) {
    const auto subsystem = subsystems.find(subsystem_of(value));
    if (subsystem == subsystems.end() || is_no_reason(name)) continue;
    // An enum's first value and mac80211's inner enum have leading underscores.
    const std::size_t start = std::min(name.find_first_not_of('_'), name.size());
    names.emplace(value, subsystem->second + '/' + name.substr(start));
  }
}

}  // namespace

DropReasons::DropReasons(const std::vector<KernelEnum>& enums) {
  for (const KernelEnum& kernel_enum : enums) {
    if (kernel_enum.name == "skb_drop_reason_subsys") add_subsystems(kernel_enum, subsystems_);
  }
  for (const KernelEnum& kernel_enum : enums) {
    if (kernel_enum.name == "skb_drop_reason") {
      add_core_reasons(kernel_enum, names_);
    } else if (kernel_enum.name != "skb_drop_reason_subsys") {
      add_subsystem_reasons(kernel_enum, subsystems_, names_);
    }
  }
}

std::string DropReasons::name(std::uint32_t reason) const {
  if (const auto found = names_.find(reason); found != names_.end()) return found->second;
  const auto subsystem = subsystems_.find(subsystem_of(reason));
  if (subsystem == subsystems_.end()) return std::to_string(reason);
  return subsystem->second + '/' + std::to_string(number_in_subsystem(reason));
}

std::optional<std::uint32_t> DropReasons::value(const std::string& name) const {
  const auto found = std::ranges::find(names_, name, &Names::value_type::second);
  if (found == names_.end()) return std::nullopt;
  return found->first;
}

}  // namespace droptrace
