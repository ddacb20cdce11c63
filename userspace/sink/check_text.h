// SPDX-License-Identifier: GPL-2.0-only
// The report of `droptrace check` for people: a section, a line for each finding, what mends it
// below.
#pragma once

#include <string>

#include "core/finding.h"

namespace droptrace {

std::string check_text(const CheckReport& report, bool color);

}  // namespace droptrace
