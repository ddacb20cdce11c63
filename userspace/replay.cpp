// SPDX-License-Identifier: GPL-2.0-only
#include "replay.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <optional>

#include <fmt/format.h>

#include "evidence.h"
#include "kernel/error.h"
#include "kernel/input.h"
#include "kernel/output.h"
#include "pipeline.h"
#include "recording/event_json.h"
#include "recording/pcapng_reader.h"
#include "setup.h"
#include "sink/style.h"

namespace droptrace {

namespace {

class Replay {
 public:
  explicit Replay(const Options& options)
      : options_(options),
        pipeline_(options, make_sink(options), DropReasons()),
        evidence_(options, [this](const std::string& line) { status(line); }) {}

  int run() {
    const bool whole = read_recording(
        options_.read, [this](const RecordedEvent& event) { return take(event); },
        [this](const std::string& line) { status(line); });
    if (!summary_seen_) {
      status("the recording was not closed: its closing figures are those of what is in it");
      write(pipeline_.finish(last_ns_, {}));
    }
    evidence_.finish(last_ns_, pipeline_.totals());
    status(closing_line(pipeline_.totals()));
    if (evidence_.failed() || !whole) return kExitFailed;
    const auto disappointment = pipeline_.disappointment();
    if (disappointment) status(std::string(*disappointment));
    return disappointment ? kExitExpectation : kExitDone;
  }

 private:
  void status(const std::string& line) const {
    if (options_.verbosity >= 0) fmt::print(stderr, "droptrace: {}\n", escaped(line).bytes);
  }

  bool write(const std::string& text) {
    return options_.write == "-" ? evidence_.flush() : output_.write(text) && evidence_.flush();
  }

  bool take(const RecordedEvent& event) {
    const std::string type = event.has_packet ? std::string() : line_type(event.json);
    if (type == "environment") {
      begin(event.json);
      return true;
    }
    if (event.time_ns > last_ns_) last_ns_ = event.time_ns;
    if (type == "summary") summary_seen_ = true;
    return write(pipeline_.replay(event)) && !(pipeline_.complete() && type.empty() && stop());
  }

  bool stop() {
    write(pipeline_.finish(last_ns_, {}));
    return summary_seen_ = true;
  }

  // What is copied keeps the surroundings that it was recorded in.
  void begin(const std::string& environment) {
    if (started_) return;
    started_ = true;
    evidence_.start(pipeline_, header_of(environment));
  }

  const Options& options_;
  Pipeline pipeline_;
  Evidence evidence_;
  Output output_{STDOUT_FILENO, "standard output"};
  std::int64_t last_ns_ = 0;
  bool started_ = false;
  bool summary_seen_ = false;
};

}  // namespace

bool read_recording(const std::string& path, const ConsumeEvent& consume, const SayLine& say,
                    bool facts) {
  Input input(path);
  PcapngReader reader(facts);
  std::uint64_t events = 0;
  for (std::string_view bytes = input.next(); !bytes.empty(); bytes = input.next()) {
    reader.feed(bytes);
    while (const auto event = reader.next()) {
      ++events;
      if (!consume(*event)) return true;
    }
    if (reader.problem()) break;
  }
  if (reader.problem() && events == 0)
    throw Error("cannot read " + input.name() + ": it is " + *reader.problem() +
                ": give a file made with droptrace -w");
  if (events == 0)
    throw Error("cannot read " + input.name() +
                ": it ends within its first block: give a file made with droptrace -w");
  if (reader.problem())
    say(fmt::format("{} is {}, at byte {}: what comes behind is not read", input.name(),
                    *reader.problem(), reader.offset()));
  else if (reader.cut_bytes() > 0)
    say(fmt::format("{} is cut: its last block, at byte {}, has only {} bytes and is not read",
                    input.name(), reader.offset(), reader.cut_bytes()));
  if (reader.skipped() > 0)
    say(fmt::format("{}: {} packets are not droptrace's and are passed over", input.name(),
                    reader.skipped()));
  return !reader.problem();
}

int replay(const Options& options) { return Replay(options).run(); }

}  // namespace droptrace
