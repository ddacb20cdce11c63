// SPDX-License-Identifier: GPL-2.0-only
// Kernel symbols: from an address to symbol+0xoffset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace droptrace {

struct Symbol {
  std::string_view name;
  std::uint64_t offset = 0;  // from the start of the symbol
};

// An immutable table of the kernel's text symbols, kept compact: names in one pool.
class Symbols {
 public:
  Symbols() = default;

  // The text symbol that covers address; nullopt if there is none or the addresses are hidden.
  std::optional<Symbol> find(std::uint64_t address) const;

  // "nft_do_chain+0x3e8", or "0xffffffff81f62e38" if there is no symbol.
  std::string describe(std::uint64_t address) const;

  // First address of the named symbol and of the one behind it; nullopt if there is no such symbol.
  std::optional<std::pair<std::uint64_t, std::uint64_t>> range(std::string_view name) const;

  // Lowest address of the kernel's text; 0 if there are no symbols.
  std::uint64_t first_address() const { return entries_.empty() ? 0 : entries_.front().address; }

  std::size_t size() const { return entries_.size(); }

 private:
  friend class SymbolsBuilder;
  struct Entry {
    std::uint64_t address;
    std::uint32_t name;  // offset into names_
    bool global;
  };
  std::vector<Entry> entries_;  // sorted by address
  std::string names_;           // NUL-terminated
};

// Fills a Symbols from the text of /proc/kallsyms, in pieces of any size. Lines that are not text
// symbols (t, T, w, W), name padding, have address 0 (kptr_restrict) or are malformed are passed
// over.
class SymbolsBuilder {
 public:
  void add(std::string_view piece);
  // True if text symbols were seen, but every address was zero: the kernel hides them from us.
  bool hidden() const { return lines_ > 0 && symbols_.entries_.empty(); }
  Symbols build() &&;

 private:
  void add_line(std::string_view line);
  Symbols symbols_;
  std::string rest_;       // an unfinished line
  std::size_t lines_ = 0;  // that are text symbols
};

}  // namespace droptrace
