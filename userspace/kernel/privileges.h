// SPDX-License-Identifier: GPL-2.0-only
// May this process trace? Asked before anything is loaded, so that the answer names what is
// missing.
#pragma once

#include <optional>
#include <string>

namespace droptrace {

// Throws Error (exit status 4) naming the missing capability, or a lockdown mode that forbids
// reading kernel memory.
void require_tracing_privileges();

// Why other network namespaces cannot be entered; nullopt if they can.
std::optional<std::string> missing_for_netns();

// What a refused bpf() most likely means here; one clause for an error line.
std::string bpf_refusal_hint(int error);

// Throws Error for a call of bpf() that was refused: exit status 4 where the kernel or the
// privileges are the reason.
[[noreturn]] void refuse_bpf(const std::string& what, int error);

}  // namespace droptrace
