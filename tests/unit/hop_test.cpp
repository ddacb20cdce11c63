// SPDX-License-Identifier: GPL-2.0-only
#include "core/hop.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cstring>
#include <span>

#include <doctest/doctest.h>

#include "droptrace/path.h"

namespace droptrace {
namespace {

dt_hop raw_hop(dt_hop_event event) {
  dt_hop raw{};
  raw.time_ns = 17;
  raw.netns = 4026531840;
  raw.ifindex = 3;
  raw.isn = 4711;
  raw.length = 60;
  raw.event = static_cast<dt_u8>(event);
  raw.tcp_flags = kTcpSyn;
  raw.ttl = 63;
  raw.tuple.family = AF_INET;
  inet_pton(AF_INET, "10.244.0.5", raw.tuple.src);
  inet_pton(AF_INET, "10.96.0.10", raw.tuple.dst);
  raw.tuple.sport = htons(40000);
  raw.tuple.dport = htons(80);
  std::memcpy(raw.ifname, "eth0", 5);
  return raw;
}

std::optional<Hop> decoded(const dt_hop& raw) {
  return decode_hop(std::as_bytes(std::span(&raw, 1)));
}

TEST_CASE("a hop is decoded whole") {
  const auto hop = decoded(raw_hop(DT_HOP_TRANSMIT));
  REQUIRE(hop);
  CHECK(hop->boot_ns == 17);
  CHECK(hop->netns == 4026531840);
  CHECK(hop->ifname == "eth0");
  CHECK(hop->is_syn());
  CHECK_FALSE(hop->original);
  CHECK(to_string(hop->tuple.src) == "10.244.0.5:40000");
  CHECK(to_string(hop->tuple.dst) == "10.96.0.10:80");
  CHECK(hop->event_text() == "xmit");
}

TEST_CASE("a hook that was passed has its name") {
  dt_hop raw = raw_hop(DT_HOP_HOOK);
  raw.hook = 4;
  const auto hop = decoded(raw);
  REQUIRE(hop);
  CHECK(hop->event_text() == "postrouting");
  CHECK(hop->is_syn());
  raw.hook = 9;
  CHECK_FALSE(decoded(raw));
}

TEST_CASE("a socket that speaks IPv4 over IPv6 has IPv4 addresses") {
  dt_hop raw = raw_hop(DT_HOP_ESTABLISHED);
  raw.tuple.family = AF_INET6;
  inet_pton(AF_INET6, "::ffff:10.244.0.5", raw.tuple.src);
  inet_pton(AF_INET6, "::ffff:10.96.0.10", raw.tuple.dst);
  const auto hop = decoded(raw);
  REQUIRE(hop);
  CHECK(to_string(hop->tuple.src) == "10.244.0.5:40000");
  CHECK_FALSE(hop->is_packet());
}

TEST_CASE("what is no hop is refused") {
  const dt_hop raw = raw_hop(DT_HOP_TRANSMIT);
  const auto bytes = std::as_bytes(std::span(&raw, 1));
  for (std::size_t length = 0; length < bytes.size(); ++length)
    CHECK_FALSE(decode_hop(bytes.first(length)));
  dt_hop odd = raw;
  odd.event = DT_HOP_HOOK + 1;
  CHECK_FALSE(decoded(odd));
  odd = raw;
  odd.tuple.family = AF_UNIX;
  CHECK_FALSE(decoded(odd));
}

}  // namespace
}  // namespace droptrace
