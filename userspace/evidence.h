// SPDX-License-Identifier: GPL-2.0-only
// What a run gives besides the log: a recording, a report, metrics. A failure to write them never
// stops the log; it is said, and the exit status is 1.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/totals.h"
#include "kernel/metrics_server.h"
#include "kernel/recording_file.h"
#include "options.h"
#include "recording/event.h"
#include "recording/pcapng_writer.h"
#include "report/metrics.h"
#include "report/summary.h"

namespace droptrace {

class Pipeline;

// What a recording begins with; environment is its line of JSON.
RecordingHeader header_of(const std::string& environment);

class Evidence {
 public:
  using Say = std::function<void(const std::string&)>;

  // options must outlive it. Throws Error if the recording cannot be begun.
  Evidence(const Options& options, Say say) : options_(options), say_(std::move(say)) {}

  // Nothing is kept if the options ask for nothing.
  void start(Pipeline& pipeline, const RecordingHeader& header);

  // Serves metrics, if the options ask for them: before start().
  void serve(EventLoop& loop, std::function<MetricsNow()> now);

  // Hands on what has been gathered. False: nobody wants more of it.
  bool flush();

  // The last call.
  void finish(std::int64_t time_ns, const Totals& totals);

  bool failed() const { return failed_; }

 private:
  void see(const RecordedEvent& event);
  void close_recording(std::int64_t time_ns, const Totals& totals);
  void write_report();

  const Options& options_;
  Say say_;
  std::optional<RecordingFile> file_;
  std::optional<PcapngWriter> writer_;
  std::uint64_t packets_written_ = 0;
  UniqueFd report_file_;
  std::optional<Summary> summary_;  // for the report
  std::optional<Metrics> metrics_;
  std::optional<MetricsServer> server_;
  bool failed_ = false;
};

}  // namespace droptrace
