// SPDX-License-Identifier: GPL-2.0-only
// What is registered at netfilter's hooks, by the names of the kernel's functions: which part of
// netfilter each belongs to, and what it means that it dropped a packet.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/drop.h"

namespace droptrace {

// kOther if the function is not known; name without what the compiler appends.
NetfilterBackend backend_of_hook_function(std::string_view name);

// What all of these functions belong to; kOther if that is more than one part, or not known.
NetfilterBackend common_backend(std::span<const std::string> functions);

// What the function did to a packet that it dropped, as far as that can be said in general, and in
// brackets what is often the cause: "refused it (table full?)". Empty if there is nothing to say.
std::string_view deed_of_hook_function(std::string_view name);

// True if nf_hook_slow never frees a packet for this function: it keeps or frees by itself what it
// does not let pass. nft_frees: so does nf_tables on this kernel (Linux 6.7, e0d4593140b0).
bool frees_in_place(std::string_view name, bool nft_frees);

// True if the function lets every packet pass that has a conntrack entry at the end, or that has
// none: NAT and the confirmation have nothing to do without one, and conntrack gives none to what
// it refuses.
bool passes_by_conntrack(std::string_view name, bool has_entry);

}  // namespace droptrace
