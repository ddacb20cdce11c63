// SPDX-License-Identifier: GPL-2.0-only
#include "core/hook_function.h"

#include <algorithm>
#include <iterator>

namespace droptrace {
namespace {

struct Known {
  std::string_view prefix;
  NetfilterBackend backend;
  std::string_view deed;
};

using enum NetfilterBackend;

constexpr std::string_view kRefused = "refused it (table full?)";
constexpr std::string_view kNotConfirmed = "did not confirm its connection (clash?)";
constexpr std::string_view kNotTranslated = "could not translate it";

// Of Linux 5.8 to 6.18; the first that fits counts. nf_conntrack_in() drops what it cannot make an
// entry for, and what a protocol's tracker says to. nf_confirm() and its predecessors run helpers
// and insert the entry of a new connection, which is refused if NAT gave its addresses to another
// one meanwhile, or if its hash chain is too long.
constexpr Known kKnown[] = {
    {"nft_do_chain", kNfTables, ""},
    {"ipt_do_table", kIpTables, ""},
    {"ip6t_do_table", kIpTables, ""},
    {"iptable_nat_", kNat, kNotTranslated},
    {"ip6table_nat_", kNat, kNotTranslated},
    {"iptable_", kIpTables, ""},
    {"ip6table_", kIpTables, ""},
    {"ipv4_conntrack_in", kConntrack, kRefused},
    {"ipv6_conntrack_in", kConntrack, kRefused},
    {"ipv4_conntrack_local", kConntrack, kRefused},
    {"ipv6_conntrack_local", kConntrack, kRefused},
    {"nf_confirm", kConntrack, kNotConfirmed},
    {"ipv4_confirm", kConntrack, kNotConfirmed},
    {"ipv6_confirm", kConntrack, kNotConfirmed},
    {"ipv4_conntrack_defrag", kConntrack, ""},
    {"ipv6_defrag", kConntrack, "could not reassemble it"},
    {"nf_nat_", kNat, kNotTranslated},
    {"nf_hook_run_bpf", kBpf, "a program dropped it"},
};

const Known* find(std::string_view name) {
  const auto* const found = std::ranges::find_if(
      kKnown, [&](const Known& each) { return name.starts_with(each.prefix); });
  return found == std::end(kKnown) ? nullptr : found;
}

}  // namespace

NetfilterBackend backend_of_hook_function(std::string_view name) {
  const Known* const known = find(name);
  return known ? known->backend : kOther;
}

NetfilterBackend common_backend(std::span<const std::string> functions) {
  if (functions.empty()) return kOther;
  const NetfilterBackend first = backend_of_hook_function(functions.front());
  const bool same = std::ranges::all_of(
      functions, [&](const auto& name) { return backend_of_hook_function(name) == first; });
  return same ? first : kOther;
}

std::string_view deed_of_hook_function(std::string_view name) {
  const Known* const known = find(name);
  return known ? known->deed : std::string_view{};
}

bool frees_in_place(std::string_view name, bool nft_frees) {
  // Fragments that do not fit together are kept back (NF_STOLEN), and freed by ip_defrag().
  return name == "ipv4_conntrack_defrag" || (nft_frees && name.starts_with("nft_do_chain"));
}

bool passes_by_conntrack(std::string_view name, bool has_entry) {
  const Known* const known = find(name);
  if (!known) return false;
  if (has_entry) return known->deed == kRefused;
  return known->deed == kNotConfirmed || known->backend == kNat;
}

}  // namespace droptrace
