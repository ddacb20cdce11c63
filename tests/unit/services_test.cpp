// SPDX-License-Identifier: GPL-2.0-only
#include "core/services.h"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/services.h"

namespace droptrace {
namespace {

using Kind = ServiceFrontend::Kind;

ServiceFrontend cluster_ip(std::string_view address, std::uint16_t port,
                           Backing backing = Backing::kEndpoints) {
  const Address parsed = ip(address);
  return {parsed, parsed.v6, port, Kind::kClusterIp, backing};
}

class Cluster {
 public:
  Cluster& add(std::string_view name, const ServiceFrontend& frontend,
               const std::vector<Endpoint>& endpoints = {}) {
    const auto service = builder_.service(name, IPPROTO_TCP);
    REQUIRE(service);
    builder_.add_frontend(*service, frontend);
    for (const Endpoint& endpoint : endpoints) builder_.add_endpoint(*service, endpoint);
    return *this;
  }
  Services build() { return std::move(builder_).build(); }

 private:
  ServicesBuilder builder_;
};

TEST_CASE("a service is found by address, port and protocol, all three") {
  const Services services = Cluster().add("a/b:p", cluster_ip("10.96.0.9", 80)).build();
  CHECK(dialled(services, "10.96.0.9", 80) == "a/b:p");
  CHECK(dialled(services, "10.96.0.8", 80).empty());
  CHECK(dialled(services, "10.96.0.9", 81).empty());
  CHECK(dialled(services, "10.96.0.9", 80, IPPROTO_UDP).empty());
}

TEST_CASE("one service in both IP versions, from two dumps, is one") {
  const Services services = Cluster()
                                .add("a/b:p", cluster_ip("10.96.0.9", 80), {{ip("10.244.0.6"), 1}})
                                .add("a/b:p", cluster_ip("fd00::9", 80), {{ip("fd01::6"), 1}})
                                .build();
  REQUIRE(services.all().size() == 1);
  CHECK(services.all()[0].frontends.size() == 2);
  CHECK(services.all()[0].endpoints.size() == 2);
  CHECK(dialled(services, "fd00::9", 80) == "a/b:p");
}

TEST_CASE("the same frontend in both backends is one, and why it is refused outweighs the rest") {
  const Services services = Cluster()
                                .add("a/b:p", cluster_ip("10.96.0.9", 80))
                                .add("a/b:p", cluster_ip("10.96.0.9", 80, Backing::kNoneLocal))
                                .add("a/b:p", cluster_ip("10.96.0.9", 80))
                                .build();
  const auto found = services.find(ip("10.96.0.9"), 80, IPPROTO_TCP, false);
  REQUIRE(found);
  CHECK(found->service->frontends.size() == 1);
  CHECK(found->frontend->backing == Backing::kNoneLocal);
}

TEST_CASE("rules that contradict each other name nothing") {
  const Services services = Cluster()
                                .add("a/old:p", cluster_ip("10.96.0.9", 80))
                                .add("a/new:p", cluster_ip("10.96.0.9", 80))
                                .add("a/new:q", cluster_ip("10.96.0.9", 81))
                                .build();
  CHECK(dialled(services, "10.96.0.9", 80).empty());
  CHECK(dialled(services, "10.96.0.9", 81) == "a/new:q");
  CHECK(services.passed_over() == 1);
}

TEST_CASE("an address names a service if all its ports are of one") {
  const ServiceFrontend node_port{{}, false, 30080, Kind::kNodePort, Backing::kEndpoints};
  const Services services = Cluster()
                                .add("a/b:p", cluster_ip("10.96.0.9", 80))
                                .add("a/b:q", cluster_ip("10.96.0.9", 81))
                                .add("a/x:p", cluster_ip("192.0.2.1", 80))
                                .add("a/y:p", cluster_ip("192.0.2.1", 81))
                                .add("a/z:p", node_port)
                                .build();
  CHECK(services.name_of(ip("10.96.0.9")) == "a/b");
  CHECK_FALSE(services.name_of(ip("192.0.2.1")));
  CHECK_FALSE(services.name_of(ip("10.96.0.10")));
  CHECK_FALSE(services.name_of(ip("0.0.0.0")));
}

TEST_CASE("an endpoint may be behind several services") {
  const Endpoint endpoint{ip("10.244.0.6"), 8080};
  const Services services = Cluster()
                                .add("a/b:p", cluster_ip("10.96.0.9", 80), {endpoint, endpoint})
                                .add("a/c:p", cluster_ip("10.96.0.10", 80), {endpoint})
                                .build();
  const auto behind = services.behind(endpoint, IPPROTO_TCP);
  REQUIRE(behind.size() == 2);
  CHECK(behind[0]->text() == "a/b:p");
  CHECK(behind[1]->text() == "a/c:p");
  CHECK(behind[0]->endpoints.size() == 1);
}

TEST_CASE("names are those that Kubernetes gives, and nothing else") {
  ServicesBuilder builder;
  for (const std::string name : {"a/b", "a/b:c", "a-1/b-2:c-3", "0/1:2"}) {
    CAPTURE(name);
    CHECK(builder.service(name, IPPROTO_TCP));
  }
  for (const std::string name : {"", "a", "/", "a/", "/b", "a/b:", "a/b:c:d", "a/b/c", "a/b:c/d",
                                 "A/b", "a/b_c", "a/-b", "a/b-", "a /b", "a/b\n", "a/b.c"}) {
    CAPTURE(name);
    CHECK_FALSE(builder.service(name, IPPROTO_TCP));
  }
  const Services services = std::move(builder).build();
  CHECK(services.all().size() == 4);
  CHECK(services.passed_over() == 16);
}

}  // namespace
}  // namespace droptrace
