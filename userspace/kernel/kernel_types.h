// SPDX-License-Identifier: GPL-2.0-only
// What the running kernel's BTF tells: the enums of drop reasons and the tracepoint's arguments.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "core/drop_reason.h"

namespace droptrace {

struct KernelTypes {
  std::vector<KernelEnum> drop_reason_enums;       // of vmlinux and of the modules that have some
  bool kfree_skb_has_reason = false;               // the tracepoint's third argument, Linux >= 5.17
  bool has_conntrack = false;                      // struct nf_conn is known, so NAT can be read
  std::set<std::string, std::less<>> tracepoints;  // that tp_btf programs can be attached to
  std::optional<std::uint32_t> nf_hook_slow;       // its type's id in the kernel's BTF
  bool has_nf_queue = false;                       // what puts packets into an NFQUEUE
  // How many arguments __nft_trace_packet has. nullopt if it is not known, or if the kernel keeps
  // rules as it did before Linux 5.17; nf_tables may be a module that is not loaded.
  std::optional<unsigned> nft_trace_arguments;
};

// Throws Error (exit status 4) if the kernel has no BTF or no skb:kfree_skb tracepoint in it.
KernelTypes read_kernel_types();

}  // namespace droptrace
