// SPDX-License-Identifier: GPL-2.0-only
// From a record to what the output says of it: enriched, numbered, filtered, counted. Pure, so that
// a recording could go through the same code as a live trace.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/attempts.h"
#include "core/enrich.h"
#include "core/filter.h"
#include "core/path.h"
#include "core/silent_cause.h"
#include "core/totals.h"
#include "options.h"
#include "recording/event.h"
#include "sink/sink.h"
#include "sink/text.h"

namespace droptrace {

class Pipeline {
 public:
  // options must outlive the pipeline.
  Pipeline(const Options& options, std::unique_ptr<Sink> sink, DropReasons reasons);

  // Symbols may come later than the first record; until then locations are addresses.
  void use_symbols(Symbols symbols) { names_.symbols = std::move(symbols); }
  // CLOCK_REALTIME minus CLOCK_BOOTTIME.
  void set_realtime_offset(std::int64_t ns) { enrich_options_.realtime_offset_ns = ns; }
  // nf_tables frees what it drops itself.
  void set_nft_frees(bool frees) { enrich_options_.nft_frees = frees; }

  const Symbols& symbols() const { return names_.symbols; }
  const DropReasons& reasons() const { return names_.reasons; }

  // From now on observe gets everything that is shown, and the lines without a packet; the text of
  // events is as the options say.
  using Observer = std::function<void(const RecordedEvent&)>;
  void set_observer(Observer observe, TextOptions text);

  // The output's bytes for the record; empty if it is not shown.
  std::string add(Record record, const World& world);

  // The same for what a recording holds: packets are filtered and counted as if they came now.
  std::string replay(const RecordedEvent& event);
  // The same for an attempt that has come to nothing, or was answered after all. change: what its
  // suspect namespace counted meanwhile; nullptr: not known.
  std::string add_attempt(const Attempted& attempt, const World& world,
                          const CounterChange* change);

  // Drops belong to these attempts from now on. paths must outlive the pipeline.
  void use_paths(Paths* paths) { paths_ = paths; }

  // The output's bytes for records lost since the last call; lost: all of them, by cause.
  std::string report_lost(std::int64_t time_ns, const std::map<std::string, std::uint64_t>& lost);

  // The output's last bytes.
  std::string finish(std::int64_t time_ns, const std::map<std::string, std::string>& programs);

  // True once as many drops were shown as --count asks for.
  bool complete() const { return options_.count && totals_.shown >= *options_.count; }

  const Totals& totals() const { return totals_; }

  // Which expectation of --expect-drop or --expect-none was not met; nullopt if there is none.
  std::optional<std::string_view> disappointment() const;

 private:
  bool passes(const Record& record, bool noise);
  bool is_filtered(const Record& record) const;
  std::string replay_summary(const RecordedEvent& event);
  void see_line(std::int64_t time_ns, const std::string& json_line) const;
  void join_path(Drop& drop, const World& world);
  bool is_expecting() const;
  void note_expectation(std::string_view json_line);

  const Options& options_;
  KernelNames names_;
  EnrichOptions enrich_options_;
  std::optional<PacketFilter> filter_;
  Attempts attempts_;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<Sink> plain_text_;  // for the observer
  Observer observe_;
  Totals totals_;
  Paths* paths_ = nullptr;
  bool expected_seen_ = false;
};

}  // namespace droptrace
