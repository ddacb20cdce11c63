// SPDX-License-Identifier: GPL-2.0-only
#include "core/hook_function.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace droptrace {
namespace {

TEST_CASE("the functions of conntrack, NAT, BPF and rules are told apart by their names") {
  using enum NetfilterBackend;
  CHECK(backend_of_hook_function("ipv4_conntrack_in") == kConntrack);
  CHECK(backend_of_hook_function("ipv6_conntrack_local") == kConntrack);
  CHECK(backend_of_hook_function("nf_confirm") == kConntrack);
  CHECK(backend_of_hook_function("ipv4_confirm") == kConntrack);
  CHECK(backend_of_hook_function("nf_nat_ipv4_out") == kNat);
  CHECK(backend_of_hook_function("nf_nat_inet_fn") == kNat);
  CHECK(backend_of_hook_function("iptable_nat_do_chain") == kNat);
  CHECK(backend_of_hook_function("nf_hook_run_bpf") == kBpf);
  CHECK(backend_of_hook_function("ipt_do_table") == kIpTables);
  CHECK(backend_of_hook_function("iptable_mangle_hook") == kIpTables);
  CHECK(backend_of_hook_function("ip6table_filter_hook") == kIpTables);
  CHECK(backend_of_hook_function("nft_do_chain_inet") == kNfTables);
}

TEST_CASE("a function that is not known belongs to something else, without a deed") {
  for (const char* name : {"ip_vs_in_hook", "ipv4_synproxy_hook", "selinux_ip_output", ""}) {
    CAPTURE(name);
    CHECK(backend_of_hook_function(name) == NetfilterBackend::kOther);
    CHECK(deed_of_hook_function(name).empty());
  }
}

TEST_CASE("functions have a part of netfilter in common, or not") {
  using Functions = std::vector<std::string>;
  CHECK(common_backend(Functions{}) == NetfilterBackend::kOther);
  CHECK(common_backend(Functions{"nf_confirm"}) == NetfilterBackend::kConntrack);
  CHECK(common_backend(Functions{"ipv6_defrag", "ipv6_conntrack_in"}) ==
        NetfilterBackend::kConntrack);
  CHECK(common_backend(Functions{"nf_nat_ipv4_out", "nf_confirm"}) == NetfilterBackend::kOther);
}

TEST_CASE("what frees its packets itself is not among those for which nf_hook_slow does") {
  CHECK(frees_in_place("ipv4_conntrack_defrag", false));
  CHECK_FALSE(frees_in_place("ipv6_defrag", false));
  CHECK(frees_in_place("nft_do_chain_ipv4", true));
  CHECK_FALSE(frees_in_place("nft_do_chain_ipv4", false));
}

TEST_CASE("whether a packet has a conntrack entry rules functions out") {
  for (const char* name : {"nf_confirm", "ipv6_confirm", "nf_nat_ipv4_out", "nf_nat_inet_fn"}) {
    CAPTURE(name);
    CHECK(passes_by_conntrack(name, false));
    CHECK_FALSE(passes_by_conntrack(name, true));
  }
  CHECK(passes_by_conntrack("ipv4_conntrack_in", true));
  CHECK_FALSE(passes_by_conntrack("ipv4_conntrack_in", false));
  CHECK_FALSE(passes_by_conntrack("ipt_do_table", true));
  CHECK_FALSE(passes_by_conntrack("ipv4_synproxy_hook", false));
}

}  // namespace
}  // namespace droptrace
