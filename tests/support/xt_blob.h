// SPDX-License-Identifier: GPL-2.0-only
// Tables of ip_tables as the kernel hands them out.
#pragma once

#include <linux/netfilter_ipv4/ip_tables.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "core/ruleset.h"
#include "tests/support/rule_dumps.h"

namespace droptrace {

struct Blob {
  std::vector<std::byte> entries;
  XtLayout layout;
};

// A recording: struct ipt_getinfo (IPv6 has the same), and behind it the entries.
inline Blob recorded(const std::string& name) {
  const std::string file = rule_dump(name);
  ipt_getinfo info;
  REQUIRE(file.size() > sizeof(info));
  std::memcpy(&info, file.data(), sizeof(info));
  Blob blob;
  const auto bytes = std::as_bytes(std::span(file)).subspan(sizeof(info));
  REQUIRE(bytes.size() == info.size);
  blob.entries.assign(bytes.begin(), bytes.end());
  blob.layout.valid_hooks = info.valid_hooks;
  std::ranges::copy(info.hook_entry, blob.layout.hook_entries);
  std::ranges::copy(info.underflow, blob.layout.underflows);
  return blob;
}

}  // namespace droptrace
