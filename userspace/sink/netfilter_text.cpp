// SPDX-License-Identifier: GPL-2.0-only
#include "sink/netfilter_text.h"

#include <optional>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "core/hook_function.h"

namespace droptrace {

namespace {

// As far as there is room for it.
std::string shortened(const std::string& text, std::size_t room) {
  if (text.size() <= room) return text;
  std::size_t end = room - 1;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;  // never inside a character
  return text.substr(0, end) + "…";
}

}  // namespace

std::string rule_text(const NetfilterFacts& facts) {
  const std::string family(facts.family ? to_string(*facts.family) : "nftables");
  if (!facts.rule)
    return facts.handle ? fmt::format("{} rule handle {}", family, *facts.handle) : "";
  const std::vector<std::string>& path = facts.rule->path;
  const std::string chain =
      path.empty() ? facts.rule->chain : fmt::format("{}", fmt::join(path, " → "));
  const std::string place = fmt::format("{} {} {}", family, facts.rule->table, chain);
  if (facts.policy) return "policy of " + place;
  if (facts.rule->number) return fmt::format("{} #{}", place, *facts.rule->number);
  const bool bare = facts.handle && facts.rule->text.empty() && facts.rule->comment.empty();
  return bare ? fmt::format("{} rule handle {}", place, *facts.handle) : place;
}

std::string queue_text(const NetfilterFacts& facts) {
  if (facts.backend != NetfilterBackend::kNfqueue) return "";
  const std::string queue = facts.queue ? fmt::format("NFQUEUE {}", *facts.queue) : "NFQUEUE";
  if (facts.queue_owner) return fmt::format("{} verdict by {}", queue, *facts.queue_owner);
  if (facts.queue_flushed) return queue + ": emptied without a verdict";
  if (facts.queue_failed) return queue + ": nobody listens or it is full";
  return queue;
}

std::string remark(const RuleFacts& rule, std::size_t room) {
  if (!rule.comment.empty()) return '"' + rule.comment + '"';
  return shortened(rule.text, room);
}

std::string candidates_text(const NetfilterFacts& facts, std::size_t room) {
  if (facts.candidates.empty()) return "";
  const std::string doubt = facts.candidates_complete ? "" : "perhaps ";
  if (facts.candidate_count == 1) return shortened(doubt + facts.candidates.front(), room);
  return shortened(fmt::format("{}one of {} rules: {}", doubt, facts.candidate_count,
                               fmt::join(facts.candidates, "; ")),
                   room);
}

std::string function_text(const NetfilterFacts& facts) {
  const std::string_view backend = to_string(facts.backend);
  if (!facts.functions.empty())
    return fmt::format("{}: perhaps {}", backend, fmt::join(facts.functions, ", "));
  if (!facts.function) return "";
  const std::string_view deed = deed_of_hook_function(*facts.function);
  return fmt::format("{}: {}{}{}", backend, *facts.function, deed.empty() ? "" : " ", deed);
}

std::string element_text(const RuleFacts& rule, std::size_t room) {
  return rule.element.empty() ? "" : shortened("[" + rule.element + "]", room);
}

}  // namespace droptrace
