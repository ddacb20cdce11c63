// SPDX-License-Identifier: GPL-2.0-only
// The recorded dumps of tests/data/rules, and ways into the tables read from them.
#pragma once

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "core/ruleset.h"

namespace droptrace {

inline std::string rule_dump(const std::string& name) {
  std::ifstream file(DROPTRACE_TEST_DATA "/rules/" + name, std::ios::binary);
  REQUIRE_MESSAGE(file.is_open(), "cannot read tests/data/rules/" << name);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The tables of NAME.json and NAME.txt.
inline std::vector<Table> nft_dump(const std::string& name) {
  auto tables = parse_nft(rule_dump(name + ".json"), rule_dump(name + ".txt"));
  REQUIRE(tables);
  return *std::move(tables);
}

inline const Table& table_of(const std::vector<Table>& tables, NfFamily family,
                             std::string_view name) {
  const auto table = std::ranges::find_if(tables, [&](const Table& candidate) {
    return candidate.family == family && candidate.name == name;
  });
  REQUIRE_MESSAGE(table != tables.end(), "no table " << std::string(name));
  return *table;
}

inline const Chain& chain_of(const Table& table, std::string_view name) {
  const auto chain = std::ranges::find(table.chains, name, &Chain::name);
  REQUIRE_MESSAGE(chain != table.chains.end(), "no chain " << std::string(name));
  return *chain;
}

}  // namespace droptrace
