// SPDX-License-Identifier: GPL-2.0-only
// `droptrace check`: what kernel and node allow, and node state that kills traffic.
#pragma once

#include "options.h"

namespace droptrace {

// Prints the report and returns the exit status: 4 if droptrace cannot trace here, else 3 if
// something is found that kills traffic. Throws Error.
int check(const CheckOptions& options);

}  // namespace droptrace
