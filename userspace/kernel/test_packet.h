// SPDX-License-Identifier: GPL-2.0-only
// What the self-tests have in common: a packet that dies in a namespace of our own, and its record.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "droptrace/event.h"

#include "kernel/bpf_object.h"

namespace droptrace {

// Gets the records that are not of the test.
using OtherRecords = std::function<void(std::span<const std::byte>)>;

// In the thread's namespace. Returns 0 or an errno value.
int bring_loopback_up();

// Sends one datagram to the port of the loopback, which something drops in the sending system call,
// and returns its record; nullopt if there is none from this namespace.
std::optional<dt_drop> drop_one(BpfObject& bpf, std::uint32_t netns, std::uint16_t port,
                                const OtherRecords& other);

}  // namespace droptrace
