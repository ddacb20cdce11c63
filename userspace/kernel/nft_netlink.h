// SPDX-License-Identifier: GPL-2.0-only
// nf_tables by netlink, without the nft program: reading a namespace's tables, and loading the few
// rules of the self-test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/ruleset.h"
#include "kernel/netlink.h"

namespace droptrace {

// Calls handle for each element of a list attribute. They all have one type, so that a map of them
// would keep only the last.
void for_each_attribute(std::span<const std::byte> bytes,
                        const std::function<void(std::span<const std::byte>)>& handle);

// The comment in the user data of a rule or an element of a set; empty if there is none.
std::string comment_of_userdata(std::span<const std::byte> bytes);

// The tables of the namespace that the socket (NETLINK_NETFILTER) is in: names, handles, hooks,
// jumps, comments, positions; a rule's text is left empty. nullopt if the kernel did not answer.
std::optional<std::vector<Table>> read_nft_tables(NetlinkSocket& socket);

// Families and names of those tables alone, which takes no time.
std::optional<std::vector<Table>> list_nft_tables(NetlinkSocket& socket);

// The number of the rule set's generation: another one after each change. nullopt if the kernel did
// not answer.
std::optional<std::uint32_t> read_nft_generation(NetlinkSocket& socket);

// Names of what load_test_rules() makes, and the port that its rule drops.
inline constexpr const char* kTestBaseChain = "dt_base";
inline constexpr const char* kTestMiddleChain = "dt_middle";
inline constexpr const char* kTestInnerChain = "dt_inner";
inline constexpr std::uint16_t kTestDropPort = 7777;

// An inet table with an output chain, policy drop, that jumps to a chain that jumps to a chain with
// a rule that drops UDP to kTestDropPort. Returns 0 or an errno value.
int load_test_rules(NetlinkSocket& socket);

// Adds to that table an output chain without rules that packets pass before the others: index
// counts them from 1. Returns 0 or an errno value.
int load_passing_chain(NetlinkSocket& socket, int index);

// A rule that would mark packets for tracing, in a chain that none visits: its presence has the
// kernel call __nft_trace_packet. Returns 0 or an errno value.
int load_tracing_rule(NetlinkSocket& socket);

}  // namespace droptrace
