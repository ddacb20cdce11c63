// SPDX-License-Identifier: GPL-2.0-only
// The words that messages of nf_tables are made of (include/uapi/linux/netfilter/nf_tables.h).
// Numbers travel in network order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "kernel/netlink.h"

namespace droptrace {

// The netlink type of an NFT_MSG_*.
std::uint16_t nft_message_type(unsigned message);

// Starts an NFT_MSG_* for a family (NFPROTO_*); flags are those of netlink.
NetlinkMessage nft_message(unsigned message, unsigned flags, std::uint8_t family);

// A number of an answer in host order; nullopt if it is absent or of another size.
std::optional<std::uint64_t> be64(const NetlinkAttributes& attributes, std::uint16_t type);
std::optional<std::uint32_t> be32(const NetlinkAttributes& attributes, std::uint16_t type);

void put_text(NetlinkMessage& message, std::uint16_t type, const char* text);
void put_be32(NetlinkMessage& message, std::uint16_t type, std::uint32_t value);
void put_be64(NetlinkMessage& message, std::uint16_t type, std::uint64_t value);

// Starts a rule at the end of a chain; expressions go in between, and end() closes them.
NetlinkMessage nft_new_rule(std::uint8_t family, const char* table, const char* chain);
void begin_expression(NetlinkMessage& message, const char* name);
void end_expression(NetlinkMessage& message);

// Loads bytes of the packet into register 1. base: NFT_PAYLOAD_*.
void put_payload(NetlinkMessage& message, std::uint32_t base, std::uint32_t offset,
                 std::uint32_t length);
// Goes on only if register 1 compares so (NFT_CMP_*) with the bytes.
void put_compare(NetlinkMessage& message, std::uint32_t operation, const void* bytes,
                 std::size_t length);
// code: NF_* or NFT_*; chain: that of a jump or goto, else nullptr.
void put_verdict(NetlinkMessage& message, std::uint32_t code, const char* chain);

}  // namespace droptrace
