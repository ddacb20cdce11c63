// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/trace_table.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "core/packet_trace.h"
#include "kernel/nft_message.h"

namespace droptrace {

namespace {

constexpr const char* kMarkChain = "mark";
constexpr std::uint32_t kPriority = static_cast<std::uint32_t>(-500);  // before "raw" and conntrack
constexpr std::uint64_t kSynsPerSecond = 500;
constexpr std::uint64_t kOthersPerSecond = 100;  // established connections would be a flood
constexpr std::uint8_t kTcpSynFlag = 0x02;

// Network header offsets of the addresses (RFC 791, RFC 8200).
struct AddressPlace {
  std::uint32_t source;
  std::uint32_t destination;
  std::uint32_t length;
};
constexpr AddressPlace kIpv4Place{12, 16, 4};
constexpr AddressPlace kIpv6Place{8, 24, 16};

NetlinkMessage new_table(std::uint32_t flags) {
  NetlinkMessage message = nft_message(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, NFPROTO_INET);
  put_text(message, NFTA_TABLE_NAME, kTraceTable);
  put_be32(message, NFTA_TABLE_FLAGS, flags);
  return message;
}

NetlinkMessage new_chain(const char* name) {
  NetlinkMessage message = nft_message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, NFPROTO_INET);
  put_text(message, NFTA_CHAIN_TABLE, kTraceTable);
  put_text(message, NFTA_CHAIN_NAME, name);
  return message;
}

NetlinkMessage new_base_chain(const char* name, std::uint32_t hook) {
  NetlinkMessage message = new_chain(name);
  message.begin(NFTA_CHAIN_HOOK);
  put_be32(message, NFTA_HOOK_HOOKNUM, hook);
  put_be32(message, NFTA_HOOK_PRIORITY, kPriority);
  message.end();
  put_text(message, NFTA_CHAIN_TYPE, "filter");
  return message;
}

NetlinkMessage new_rule(const char* chain) {
  return nft_new_rule(NFPROTO_INET, kTraceTable, chain);
}

void put_meta(NetlinkMessage& message, std::uint32_t key, std::uint8_t expected) {
  begin_expression(message, "meta");
  put_be32(message, NFTA_META_KEY, key);
  put_be32(message, NFTA_META_DREG, NFT_REG_1);
  end_expression(message);
  put_compare(message, NFT_CMP_EQ, &expected, sizeof(expected));
}

// Keeps the bits of mask in register 1.
void put_mask(NetlinkMessage& message, const std::uint8_t* mask, std::uint32_t length) {
  const std::array<std::uint8_t, 16> zero{};
  begin_expression(message, "bitwise");
  put_be32(message, NFTA_BITWISE_SREG, NFT_REG_1);
  put_be32(message, NFTA_BITWISE_DREG, NFT_REG_1);
  put_be32(message, NFTA_BITWISE_LEN, length);
  message.begin(NFTA_BITWISE_MASK).attribute(NFTA_DATA_VALUE, mask, length).end();
  message.begin(NFTA_BITWISE_XOR).attribute(NFTA_DATA_VALUE, zero.data(), length).end();
  end_expression(message);
}

std::array<std::uint8_t, 16> mask_of(const Cidr& cidr) {
  std::array<std::uint8_t, 16> mask{};
  for (unsigned bit = 0; bit < cidr.prefix_length; ++bit)
    mask[bit / 8] = static_cast<std::uint8_t>(mask[bit / 8] | 0x80U >> bit % 8);
  return mask;
}

NetlinkMessage rule_for(const char* chain, const Cidr& cidr, std::uint32_t offset,
                        std::uint32_t length) {
  NetlinkMessage message = new_rule(chain);
  put_meta(message, NFT_META_NFPROTO, cidr.network.v6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
  put_payload(message, NFT_PAYLOAD_NETWORK_HEADER, offset, length);
  put_mask(message, mask_of(cidr).data(), length);
  put_compare(message, NFT_CMP_EQ, cidr.network.bytes.data(), length);
  put_verdict(message, static_cast<std::uint32_t>(NFT_GOTO), kMarkChain);
  message.end();
  return message;
}

void put_limit(NetlinkMessage& message, std::uint64_t per_second) {
  begin_expression(message, "limit");
  put_be64(message, NFTA_LIMIT_RATE, per_second);
  put_be64(message, NFTA_LIMIT_UNIT, 1);
  put_be32(message, NFTA_LIMIT_BURST, static_cast<std::uint32_t>(per_second));
  put_be32(message, NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
  put_be32(message, NFTA_LIMIT_FLAGS, 0);
  end_expression(message);
}

void put_trace(NetlinkMessage& message) {
  const std::uint8_t on = 1;
  begin_expression(message, "immediate");
  put_be32(message, NFTA_IMMEDIATE_DREG, NFT_REG_1);
  message.begin(NFTA_IMMEDIATE_DATA).attribute(NFTA_DATA_VALUE, &on, sizeof(on)).end();
  end_expression(message);
  begin_expression(message, "meta");
  put_be32(message, NFTA_META_KEY, NFT_META_NFTRACE);
  put_be32(message, NFTA_META_SREG, NFT_REG_1);
  end_expression(message);
}

NetlinkMessage mark_syns() {
  NetlinkMessage message = new_rule(kMarkChain);
  put_meta(message, NFT_META_L4PROTO, IPPROTO_TCP);
  put_payload(message, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1);  // the flags (RFC 9293 §3.1)
  put_mask(message, &kTcpSynFlag, sizeof(kTcpSynFlag));
  put_compare(message, NFT_CMP_EQ, &kTcpSynFlag, sizeof(kTcpSynFlag));
  put_limit(message, kSynsPerSecond);
  put_trace(message);
  put_verdict(message, NF_ACCEPT, nullptr);
  message.end();
  return message;
}

NetlinkMessage mark_others() {
  NetlinkMessage message = new_rule(kMarkChain);
  put_limit(message, kOthersPerSecond);
  put_trace(message);
  message.end();
  return message;
}

int add_table(NetlinkSocket& socket, const TraceScope& scope, std::uint32_t flags) {
  std::vector<NetlinkMessage> batch;
  batch.push_back(new_table(flags));
  batch.push_back(new_chain(kMarkChain));
  batch.push_back(mark_syns());
  if (!scope.syn_only) batch.push_back(mark_others());
  for (const auto& [chain, hook] :
       {std::pair{"prerouting", NF_INET_PRE_ROUTING}, std::pair{"output", NF_INET_LOCAL_OUT}}) {
    batch.push_back(new_base_chain(chain, static_cast<std::uint32_t>(hook)));
    for (const Cidr& cidr : scope.cidrs) {
      const AddressPlace& place = cidr.network.v6 ? kIpv6Place : kIpv4Place;
      batch.push_back(rule_for(chain, cidr, place.source, place.length));
      batch.push_back(rule_for(chain, cidr, place.destination, place.length));
    }
  }
  return socket.commit(NFNL_SUBSYS_NFTABLES, batch);
}

}  // namespace

std::optional<TraceTable> find_trace_table(NetlinkSocket& socket) {
  std::optional<TraceTable> table;
  NetlinkMessage message = nft_message(NFT_MSG_GETTABLE, NLM_F_ACK, NFPROTO_INET);
  put_text(message, NFTA_TABLE_NAME, kTraceTable);
  socket.request(message, [&](std::uint16_t type, std::span<const std::byte> payload) {
    if (type != nft_message_type(NFT_MSG_NEWTABLE) || payload.size() < sizeof(nfgenmsg)) return;
    const auto attributes = parse_attributes(payload.subspan(sizeof(nfgenmsg)));
    const std::uint32_t flags = be32(attributes, NFTA_TABLE_FLAGS).value_or(0);
    table = TraceTable{(flags & NFT_TABLE_F_OWNER) != 0};
  });
  return table;
}

int add_trace_table(NetlinkSocket& socket, const TraceScope& scope, bool& owned) {
  const int error = add_table(socket, scope, NFT_TABLE_F_OWNER);
  owned = error == 0;
  // What the kernel says to a flag that it does not know.
  if (error != EINVAL && error != EOPNOTSUPP) return error;
  return add_table(socket, scope, 0);
}

int remove_trace_table(NetlinkSocket& socket) {
  std::vector<NetlinkMessage> batch;
  batch.push_back(nft_message(NFT_MSG_DELTABLE, 0, NFPROTO_INET));
  put_text(batch.back(), NFTA_TABLE_NAME, kTraceTable);
  return socket.commit(NFNL_SUBSYS_NFTABLES, batch);
}

}  // namespace droptrace
