// SPDX-License-Identifier: GPL-2.0-only
#include "core/drop.h"

#include <cstdint>

#include <doctest/doctest.h>

#include "tests/support/drop_builder.h"

namespace droptrace {
namespace {

const Endpoint kClient = endpoint("10.244.0.5", std::uint16_t{40112});
const Endpoint kService = endpoint("10.96.100.10", std::uint16_t{80});
const Endpoint kServer = endpoint("10.244.0.6", std::uint16_t{8080});
const Tuple kAsDialled{kClient, kService, IPPROTO_TCP};

DropBuilder syn_to_server() {
  return DropBuilder(PacketBuilder{}.ipv4("10.244.0.5", "10.244.0.6").tcp(40112, 8080, kTcpSyn));
}

TEST_CASE("without conntrack the packet's own flow is what the client dialled") {
  const Drop drop = syn_to_server().build();
  CHECK(drop.dialled() == Tuple{kClient, kServer, IPPROTO_TCP});
  CHECK_FALSE(drop.endpoint().has_value());
}

TEST_CASE("after DNAT the dialled flow names the service and the endpoint is the server") {
  const Drop drop = syn_to_server().conntrack(kClient, kService, kServer).build();
  CHECK(drop.dialled() == kAsDialled);
  CHECK(drop.endpoint() == kServer);
}

TEST_CASE("an answer belongs to the flow as the client dialled it") {
  const Drop drop =
      DropBuilder(
          PacketBuilder{}.ipv4("10.244.0.6", "10.244.0.5").tcp(8080, 40112, kTcpSyn | kTcpAck))
          .conntrack(kClient, kService, kServer)
          .in_reply_direction()
          .build();
  CHECK(drop.dialled() == kAsDialled);
  CHECK(drop.endpoint() == kServer);
}

TEST_CASE("a tracked flow that NAT left alone has no endpoint of its own") {
  const Drop drop = syn_to_server().conntrack(kClient, kServer, kServer).build();
  CHECK(drop.dialled() == Tuple{kClient, kServer, IPPROTO_TCP});
  CHECK_FALSE(drop.endpoint().has_value());
}

TEST_CASE("masquerading alone chooses no endpoint") {
  Drop drop = syn_to_server().conntrack(kClient, kServer, kServer).build();
  drop.record.conntrack->reply.dst = endpoint("172.18.0.2", std::uint16_t{61000});
  CHECK(drop.record.conntrack->has_nat());
  CHECK_FALSE(drop.endpoint().has_value());
}

TEST_CASE("a packet that is no IP was not dialled") {
  const Drop drop = DropBuilder(PacketBuilder{}.arp_request("10.244.0.5", "10.244.0.1")).build();
  CHECK_FALSE(drop.dialled().has_value());
}

TEST_CASE("netfilter backends are spelled as in the JSON schema") {
  CHECK(to_string(NetfilterBackend::kNfTables) == "nf_tables");
  CHECK(to_string(NetfilterBackend::kNfqueue) == "nfqueue");
  CHECK(to_string(NetfilterBackend::kOther) == "other");
}

}  // namespace
}  // namespace droptrace
