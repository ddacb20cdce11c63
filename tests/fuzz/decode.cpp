// SPDX-License-Identifier: GPL-2.0-only
// A record from the ring buffer, and all that is made of it.
#include "core/decode.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "droptrace/event.h"

#include "core/enrich.h"
#include "recording/event.h"
#include "sink/json.h"
#include "sink/text.h"

using namespace droptrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  decode_drop(std::as_bytes(std::span(data, size)));

  // What is missing is zero.
  dt_drop record{};
  std::memcpy(&record, data, std::min(size, sizeof(record)));
  auto decoded = decode_drop(std::as_bytes(std::span(&record, 1)));
  if (!decoded) return 0;
  const World world;
  Attempts attempts;
  Drop drop = enrich(std::move(*decoded), world, KernelNames(), EnrichOptions{});
  count_attempt(drop, attempts, world);
  recorded_event(drop, TextSink({}).drop(drop), JsonSink().drop(drop));
  return 0;
}
