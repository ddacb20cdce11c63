// SPDX-License-Identifier: GPL-2.0-only
// A live trace from start to end: wires the kernel side, the core and a sink into one event loop.
#pragma once

#include <memory>

#include "core/world.h"
#include "options.h"
#include "path_log.h"
#include "sink/sink.h"

namespace droptrace {

// Something that is done while a trace runs, with an output of its own.
class Guest {
 public:
  virtual ~Guest() = default;
  virtual std::unique_ptr<Sink> make_sink() = 0;
  // Called again and again once everything is attached. True ends the trace.
  virtual bool step(const World& world, const PathLog::Live& live, PathLog& path_log) = 0;
};

// Traces until something ends it and returns the exit status. Throws Error.
int trace(const Options& options, Guest* guest = nullptr);

}  // namespace droptrace
