// SPDX-License-Identifier: GPL-2.0-only
#include "core/reject.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

namespace droptrace {
namespace {

// The names that iptables (behind "icmp-" or "icmp6-") and nft (behind "icmp", "icmpv6" or "icmpx")
// have for the codes of "destination unreachable": type 3 of RFC 792, type 1 of RFC 4443.
struct Unreachable {
  std::string_view name;
  std::optional<unsigned> code;
  std::optional<unsigned> code6;
};

constexpr Unreachable kUnreachables[] = {
    {"port-unreachable", 3, 4},   {"net-unreachable", 0, {}},  {"host-unreachable", 1, {}},
    {"proto-unreachable", 2, {}}, {"prot-unreachable", 2, {}}, {"net-prohibited", 9, {}},
    {"host-prohibited", 10, {}},  {"admin-prohibited", 13, 1}, {"no-route", {}, 0},
    {"addr-unreachable", {}, 3},  {"adm-prohibited", {}, 1},
};

// Without what stands in quotes: a comment may say anything.
std::string without_quoted(std::string_view text) {
  std::string result;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && quoted) {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted) {
      result += text[i];
    }
  }
  return result;
}

// What follows the word that rejects, up to the end; nullopt if the rule does not reject.
std::optional<std::string_view> behind_reject(std::string_view rule) {
  for (const std::string_view word : {"-j REJECT", "reject"}) {
    const std::size_t at = rule.find(word);
    if (at == std::string_view::npos) continue;
    const std::string_view rest = rule.substr(at + word.size());
    const bool whole_word = (at == 0 || rule[at - 1] == ' ') && (rest.empty() || rest[0] == ' ');
    if (whole_word) return rest;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> answer_of_rule(std::string_view rule, bool v6) {
  const std::string words = without_quoted(rule);
  const std::optional<std::string_view> how = behind_reject(words);
  if (!how) return std::nullopt;
  if (how->find("tcp-reset") != std::string_view::npos ||
      how->find("tcp reset") != std::string_view::npos)
    return "rst";
  // Both default to "port unreachable".
  const auto* found = how->find("with") == std::string_view::npos
                          ? std::begin(kUnreachables)
                          : std::ranges::find_if(kUnreachables, [&](const Unreachable& each) {
                              return how->find(each.name) != std::string_view::npos;
                            });
  if (found == std::end(kUnreachables)) return std::nullopt;
  const std::optional<unsigned> code = v6 ? found->code6 : found->code;
  if (!code) return std::nullopt;
  return fmt::format("icmp {}/{}", v6 ? 1 : 3, *code);
}

}  // namespace droptrace
