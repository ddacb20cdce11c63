// SPDX-License-Identifier: GPL-2.0-only
// What the kernel and the privileges allow is found out by trying.
#pragma once

#include <linux/bpf.h>

#include <cstdint>

namespace droptrace {

// Returns 0, or the errno value why a program of that type, which does nothing, does not load.
// btf_id: of the kernel's function or tracepoint; 0: the type needs none.
int try_program(bpf_prog_type type, bpf_attach_type attach, std::uint32_t btf_id);

}  // namespace droptrace
