// SPDX-License-Identifier: GPL-2.0-only
// What a kernel stack says about a drop: the netfilter hook it happened in, and whether the current
// task had anything to do with it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace droptrace {

enum class Hook { kPrerouting, kInput, kForward, kOutput, kPostrouting, kIngress, kEgress };

// As nft spells it: "prerouting", …
std::string_view to_string(Hook hook);

// From the kernel's number of a hook (NF_INET_*, NF_ARP_*, NF_NETDEV_*) of a protocol family
// (NFPROTO_*); nullopt if there is no such hook.
std::optional<Hook> hook_from_number(unsigned nfproto, unsigned number);

// The hook, from the functions that call nf_hook_slow. stack holds symbol names, innermost first.
// nullopt if none of them runs a hook (an NFQUEUE verdict runs on its listener's stack).
std::optional<Hook> hook_of_stack(const std::vector<std::string_view>& stack);

// True if the drop happened in a system call of the current task: a system call's frame and no
// softirq above it. Only then does the task's name mean anything.
bool in_process_context(const std::vector<std::string_view>& stack);

}  // namespace droptrace
