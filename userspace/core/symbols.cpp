// SPDX-License-Identifier: GPL-2.0-only
#include "core/symbols.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>

#include <fmt/format.h>

namespace droptrace {
namespace {

// No function is as large. Between the kernel's text, its modules and BPF programs lie gaps, where
// the symbol before an address has nothing to do with it.
constexpr std::uint64_t kMaxSymbolSize = 1 << 20;

// The padding before each function has a symbol of its own since Linux 6.2 (CONFIG_PREFIX_SYMBOLS).
// Nothing runs there: without them half as many are left.
constexpr std::string_view kPadding = "__pfx_";

bool is_text(char type) { return type == 't' || type == 'T' || type == 'w' || type == 'W'; }

}  // namespace

std::optional<Symbol> Symbols::find(std::uint64_t address) const {
  const auto next = std::ranges::upper_bound(entries_, address, {}, &Entry::address);
  if (next == entries_.begin()) return std::nullopt;
  const Entry& entry = *std::prev(next);
  const std::uint64_t offset = address - entry.address;
  if (offset >= kMaxSymbolSize) return std::nullopt;
  return Symbol{names_.data() + entry.name, offset};
}

std::string Symbols::describe(std::uint64_t address) const {
  const std::optional<Symbol> symbol = find(address);
  if (!symbol) return fmt::format("{:#x}", address);
  return fmt::format("{}+{:#x}", symbol->name, symbol->offset);
}

std::optional<std::pair<std::uint64_t, std::uint64_t>> Symbols::range(std::string_view name) const {
  const auto found = std::ranges::find_if(
      entries_, [&](const Entry& entry) { return name == names_.data() + entry.name; });
  if (found == entries_.end()) return std::nullopt;
  const auto next = std::next(found);
  return std::pair{found->address,
                   next == entries_.end() ? found->address + kMaxSymbolSize : next->address};
}

void SymbolsBuilder::add(std::string_view piece) {
  for (std::size_t end = piece.find('\n'); end != std::string_view::npos; end = piece.find('\n')) {
    if (rest_.empty()) {
      add_line(piece.substr(0, end));
    } else {
      rest_ += piece.substr(0, end);
      add_line(rest_);
      rest_.clear();
    }
    piece.remove_prefix(end + 1);
  }
  rest_ += piece;
}

// "ffffffff81f653d0 T nft_do_chain", and behind a module's symbol "\t[nf_tables]".
void SymbolsBuilder::add_line(std::string_view line) {
  std::uint64_t address = 0;
  const char* const begin = line.data();
  const auto [rest, error] = std::from_chars(begin, begin + line.size(), address, 16);
  line.remove_prefix(static_cast<std::size_t>(rest - begin));
  if (error != std::errc{} || line.size() < 4 || line[0] != ' ' || line[2] != ' ') return;
  const char type = line[1];
  const std::string_view name = line.substr(3, line.substr(3).find('\t'));
  if (!is_text(type) || name.empty()) return;

  ++lines_;
  if (address == 0 || name.starts_with(kPadding)) return;
  const auto offset = static_cast<std::uint32_t>(symbols_.names_.size());
  symbols_.entries_.push_back({address, offset, type == 'T'});
  symbols_.names_ += name;
  symbols_.names_ += '\0';
}

Symbols SymbolsBuilder::build() && {
  add_line(rest_);
  auto& entries = symbols_.entries_;
  // Of the symbols that share an address the first one stays: global, then earlier in the text.
  std::ranges::sort(entries, {}, [](const Symbols::Entry& entry) {
    return std::tuple(entry.address, !entry.global, entry.name);
  });
  const auto same_address = [](const Symbols::Entry& a, const Symbols::Entry& b) {
    return a.address == b.address;
  };
  entries.erase(std::unique(entries.begin(), entries.end(), same_address), entries.end());
  entries.shrink_to_fit();
  symbols_.names_.shrink_to_fit();
  return std::move(symbols_);
}

}  // namespace droptrace
