// SPDX-License-Identifier: GPL-2.0-only
#include "core/scope.h"

#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "core/cluster.h"

namespace droptrace {
namespace {

Cidr cidr(std::string_view text) { return parse_cidr(text).value(); }

}  // namespace

TEST_CASE("a prefix inside another one says what that one says as well") {
  const auto prefixes = watched_prefixes({cidr("10.96.0.0/16"), cidr("10.244.0.0/16")},
                                         {cidr("10.244.1.0/24"), cidr("172.18.0.2/32")});
  CHECK(prefixes == std::vector<WatchedPrefix>{{cidr("10.96.0.0/16"), true, false},
                                               {cidr("10.244.0.0/16"), true, false},
                                               {cidr("10.244.1.0/24"), true, true},
                                               {cidr("172.18.0.2/32"), false, true}});
}

TEST_CASE("a longer cluster prefix inside the node's own is both") {
  const auto prefixes = watched_prefixes({cidr("10.244.0.6/32")}, {cidr("10.244.0.0/24")});
  CHECK(prefixes == std::vector<WatchedPrefix>{{cidr("10.244.0.0/24"), false, true},
                                               {cidr("10.244.0.6/32"), true, true}});
}

TEST_CASE("a prefix that both lists have is there once") {
  const auto prefixes = watched_prefixes({cidr("fd00::/64")}, {cidr("fd00::/64")});
  CHECK(prefixes == std::vector<WatchedPrefix>{{cidr("fd00::/64"), true, true}});
}

TEST_CASE("IPv4 prefixes do not cover IPv6 addresses") {
  const auto prefixes = watched_prefixes({cidr("0.0.0.0/0")}, {cidr("::/0")});
  REQUIRE(prefixes.size() == 2);
  CHECK(prefixes[0].cluster != prefixes[0].own);
  CHECK(prefixes[1].cluster != prefixes[1].own);
}

TEST_CASE("a single address is a network of its own") {
  CHECK(host_cidr(parse_address("10.1.2.3").value()) == cidr("10.1.2.3/32"));
  CHECK(host_cidr(parse_address("fd00::1").value()) == cidr("fd00::1/128"));
}

TEST_CASE("the node's pod CIDRs are the subnets of kindnet's configuration") {
  const char* const kindnet = R"({"cniVersion": "0.3.1", "name": "kindnet", "plugins": [
    {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local",
     "dataDir": "/run/cni-ipam-state", "routes": [{"dst": "0.0.0.0/0"}],
     "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:10:244:1::/64"}]]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}]})";
  CHECK(pod_cidrs_from_conflist(kindnet) ==
        std::vector<Cidr>{cidr("10.244.1.0/24"), cidr("fd00:10:244:1::/64")});
}

TEST_CASE("the node's pod CIDR is found in the older form, too") {
  const char* const bridge =
      R"({"plugins": [{"type": "bridge", "ipam": {"subnet": "10.1.0.0/16"}}]})";
  CHECK(pod_cidrs_from_conflist(bridge) == std::vector<Cidr>{cidr("10.1.0.0/16")});
}

TEST_CASE("what is no such configuration has no pod CIDR") {
  for (const char* const text :
       {"", "[]", "{", "3", R"({"plugins": 3})", R"({"plugins": [3, {"ipam": []}]})",
        R"({"plugins": [{"ipam": {"subnet": 3, "ranges": [{}, [3, {"subnet": "x"}]]}}]})"}) {
    CAPTURE(text);
    CHECK(pod_cidrs_from_conflist(text).empty());
  }
}

}  // namespace droptrace
