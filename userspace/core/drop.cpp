// SPDX-License-Identifier: GPL-2.0-only
#include "core/drop.h"

namespace droptrace {

std::string_view to_string(NetfilterBackend backend) {
  switch (backend) {
    case NetfilterBackend::kNfTables:
      return "nf_tables";
    case NetfilterBackend::kIpTables:
      return "ip_tables";
    case NetfilterBackend::kNfqueue:
      return "nfqueue";
    case NetfilterBackend::kConntrack:
      return "conntrack";
    case NetfilterBackend::kNat:
      return "nat";
    case NetfilterBackend::kBpf:
      return "bpf";
    case NetfilterBackend::kOther:
      return "other";
  }
  return "";
}

std::optional<Tuple> Drop::dialled() const {
  if (record.conntrack) return record.conntrack->original;
  return record.packet.tuple();
}

std::optional<Endpoint> Drop::endpoint() const {
  if (!record.conntrack) return std::nullopt;
  const Endpoint& answers = record.conntrack->reply.src;
  if (answers == record.conntrack->original.dst) return std::nullopt;
  return answers;
}

const Party* Drop::party(const Address& address) const {
  const auto found = parties.find(address);
  return found == parties.end() ? nullptr : &found->second;
}

}  // namespace droptrace
