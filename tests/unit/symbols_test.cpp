// SPDX-License-Identifier: GPL-2.0-only
#include "core/symbols.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>

namespace droptrace {
namespace {

constexpr std::string_view kKallsyms =
    "0000000000000000 A fixed_percpu_data\n"
    "ffffffff81000000 T _stext\n"
    "ffffffff81000000 T _text\n"
    "ffffffff81f2af40 t __pfx_nf_hook_slow\n"
    "ffffffff81f2af50 T nf_hook_slow\n"
    "ffffffff81f653c0 t __pfx_nft_do_chain\n"
    "ffffffff81f653d0 t nft_do_chain.alias\n"
    "ffffffff81f653d0 T nft_do_chain\n"
    "ffffffff81f65a00 W weak_function\n"
    "ffffffff83000000 D some_data\n"
    "ffffffff83000010 r some_constant\n"
    "ffffffffc0402040 t veth_forward_skb\t[veth]\n"
    "ffffffffc0400000 t kindnet_helper\t[kindnet]\n"
    "ffffffffc0402000 t veth_xmit\t[veth]\n"
    "ffffffffc0402000 t cleanup_module\t[veth]\n";

Symbols symbols_of(std::string_view kallsyms) {
  SymbolsBuilder builder;
  builder.add(kallsyms);
  return std::move(builder).build();
}

std::string name_at(const Symbols& symbols, std::uint64_t address) {
  const std::optional<Symbol> symbol = symbols.find(address);
  return symbol ? std::string(symbol->name) : "";
}

TEST_CASE("an address belongs to the symbol that starts before it") {
  const Symbols symbols = symbols_of(kKallsyms);
  const std::optional<Symbol> first_byte = symbols.find(0xffffffff81f2af50);
  REQUIRE(first_byte.has_value());
  CHECK(first_byte->name == "nf_hook_slow");
  CHECK(first_byte->offset == 0);
  const std::optional<Symbol> inside = symbols.find(0xffffffff81f657b8);
  REQUIRE(inside.has_value());
  CHECK(inside->name == "nft_do_chain");
  CHECK(inside->offset == 0x3e8);
}

TEST_CASE("padding has no name of its own: it is the end of the function before it") {
  const Symbols symbols = symbols_of(kKallsyms);
  CHECK(name_at(symbols, 0xffffffff81f653c0) == "nf_hook_slow");
  CHECK(name_at(symbols, 0xffffffff81f2af4f) == "");
}

TEST_CASE("addresses are described as symbol and offset, or as a number") {
  const Symbols symbols = symbols_of(kKallsyms);
  CHECK(symbols.describe(0xffffffff81f657b8) == "nft_do_chain+0x3e8");
  CHECK(symbols.describe(0xffffffff81f653d0) == "nft_do_chain+0x0");
  CHECK(symbols.describe(0xffffffff7fffffff) == "0xffffffff7fffffff");
  CHECK(Symbols().describe(0xffffffff81f62e38) == "0xffffffff81f62e38");
  CHECK(Symbols().describe(0) == "0x0");
}

TEST_CASE("an address before the first symbol is not found") {
  CHECK_FALSE(symbols_of(kKallsyms).find(0xffffffff80ffffff).has_value());
  CHECK_FALSE(symbols_of(kKallsyms).find(0).has_value());
}

TEST_CASE("an address far behind a symbol is not found") {
  const Symbols symbols = symbols_of(kKallsyms);
  SUBCASE("behind the last one") {
    CHECK(name_at(symbols, 0xffffffffc0402040 + 0xfffff) == "veth_forward_skb");
    CHECK_FALSE(symbols.find(0xffffffffc0402040 + 0x100000).has_value());
    CHECK_FALSE(symbols.find(0xffffffffffffffff).has_value());
  }
  SUBCASE("between the kernel and its modules, where BPF programs are") {
    CHECK_FALSE(symbols.find(0xffffffffc0000000).has_value());
  }
}

TEST_CASE("module symbols are found out of order and named without their module") {
  const Symbols symbols = symbols_of(kKallsyms);
  CHECK(name_at(symbols, 0xffffffffc0400123) == "kindnet_helper");
  CHECK(symbols.describe(0xffffffffc0402041) == "veth_forward_skb+0x1");
}

TEST_CASE("of the symbols at one address the first global one counts, else the first") {
  const Symbols symbols = symbols_of(kKallsyms);
  CHECK(name_at(symbols, 0xffffffff81000000) == "_stext");
  CHECK(name_at(symbols, 0xffffffff81f653d0) == "nft_do_chain");
  CHECK(name_at(symbols, 0xffffffffc0402000) == "veth_xmit");
}

TEST_CASE("only text symbols count, weak ones among them") {
  const Symbols symbols = symbols_of(kKallsyms);
  CHECK(symbols.size() == 7);
  CHECK(name_at(symbols, 0xffffffff81f65a00) == "weak_function");
  CHECK_FALSE(symbols.find(0xffffffff83000010).has_value());
}

TEST_CASE("the text may come in pieces of any size") {
  for (std::size_t size = 1; size <= kKallsyms.size(); ++size) {
    CAPTURE(size);
    SymbolsBuilder builder;
    for (std::size_t at = 0; at < kKallsyms.size(); at += size) {
      builder.add(kKallsyms.substr(at, size));
    }
    const Symbols symbols = std::move(builder).build();
    CHECK(symbols.size() == 7);
    CHECK(symbols.describe(0xffffffff81f657b8) == "nft_do_chain+0x3e8");
    CHECK(symbols.describe(0xffffffffc0402041) == "veth_forward_skb+0x1");
  }
}

TEST_CASE("the last line needs no newline") {
  CHECK(symbols_of("ffffffff81f2af50 T nf_hook_slow").describe(0xffffffff81f2af51) ==
        "nf_hook_slow+0x1");
}

TEST_CASE("malformed lines are passed over") {
  const Symbols symbols = symbols_of(
      "\n"
      "ffffffff81000000\n"
      "ffffffff81000000 T\n"
      "ffffffff81000000 T \n"
      "ffffffff81000000 T \t[veth]\n"
      "ffffffff81000000  T name\n"
      "ffffffff81000000 TT name\n"
      "0xffffffff81000000 T name\n"
      "ffffffff81000000ffff T name\n"
      "not a symbol\n"
      "ffffffff81f2af50 T nf_hook_slow\n");
  CHECK(symbols.size() == 1);
  CHECK(symbols.find(0xffffffff81f2af50).has_value());
}

TEST_CASE("addresses that are all zero are hidden by the kernel") {
  SymbolsBuilder builder;
  builder.add("0000000000000000 T _stext\n0000000000000000 t nft_do_chain\t[nf_tables]\n");
  CHECK(builder.hidden());
  const Symbols symbols = std::move(builder).build();
  CHECK(symbols.size() == 0);
  CHECK_FALSE(symbols.find(0).has_value());
}

TEST_CASE("no text and visible addresses are not hidden") {
  SymbolsBuilder builder;
  CHECK_FALSE(builder.hidden());
  builder.add("0000000000000000 A fixed_percpu_data\n");
  CHECK_FALSE(builder.hidden());
  builder.add("ffffffff81000000 T _stext\n");
  CHECK_FALSE(builder.hidden());
}

TEST_CASE("a function reaches up to the next symbol") {
  using Range = std::pair<std::uint64_t, std::uint64_t>;
  const Symbols symbols = symbols_of(kKallsyms);
  CHECK(symbols.range("nf_hook_slow") == Range(0xffffffff81f2af50, 0xffffffff81f653d0));
  CHECK(symbols.range("nft_do_chain") == Range(0xffffffff81f653d0, 0xffffffff81f65a00));
  CHECK(symbols.range("veth_xmit") == Range(0xffffffffc0402000, 0xffffffffc0402040));
}

TEST_CASE("the last symbol's range covers every address that is its own") {
  const Symbols symbols = symbols_of(kKallsyms);
  const auto range = symbols.range("veth_forward_skb");
  REQUIRE(range.has_value());
  CHECK(range->first == 0xffffffffc0402040);
  CHECK(name_at(symbols, range->second - 1) == "veth_forward_skb");
  CHECK(name_at(symbols, range->second).empty());
}

TEST_CASE("what is no text symbol, or only a part of a name, has no range") {
  const Symbols symbols = symbols_of(kKallsyms);
  for (const std::string_view name : {"some_data", "nft_do", "nft_do_chain_inet", ""}) {
    CAPTURE(name);
    CHECK_FALSE(symbols.range(name).has_value());
  }
  CHECK_FALSE(Symbols().range("nft_do_chain").has_value());
}

}  // namespace
}  // namespace droptrace
