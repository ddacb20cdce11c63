// SPDX-License-Identifier: GPL-2.0-only
#include "evidence.h"

#include <fmt/format.h>

#include "kernel/error.h"
#include "kernel/output.h"
#include "pipeline.h"
#include "recording/event_json.h"
#include "report.h"
#include "setup.h"

namespace droptrace {

namespace {

constexpr std::size_t kBatchBytes = 256U << 10U;

}  // namespace

RecordingHeader header_of(const std::string& environment) {
  const Environment known = parse_environment(environment);
  return {"droptrace " + known.version, known.kernel,
          fmt::format("droptrace on node {}, {}; service CIDR {}; pod CIDR {}; {}", known.node,
                      known.kernel, known.service_cidr, known.pod_cidr, known.command),
          environment};
}

void Evidence::serve(EventLoop& loop, std::function<MetricsNow()> now) {
  if (options_.metrics.empty()) return;
  metrics_.emplace();
  server_.emplace(loop, options_.metrics,
                  [this, now = std::move(now)] { return metrics_->text(now()); });
  say_(fmt::format("metrics are served at {}, port {}", options_.metrics, server_->port()));
}

void Evidence::start(Pipeline& pipeline, const RecordingHeader& header) {
  if (!options_.report.empty()) {
    report_file_ = create_report(options_.report);
    summary_.emplace();
    summary_->begin_source(options_.read.empty() ? options_.write : options_.read);
    summary_->add(recorded_line(0, header.environment));
  }
  if (!options_.write.empty()) {
    file_.emplace(options_.write);
    writer_.emplace(header);
    flush();
  }
  if (summary_ || writer_ || metrics_)
    pipeline.set_observer([this](const RecordedEvent& event) { see(event); }, plain_text());
}

void Evidence::see(const RecordedEvent& event) {
  if (summary_) summary_->add(event);
  if (metrics_ && event.has_packet) {
    if (const auto facts = report_event(event.time_ns, event.json)) metrics_->add(*facts);
  }
  if (!writer_) return;
  writer_->add(event);
  if (writer_->pending_bytes() >= kBatchBytes) flush();
}

bool Evidence::flush() {
  if (!writer_) return true;
  const std::string batch = writer_->take();
  if (file_->reader_gone()) return false;
  if (batch.empty() || file_->problem()) return true;
  if (file_->write(batch)) {
    packets_written_ = writer_->packets();
    return true;
  }
  if (file_->reader_gone()) return false;
  failed_ = true;
  say_(fmt::format("cannot write to the recording {}: {}: the log goes on without it",
                   options_.write, *file_->problem()));
  return true;
}

void Evidence::finish(std::int64_t time_ns, const Totals& totals) {
  if (writer_) close_recording(time_ns, totals);
  if (summary_) write_report();
}

void Evidence::write_report() {
  try {
    Output(report_file_.get(), options_.report)
        .write(render(*summary_, report_format(options_.report).value()));
    say_("the report is in " + options_.report);
  } catch (const Error& error) {
    failed_ = true;
    say_(error.what());
  }
}

void Evidence::close_recording(std::int64_t time_ns, const Totals& totals) {
  const std::string figures = closing_line(totals);
  writer_->finish(time_ns, totals.lost_total(), figures);
  const bool wanted = flush();
  const std::uint64_t missing = writer_->packets() - packets_written_;
  file_->replace(writer_->closing_offset(),
                 PcapngWriter::closing_bytes(
                     missing == 0 ? figures
                                  : fmt::format("{}; {} not recorded: {}", figures, missing,
                                                file_->problem().value_or("nobody read on"))));
  if (failed_)
    say_(fmt::format("{} packets are not in the recording, {} are", missing, packets_written_));
  else if (wanted && options_.write != "-")
    say_(fmt::format("recorded {} packet{} in {} ({} bytes)", packets_written_,
                     packets_written_ == 1 ? "" : "s", options_.write, file_->size()));
}

}  // namespace droptrace
