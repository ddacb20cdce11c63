// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/kernel_symbols.h"

#include <cerrno>
#include <string_view>
#include <utility>

#include "kernel/error.h"
#include "kernel/files.h"

namespace droptrace {

KernelSymbols read_kernel_symbols() {
  SymbolsBuilder builder;
  if (!read_pieces("/proc/kallsyms", [&](std::string_view piece) { builder.add(piece); }))
    return {{}, "/proc/kallsyms cannot be read: " + errno_text(errno)};
  if (builder.hidden())
    return {{},
            "the kernel hides its addresses (kernel.kptr_restrict=2, or no CAP_SYSLOG): set "
            "kernel.kptr_restrict to 0 or 1 and run with CAP_SYSLOG"};
  return {std::move(builder).build(), std::nullopt};
}

}  // namespace droptrace
