// SPDX-License-Identifier: GPL-2.0-only
// Drops that are known to be harmless. The table in noise.cpp is the only place that says so.
#pragma once

#include <string_view>

#include "core/packet.h"

namespace droptrace {

// Why a drop is harmless, in a few words; empty if it is not known to be. reason is the name,
// function the symbol that freed the packet, without its offset. A dropped SYN is never harmless.
std::string_view noise_reason(std::string_view reason, std::string_view function,
                              const Packet& packet);

}  // namespace droptrace
