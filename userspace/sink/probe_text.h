// SPDX-License-Identifier: GPL-2.0-only
// What `droptrace probe` prints.
#pragma once

#include <string>

#include "core/probe.h"

namespace droptrace {

// One line a hop, and a last one that says how it ended, where and why.
std::string probe_text(const ProbeResult& result, bool color);

// "answered", "rejected", …
std::string_view to_string(Outcome outcome);

}  // namespace droptrace
