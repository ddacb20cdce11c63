// SPDX-License-Identifier: GPL-2.0-only
#include "core/drop_site.h"

#include <algorithm>
#include <optional>

namespace droptrace {
namespace {

// The stack from the location outwards: the frames before it are the tracer's own. The whole stack
// if the location is not in it.
std::span<const std::uint64_t> stack_from_location(const Record& record) {
  const std::span<const std::uint64_t> stack = record.stack;
  const auto location = std::ranges::find(stack, record.location);
  if (location == stack.end()) return stack;
  return stack.subspan(static_cast<std::size_t>(location - stack.begin()));
}

}  // namespace

std::string_view function_at(const Symbols& symbols, std::uint64_t address) {
  const std::optional<Symbol> symbol = symbols.find(address);
  if (!symbol) return {};
  return symbol->name.substr(0, symbol->name.find('.'));
}

DropSite site_of(const Record& record, const Symbols& symbols) {
  DropSite site;
  site.function = function_at(symbols, record.location);
  site.stack = stack_from_location(record);
  site.functions.reserve(site.stack.size());
  for (const std::uint64_t address : site.stack)
    site.functions.push_back(function_at(symbols, address));
  return site;
}

bool reinjects(std::string_view function) {
  return function == "nfqnl_reinject" || function == "nf_reinject";
}

bool handles_verdict(const std::vector<std::string_view>& functions) {
  return std::ranges::any_of(functions, [](std::string_view function) {
    return function == "nfqnl_recv_verdict" || function == "nfqnl_recv_verdict_batch";
  });
}

}  // namespace droptrace
