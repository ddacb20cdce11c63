// SPDX-License-Identifier: GPL-2.0-only
// `droptrace -r FILE`: a recording instead of the kernel. Needs no privileges.
#pragma once

#include <functional>
#include <string>

#include "options.h"
#include "recording/event.h"

namespace droptrace {

// Returns the exit status.
int replay(const Options& options);

// Passes the events of a recording on until consume says no. Says what of it could not be read;
// false if the file is damaged, which one that merely ends early is not. Throws Error if it is no
// recording.
// facts: as PcapngReader has it.
using ConsumeEvent = std::function<bool(const RecordedEvent&)>;
using SayLine = std::function<void(const std::string&)>;
bool read_recording(const std::string& path, const ConsumeEvent& consume, const SayLine& say,
                    bool facts = true);

}  // namespace droptrace
