// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/kube_nft_dump.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cstring>
#include <iterator>
#include <string>
#include <utility>

#include "kernel/nft_message.h"
#include "kernel/nft_netlink.h"

namespace droptrace {

namespace {

constexpr int kPiecesPerTurn = 4;  // some 32 KiB each; then others get their turn

// An attribute's value; empty if it is absent.
std::span<const std::byte> value_of(const NetlinkAttributes& attributes, std::uint16_t type) {
  const auto found = attributes.find(type);
  return found == attributes.end() ? std::span<const std::byte>() : found->second;
}

}  // namespace

KubeNftDump::KubeNftDump(EventLoop& loop, ServicesBuilder& builder, bool v6,
                         std::function<void()> finished)
    : loop_(loop),
      reader_(builder, v6),
      family_(v6 ? NFPROTO_IPV6 : NFPROTO_IPV4),
      finished_(std::move(finished)),
      socket_(NetlinkSocket::open(NETLINK_NETFILTER)) {
  if (!socket_) return;
  if (ask() != 0) {
    socket_.reset();
    return;
  }
  loop_.watch(socket_->fd(), [this] { on_answers(); });
}

KubeNftDump::~KubeNftDump() {
  if (socket_) loop_.unwatch(socket_->fd());
}

int KubeNftDump::ask() {
  if (next_set_ == 0) {
    NetlinkMessage chains = nft_message(NFT_MSG_GETCHAIN, NLM_F_DUMP, family_);
    return socket_->start(chains);
  }
  NetlinkMessage elements = nft_message(NFT_MSG_GETSETELEM, NLM_F_DUMP, family_);
  const std::string table(kKubeNftTable);
  const char* const set = kKubeNftSets[next_set_ - 1];
  elements.attribute(NFTA_SET_ELEM_LIST_TABLE, table.c_str(), table.size() + 1);
  elements.attribute(NFTA_SET_ELEM_LIST_SET, set, std::strlen(set) + 1);
  return socket_->start(elements);
}

void KubeNftDump::on_answers() {
  const auto take = [this](std::uint16_t type, std::span<const std::byte> payload) {
    if (payload.size() < sizeof(nfgenmsg)) return;
    const auto attributes = parse_attributes(payload.subspan(sizeof(nfgenmsg)));
    if (type == nft_message_type(NFT_MSG_NEWCHAIN)) take_chain(attributes);
    if (type == nft_message_type(NFT_MSG_NEWSETELEM)) take_elements(attributes);
  };
  for (int i = 0; i < kPiecesPerTurn; ++i) {
    // A set that is not there is none of this version of kube-proxy.
    if (!socket_->receive_some(take)) continue;
    if (++next_set_ > std::size(kKubeNftSets) || ask() != 0) return end();
  }
}

void KubeNftDump::take_chain(const NetlinkAttributes& attributes) {
  if (attribute_text(attributes, NFTA_CHAIN_TABLE) == kKubeNftTable)
    reader_.add_chain(attribute_text(attributes, NFTA_CHAIN_NAME));
}

void KubeNftDump::take_elements(const NetlinkAttributes& attributes) {
  const auto list = value_of(attributes, NFTA_SET_ELEM_LIST_ELEMENTS);
  for_each_attribute(list, [&](std::span<const std::byte> bytes) {
    const auto parts = parse_attributes(bytes);
    const auto key = parse_attributes(value_of(parts, NFTA_SET_ELEM_KEY));
    const auto data = parse_attributes(value_of(parts, NFTA_SET_ELEM_DATA));
    const auto verdict = parse_attributes(value_of(data, NFTA_DATA_VERDICT));
    const auto value = value_of(key, NFTA_DATA_VALUE);
    const std::string chain = attribute_text(verdict, NFTA_VERDICT_CHAIN);
    const std::string comment = comment_of_userdata(value_of(parts, NFTA_SET_ELEM_USERDATA));
    reader_.add_element({.set = kKubeNftSets[next_set_ - 1],
                         .key = {reinterpret_cast<const std::uint8_t*>(value.data()), value.size()},
                         .chain = chain,
                         .comment = comment});
  });
}

void KubeNftDump::end() {
  loop_.unwatch(socket_->fd());
  socket_.reset();
  finished_();
}

}  // namespace droptrace
