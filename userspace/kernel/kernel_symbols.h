// SPDX-License-Identifier: GPL-2.0-only
// The kernel's own names for addresses, from /proc/kallsyms.
#pragma once

#include <optional>
#include <string>

#include "core/symbols.h"

namespace droptrace {

struct KernelSymbols {
  Symbols symbols;
  std::optional<std::string> problem;  // why there are none
};

// Takes some 100 ms on a kernel with 120,000 symbols; never throws: addresses will do.
KernelSymbols read_kernel_symbols();

}  // namespace droptrace
