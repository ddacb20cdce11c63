// SPDX-License-Identifier: GPL-2.0-only
// A recording from anywhere: read, and summed up in every format.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "recording/pcapng_reader.h"
#include "recording/pcapng_writer.h"
#include "report/diff.h"
#include "report/document.h"
#include "report/metrics.h"

using namespace droptrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // The first byte says where the file is cut in two pieces.
  std::string_view file(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::size_t first = file.size() * data[0] / 256;
  PcapngReader reader;
  PcapngWriter writer({"fuzz", "fuzz", "", ""});
  Summary summary;
  Metrics metrics;
  for (const std::string_view piece : {file.substr(0, first), file.substr(first)}) {
    reader.feed(piece);
    while (const auto event = reader.next()) {
      summary.add(*event);
      writer.add(*event);
      if (const auto facts = report_event(event->time_ns, event->json)) metrics.add(*facts);
    }
  }
  const ReportDocument document = report_document(summary);
  to_html(document);
  to_markdown(document);
  report_json(summary);
  diff_text(compare(summary, Summary()));
  metrics.text({});
  return 0;
}
