// SPDX-License-Identifier: GPL-2.0-only
// JSON lines, schema 1 (event.schema.json). Bytes that are not UTF-8 are replaced, never fatal.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/finding.h"
#include "core/probe.h"
#include "sink/sink.h"

namespace droptrace {

class JsonSink : public Sink {
 public:
  std::string drop(const Drop& drop) override;
  std::string attempt(const AttemptReport& report) override;
  std::string lost(std::int64_t time_ns,
                   const std::map<std::string, std::uint64_t>& causes) override;
  std::string summary(std::int64_t time_ns, const Totals& totals) override;
};

// What `droptrace probe` has found, as one line.
std::string probe_json(const ProbeResult& result);

// The report of `droptrace check` as one line: an object with an array of findings for each
// section.
std::string check_json(const CheckReport& report);

// A field of a drop's JSON line as text, by its dotted name ("packet.dst"); nullopt if it is absent
// or no scalar. json is one line of JsonSink::drop.
std::optional<std::string> json_field(std::string_view json, std::string_view dotted_name);

}  // namespace droptrace
