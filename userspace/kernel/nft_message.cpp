// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/nft_message.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <bit>
#include <cstring>

namespace droptrace {

namespace {

std::uint64_t network_order(std::uint64_t value) {
  return std::endian::native == std::endian::big ? value : __builtin_bswap64(value);
}

}  // namespace

std::uint16_t nft_message_type(unsigned message) {
  return static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8U | message);
}

NetlinkMessage nft_message(unsigned message, unsigned flags, std::uint8_t family) {
  NetlinkMessage result(nft_message_type(message), static_cast<std::uint16_t>(flags));
  nfgenmsg header{};
  header.nfgen_family = family;
  header.version = NFNETLINK_V0;
  result.header(header);
  return result;
}

std::optional<std::uint64_t> be64(const NetlinkAttributes& attributes, std::uint16_t type) {
  const auto value = attribute_as<std::uint64_t>(attributes, type);
  if (!value) return std::nullopt;
  return network_order(*value);
}

std::optional<std::uint32_t> be32(const NetlinkAttributes& attributes, std::uint16_t type) {
  const auto value = attribute_as<std::uint32_t>(attributes, type);
  if (!value) return std::nullopt;
  return ntohl(*value);
}

void put_text(NetlinkMessage& message, std::uint16_t type, const char* text) {
  message.attribute(type, text, std::strlen(text) + 1);
}

void put_be32(NetlinkMessage& message, std::uint16_t type, std::uint32_t value) {
  const std::uint32_t network = htonl(value);
  message.attribute(type, &network, sizeof(network));
}

void put_be64(NetlinkMessage& message, std::uint16_t type, std::uint64_t value) {
  const std::uint64_t network = network_order(value);
  message.attribute(type, &network, sizeof(network));
}

NetlinkMessage nft_new_rule(std::uint8_t family, const char* table, const char* chain) {
  NetlinkMessage message = nft_message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family);
  put_text(message, NFTA_RULE_TABLE, table);
  put_text(message, NFTA_RULE_CHAIN, chain);
  message.begin(NFTA_RULE_EXPRESSIONS);
  return message;
}

void begin_expression(NetlinkMessage& message, const char* name) {
  message.begin(NFTA_LIST_ELEM);
  put_text(message, NFTA_EXPR_NAME, name);
  message.begin(NFTA_EXPR_DATA);
}

void end_expression(NetlinkMessage& message) { message.end().end(); }

void put_payload(NetlinkMessage& message, std::uint32_t base, std::uint32_t offset,
                 std::uint32_t length) {
  begin_expression(message, "payload");
  put_be32(message, NFTA_PAYLOAD_DREG, NFT_REG_1);
  put_be32(message, NFTA_PAYLOAD_BASE, base);
  put_be32(message, NFTA_PAYLOAD_OFFSET, offset);
  put_be32(message, NFTA_PAYLOAD_LEN, length);
  end_expression(message);
}

void put_compare(NetlinkMessage& message, std::uint32_t operation, const void* bytes,
                 std::size_t length) {
  begin_expression(message, "cmp");
  put_be32(message, NFTA_CMP_SREG, NFT_REG_1);
  put_be32(message, NFTA_CMP_OP, operation);
  message.begin(NFTA_CMP_DATA);
  message.attribute(NFTA_DATA_VALUE, bytes, length);
  message.end();
  end_expression(message);
}

void put_verdict(NetlinkMessage& message, std::uint32_t code, const char* chain) {
  begin_expression(message, "immediate");
  put_be32(message, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  message.begin(NFTA_IMMEDIATE_DATA).begin(NFTA_DATA_VERDICT);
  put_be32(message, NFTA_VERDICT_CODE, code);
  if (chain) put_text(message, NFTA_VERDICT_CHAIN, chain);
  message.end().end();
  end_expression(message);
}

}  // namespace droptrace
