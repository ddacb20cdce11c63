// SPDX-License-Identifier: GPL-2.0-only
// Reads what `droptrace check` judges a node by. Nothing is changed, no module loaded for it.
#pragma once

#include <string>
#include <vector>

#include "core/node_check.h"

namespace droptrace {

// The namespace that the process is in and the others that discover_netns() finds. uses_ipv6 is
// left to the caller.
NodeFacts read_node();

// Which of these programs are in PATH.
std::vector<std::string> programs_here(const std::vector<std::string>& names);

}  // namespace droptrace
