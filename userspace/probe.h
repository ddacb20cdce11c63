// SPDX-License-Identifier: GPL-2.0-only
// `droptrace probe`: dials once and shows the way of that attempt.
#pragma once

#include "options.h"

namespace droptrace {

// Prints the way and returns the exit status: 0 if there was an answer, 3 if there was none. Throws
// Error.
int probe(const ProbeOptions& options);

}  // namespace droptrace
