// SPDX-License-Identifier: GPL-2.0-only
// Drops that are known to be harmless. The table in noise.cpp is the only place that says so.
#pragma once

#include <string_view>

#include "core/packet.h"

namespace droptrace {

// The one reason why a dropped SYN is harmless: it came again after it had been answered. Nothing
// is wrong with it, but its client has not got the answer.
inline constexpr std::string_view kRepeatedSyn = "repeated SYN, which is answered once more";

// Why a drop is harmless, in a few words; empty if it is not known to be. reason is the name,
// function the symbol that freed the packet, without its offset.
std::string_view noise_reason(std::string_view reason, std::string_view function,
                              const Packet& packet);

}  // namespace droptrace
