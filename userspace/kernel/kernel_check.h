// SPDX-License-Identifier: GPL-2.0-only
// What the running kernel allows a tracer, as lines of `droptrace check`.
#pragma once

#include <vector>

#include "core/finding.h"

namespace droptrace {

// Release, lockdown, BTF, symbols, and which types of BPF programs load: each is tried with one
// that does nothing.
std::vector<Finding> check_kernel();

// Whether tables of nf_tables can be added for packet tracing, tried in a namespace of our own.
Finding check_rule_tracing();

}  // namespace droptrace
