// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/nft_netlink.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "kernel/nft_message.h"

namespace droptrace {

namespace {

constexpr const char* kTestTable = "droptrace_test";
constexpr std::uint8_t kCommentType = 0;  // NFTNL_UDATA_RULE_COMMENT of libnftnl

// A jump or goto to a chain; other verdicts have none.
void read_verdict(const NetlinkAttributes& immediate, Rule& rule) {
  const auto data = immediate.find(NFTA_IMMEDIATE_DATA);
  if (data == immediate.end()) return;
  const auto value = parse_attributes(data->second);
  const auto nested = value.find(NFTA_DATA_VERDICT);
  if (nested == value.end()) return;
  const auto verdict = parse_attributes(nested->second);
  rule.target = attribute_text(verdict, NFTA_VERDICT_CHAIN);
  rule.is_goto = be32(verdict, NFTA_VERDICT_CODE) == static_cast<std::uint32_t>(NFT_GOTO);
}

// What iptables-nft makes of -j NFQUEUE: struct xt_NFQ_info of the target's revision, in host
// order.
void read_xt_queue(const NetlinkAttributes& target, Rule& rule) {
  const auto info = target.find(NFTA_TARGET_INFO);
  const std::uint32_t revision = be32(target, NFTA_TARGET_REV).value_or(0);
  xt_NFQ_info_v3 queue{};
  if (info == target.end()) return;
  const std::size_t size = std::min(sizeof(queue), info->second.size());
  if (size < sizeof(xt_NFQ_info)) return;
  std::memcpy(&queue, info->second.data(), size);
  const unsigned count = revision >= 1 && queue.queues_total > 0 ? queue.queues_total : 1;
  rule.queues = {queue.queuenum, static_cast<std::uint16_t>(queue.queuenum + count - 1)};
  rule.queue_bypass = revision >= 2 && (queue.flags & NFQ_FLAG_BYPASS) != 0;
}

void read_expression(const NetlinkAttributes& expression, Rule& rule) {
  const auto data = expression.find(NFTA_EXPR_DATA);
  if (data == expression.end()) return;
  const std::string name = attribute_text(expression, NFTA_EXPR_NAME);
  const auto attributes = parse_attributes(data->second);
  if (name == "immediate") {
    if (be32(attributes, NFTA_IMMEDIATE_DREG) == NFT_REG_VERDICT) read_verdict(attributes, rule);
  } else if (name == "lookup") {
    rule.verdict_map |= be32(attributes, NFTA_LOOKUP_DREG) == NFT_REG_VERDICT;
  } else if (name == "target" && attribute_text(attributes, NFTA_TARGET_NAME) == "NFQUEUE") {
    read_xt_queue(attributes, rule);
  } else if (name == "queue") {
    const auto first = attribute_as<std::uint16_t>(attributes, NFTA_QUEUE_NUM);
    const auto total = attribute_as<std::uint16_t>(attributes, NFTA_QUEUE_TOTAL);
    const auto flags = attribute_as<std::uint16_t>(attributes, NFTA_QUEUE_FLAGS);
    if (!first) return;
    const std::uint16_t count = total ? ntohs(*total) : 1;
    rule.queues = {ntohs(*first), static_cast<std::uint16_t>(ntohs(*first) + count - 1)};
    rule.queue_bypass = flags && (ntohs(*flags) & NFT_QUEUE_FLAG_BYPASS) != 0;
  }
}

struct Dump {
  std::vector<Table> tables;
  std::map<std::pair<unsigned, std::string>, std::size_t> by_name;
  std::size_t chain_of_last_rule = 0;  // its place in whichever table

  Table* find(unsigned family, const std::string& name) {
    const auto found = by_name.find({family, name});
    return found == by_name.end() ? nullptr : &tables[found->second];
  }
};

void add_table(Dump& dump, unsigned family, const NetlinkAttributes& attributes) {
  const auto known = family_from_number(family);
  if (!known) return;
  Table table;
  table.family = *known;
  table.name = attribute_text(attributes, NFTA_TABLE_NAME);
  table.handle = be64(attributes, NFTA_TABLE_HANDLE).value_or(0);
  dump.by_name[{family, table.name}] = dump.tables.size();
  dump.tables.push_back(std::move(table));
}

void add_chain(Dump& dump, unsigned family, const NetlinkAttributes& attributes) {
  Table* table = dump.find(family, attribute_text(attributes, NFTA_CHAIN_TABLE));
  if (!table) return;
  Chain chain;
  chain.name = attribute_text(attributes, NFTA_CHAIN_NAME);
  chain.handle = be64(attributes, NFTA_CHAIN_HANDLE).value_or(0);
  if (const auto hook = attributes.find(NFTA_CHAIN_HOOK); hook != attributes.end()) {
    const auto parts = parse_attributes(hook->second);
    if (const auto number = be32(parts, NFTA_HOOK_HOOKNUM))
      chain.hook = hook_from_number(family, *number);
    chain.priority = static_cast<int>(be32(parts, NFTA_HOOK_PRIORITY).value_or(0));
  }
  chain.policy_drop = be32(attributes, NFTA_CHAIN_POLICY) == NF_DROP;
  table->chains.push_back(std::move(chain));
}

void add_rule(Dump& dump, unsigned family, const NetlinkAttributes& attributes) {
  Table* table = dump.find(family, attribute_text(attributes, NFTA_RULE_TABLE));
  if (!table) return;
  const std::string chain_name = attribute_text(attributes, NFTA_RULE_CHAIN);
  // Chains and rules come in one order: the chain is that of the last rule or soon behind it.
  std::vector<Chain>& chains = table->chains;
  const auto is_it = [&](const Chain& each) { return each.name == chain_name; };
  const auto last = chains.begin() +
                    static_cast<std::ptrdiff_t>(std::min(dump.chain_of_last_rule, chains.size()));
  auto chain = std::find_if(last, chains.end(), is_it);
  if (chain == chains.end()) {
    chain = std::find_if(chains.begin(), last, is_it);
    if (chain == last) return;
  }
  dump.chain_of_last_rule = static_cast<std::size_t>(chain - chains.begin());
  Rule rule;
  rule.handle = be64(attributes, NFTA_RULE_HANDLE).value_or(0);
  rule.number = static_cast<unsigned>(chain->rules.size()) + 1;
  if (const auto data = attributes.find(NFTA_RULE_USERDATA); data != attributes.end())
    rule.comment = comment_of_userdata(data->second);
  if (const auto list = attributes.find(NFTA_RULE_EXPRESSIONS); list != attributes.end())
    for_each_attribute(list->second, [&](std::span<const std::byte> expression) {
      read_expression(parse_attributes(expression), rule);
    });
  chain->rules.push_back(std::move(rule));
}

// A dump of one kind of object; add gets the family and the attributes of each.
bool dump_objects(NetlinkSocket& socket, unsigned get, unsigned answer, Dump& dump,
                  void (*add)(Dump&, unsigned, const NetlinkAttributes&)) {
  NetlinkMessage message = nft_message(get, NLM_F_DUMP, NFPROTO_UNSPEC);
  return socket.request(message, [&](std::uint16_t type, std::span<const std::byte> payload) {
    nfgenmsg header;
    if (type != nft_message_type(answer) || payload.size() < sizeof(header)) return;
    std::memcpy(&header, payload.data(), sizeof(header));
    add(dump, header.nfgen_family, parse_attributes(payload.subspan(sizeof(header))));
  }) == 0;
}

NetlinkMessage new_table() {
  NetlinkMessage message = nft_message(NFT_MSG_NEWTABLE, NLM_F_CREATE, NFPROTO_INET);
  put_text(message, NFTA_TABLE_NAME, kTestTable);
  return message;
}

NetlinkMessage new_chain(const char* name) {
  NetlinkMessage message = nft_message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, NFPROTO_INET);
  put_text(message, NFTA_CHAIN_TABLE, kTestTable);
  put_text(message, NFTA_CHAIN_NAME, name);
  return message;
}

NetlinkMessage new_base_chain(const char* name, int priority, std::uint32_t policy) {
  NetlinkMessage message = new_chain(name);
  message.begin(NFTA_CHAIN_HOOK);
  put_be32(message, NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
  put_be32(message, NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(priority));
  message.end();
  put_text(message, NFTA_CHAIN_TYPE, "filter");
  put_be32(message, NFTA_CHAIN_POLICY, policy);
  return message;
}

NetlinkMessage new_rule(const char* chain) { return nft_new_rule(NFPROTO_INET, kTestTable, chain); }

// A rule without effect, so that a jump has a rule behind it.
NetlinkMessage counting_rule(const char* chain) {
  NetlinkMessage message = new_rule(chain);
  begin_expression(message, "counter");
  end_expression(message);
  message.end();
  return message;
}

NetlinkMessage jumping_rule(const char* chain, const char* target) {
  NetlinkMessage message = new_rule(chain);
  put_verdict(message, static_cast<std::uint32_t>(NFT_JUMP), target);
  message.end();
  return message;
}

NetlinkMessage dropping_rule() {
  NetlinkMessage message = new_rule(kTestInnerChain);
  put_payload(message, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);  // the destination port
  const std::uint16_t port = htons(kTestDropPort);
  put_compare(message, NFT_CMP_EQ, &port, sizeof(port));
  put_verdict(message, NF_DROP, nullptr);
  message.end();
  return message;
}

// "meta nftrace set 1"
NetlinkMessage tracing_rule() {
  NetlinkMessage message = new_rule(kTestInnerChain);
  begin_expression(message, "immediate");
  put_be32(message, NFTA_IMMEDIATE_DREG, NFT_REG_1);
  message.begin(NFTA_IMMEDIATE_DATA);
  const std::uint8_t on = 1;
  message.attribute(NFTA_DATA_VALUE, &on, sizeof(on));
  message.end();
  end_expression(message);
  begin_expression(message, "meta");
  put_be32(message, NFTA_META_KEY, NFT_META_NFTRACE);
  put_be32(message, NFTA_META_SREG, NFT_REG_1);
  end_expression(message);
  message.end();
  return message;
}

}  // namespace

void for_each_attribute(std::span<const std::byte> bytes,
                        const std::function<void(std::span<const std::byte>)>& handle) {
  while (bytes.size() >= sizeof(nlattr)) {
    nlattr header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    if (header.nla_len < sizeof(header) || header.nla_len > bytes.size()) return;
    handle(bytes.subspan(sizeof(header), header.nla_len - sizeof(header)));
    const std::size_t step = NLA_ALIGN(header.nla_len);
    bytes = bytes.subspan(std::min(step, bytes.size()));
  }
}

// Type, length and value triples behind each other; the comment ends with a NUL.
std::string comment_of_userdata(std::span<const std::byte> bytes) {
  while (bytes.size() >= 2) {
    const auto type = static_cast<std::uint8_t>(bytes[0]);
    const auto length = static_cast<std::size_t>(bytes[1]);
    if (bytes.size() < 2 + length) break;
    if (type == kCommentType) {
      const auto* text = reinterpret_cast<const char*>(bytes.data() + 2);
      return {text, strnlen(text, length)};
    }
    bytes = bytes.subspan(2 + length);
  }
  return {};
}

std::optional<std::vector<Table>> read_nft_tables(NetlinkSocket& socket) {
  Dump dump;
  if (!dump_objects(socket, NFT_MSG_GETTABLE, NFT_MSG_NEWTABLE, dump, add_table) ||
      !dump_objects(socket, NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN, dump, add_chain) ||
      !dump_objects(socket, NFT_MSG_GETRULE, NFT_MSG_NEWRULE, dump, add_rule))
    return std::nullopt;
  return std::move(dump.tables);
}

std::optional<std::vector<Table>> list_nft_tables(NetlinkSocket& socket) {
  Dump dump;
  if (!dump_objects(socket, NFT_MSG_GETTABLE, NFT_MSG_NEWTABLE, dump, add_table))
    return std::nullopt;
  return std::move(dump.tables);
}

std::optional<std::uint32_t> read_nft_generation(NetlinkSocket& socket) {
  std::optional<std::uint32_t> generation;
  NetlinkMessage message = nft_message(NFT_MSG_GETGEN, NLM_F_ACK, NFPROTO_UNSPEC);
  const int error = socket.request(message, [&](std::uint16_t type, auto payload) {
    if (type == nft_message_type(NFT_MSG_NEWGEN) && payload.size() > sizeof(nfgenmsg))
      generation = be32(parse_attributes(payload.subspan(sizeof(nfgenmsg))), NFTA_GEN_ID);
  });
  return error == 0 ? generation : std::nullopt;
}

int load_test_rules(NetlinkSocket& socket) {
  std::vector<NetlinkMessage> batch;
  batch.push_back(new_table());
  batch.push_back(new_chain(kTestInnerChain));
  batch.push_back(new_chain(kTestMiddleChain));
  batch.push_back(new_base_chain(kTestBaseChain, 0, NF_DROP));
  batch.push_back(counting_rule(kTestInnerChain));
  batch.push_back(dropping_rule());
  batch.push_back(counting_rule(kTestInnerChain));
  batch.push_back(jumping_rule(kTestMiddleChain, kTestInnerChain));
  batch.push_back(counting_rule(kTestMiddleChain));
  batch.push_back(jumping_rule(kTestBaseChain, kTestMiddleChain));
  batch.push_back(counting_rule(kTestBaseChain));
  return socket.commit(NFNL_SUBSYS_NFTABLES, batch);
}

int load_passing_chain(NetlinkSocket& socket, int index) {
  std::vector<NetlinkMessage> batch;
  const std::string name = "dt_passing" + std::to_string(index);
  batch.push_back(new_base_chain(name.c_str(), -index, NF_ACCEPT));
  return socket.commit(NFNL_SUBSYS_NFTABLES, batch);
}

int load_tracing_rule(NetlinkSocket& socket) {
  std::vector<NetlinkMessage> batch;
  batch.push_back(new_table());
  batch.push_back(new_chain(kTestInnerChain));
  batch.push_back(tracing_rule());
  return socket.commit(NFNL_SUBSYS_NFTABLES, batch);
}

}  // namespace droptrace
