// SPDX-License-Identifier: GPL-2.0-only
#include "core/kube_nftables.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/support/rule_dumps.h"
#include "tests/support/services.h"

namespace droptrace {
namespace {

using Json = nlohmann::json;
using Texts = std::vector<std::string>;
using Bytes = std::vector<std::uint8_t>;
using Kind = ServiceFrontend::Kind;

void append(Bytes& key, const Address& address) {
  key.insert(key.end(), address.bytes.begin(), address.bytes.begin() + (address.v6 ? 16 : 4));
}

// A key as nf_tables has it: each part fills up to a multiple of four bytes.
Bytes key_of(const std::optional<Address>& address, std::uint8_t protocol, std::uint16_t port) {
  Bytes key;
  if (address) append(key, *address);
  const Bytes rest = {protocol,
                      0,
                      0,
                      0,
                      static_cast<std::uint8_t>(port >> 8U),
                      static_cast<std::uint8_t>(port & 0xffU),
                      0,
                      0};
  key.insert(key.end(), rest.begin(), rest.end());
  return key;
}

// The element of a set or a map as nft lists it.
void add_listed(KubeNftablesReader& reader, const std::string& set, const Json& listed) {
  const bool is_map = listed.is_array();
  Json value = is_map ? listed[0] : listed;
  std::string comment;
  if (value.is_object() && value.contains("elem")) {
    comment = value["elem"].value("comment", "");
    value = Json(value["elem"]["val"]);
  }
  Bytes key;
  if (value.is_string()) {
    append(key, ip(value.get<std::string>()));
  } else {
    const Json& parts = value["concat"];
    const bool has_address = parts.size() == 3;
    const auto address =
        has_address ? std::optional(ip(parts[0].get<std::string>())) : std::nullopt;
    key = key_of(address, service_protocol(parts[parts.size() - 2].get<std::string>()).value(),
                 parts.back().get<std::uint16_t>());
  }
  const std::string chain =
      is_map && listed[1].contains("goto") ? listed[1]["goto"]["target"].get<std::string>() : "";
  reader.add_element({set, key, chain, comment});
}

Services services_of_table(const std::string& name) {
  const Json dump = Json::parse(rule_dump(name));
  ServicesBuilder builder;
  KubeNftablesReader reader(builder, false);
  for (const Json& item : dump["nftables"]) {
    if (item.contains("chain")) reader.add_chain(item["chain"]["name"].get<std::string>());
  }
  for (const char* set : kKubeNftSets) {
    for (const Json& item : dump["nftables"]) {
      for (const char* kind : {"set", "map"}) {
        if (!item.contains(kind) || item[kind]["name"] != set) continue;
        for (const Json& element : item[kind].value("elem", Json::array()))
          add_listed(reader, set, element);
      }
    }
  }
  return std::move(builder).build();
}

TEST_CASE("the recorded table of kube-proxy names services, ports and endpoints") {
  const Services services = services_of_table("kube-proxy.json");
  CHECK(services.passed_over() == 0);
  CHECK(services.all().size() == 4);
  CHECK(dialled(services, "10.96.0.1", 443) == "default/kubernetes:https");
  CHECK(dialled(services, "10.96.0.10", 53) == "kube-system/kube-dns:dns-tcp");
  CHECK(endpoints_of(service_named(services, "kube-system/kube-dns:dns-tcp")) ==
        Texts{"10.244.0.2:53", "10.244.0.3:53"});

  const auto rejected = services.find(ip("10.96.12.7"), 8181, IPPROTO_TCP, false);
  REQUIRE(rejected);
  CHECK(rejected->service->text() == "data-platform/iceberg:http");
  CHECK(rejected->frontend->backing == Backing::kNone);
  CHECK(rejected->frontend->kind == Kind::kClusterIp);
  const auto dropped = services.find(ip("10.96.40.2"), 80, IPPROTO_TCP, false);
  REQUIRE(dropped);
  CHECK(dropped->service->text() == "shop/cart:http");
  CHECK(dropped->frontend->backing == Backing::kNoneLocal);
  CHECK(dropped->service->internal_local);
}

TEST_CASE("NodePorts of the table are open at the addresses that it lists") {
  const Services services = services_of_table("kube-proxy.json");
  CHECK(dialled_on_node(services, "172.18.0.2", 30443) == "default/kubernetes:https");
  CHECK(dialled_on_node(services, "10.244.0.1", 30443).empty());
  const auto dropped = services.find(ip("172.18.0.2"), 30080, IPPROTO_TCP, true);
  REQUIRE(dropped);
  CHECK(dropped->frontend->backing == Backing::kNoneLocal);
  CHECK(dropped->service->external_local);
}

class Table {
 public:
  explicit Table(bool v6 = false) : reader_(builder_, v6) {}
  Table& chain(std::string_view name) {
    reader_.add_chain(name);
    return *this;
  }
  Table& element(std::string_view set, const Bytes& key, std::string_view chain,
                 std::string_view comment = "") {
    reader_.add_element({set, key, chain, comment});
    return *this;
  }
  Services build() { return std::move(builder_).build(); }

 private:
  ServicesBuilder builder_;
  KubeNftablesReader reader_;
};

TEST_CASE("addresses of IPv6 have dots in the names of chains") {
  const Services services =
      Table(true)
          .chain("endpoint-BFW5VCWB-a/b/udp/__fd00.10.244..6/53")
          .element("service-ips", key_of(ip("fd00:10:96::9"), IPPROTO_UDP, 53),
                   "service-NWBZK7IH-a/b/udp/")
          .build();
  CHECK(services.passed_over() == 0);
  CHECK(dialled(services, "fd00:10:96::9", 53, IPPROTO_UDP) == "a/b");
  CHECK(endpoints_of(services.all().at(0)) == Texts{"[fd00:10:244::6]:53"});
}

TEST_CASE("external addresses lead to chains of their own, and may have a firewall") {
  const auto lb = key_of(ip("192.0.2.1"), IPPROTO_TCP, 80);
  const Services services = Table()
                                .element("service-ips", lb, "external-NWBZK7IH-a/b/tcp/p")
                                .element("firewall-ips", lb, "firewall-NWBZK7IH-a/b/tcp/p")
                                .build();
  const auto found = services.find(ip("192.0.2.1"), 80, IPPROTO_TCP, false);
  REQUIRE(found);
  CHECK(found->frontend->kind == Kind::kExternal);
  CHECK(found->service->source_ranges);
}

TEST_CASE("names that were cut, and whatever else is not kube-proxy's, are counted") {
  const auto key = key_of(ip("10.96.0.9"), IPPROTO_TCP, 80);
  const std::string cut = "service-NWBZK7IH-" + std::string(63, 'n') + "/" + std::string(63, 's') +
                          "/tcp/" + std::string(60, 'p') + "...";
  CHECK(Table().element("service-ips", key, cut).build().passed_over() == 1);
  for (const std::string chain : {"", "x", "service-", "service-HASH", "service-HASH-a/b",
                                  "service-HASH-a/b/icmp/p", "service-HASH-a\x1b[/b/tcp/p"}) {
    CAPTURE(chain);
    const Services services = Table().element("service-ips", key, chain).build();
    CHECK(services.passed_over() == 1);
    CHECK(services.all().empty());
  }
  for (const std::string chain :
       {"endpoint-", "endpoint-HASH-a/b/tcp/p", "endpoint-HASH-a/b/tcp/p__",
        "endpoint-HASH-a/b/tcp/p__10.0.0.1", "endpoint-H-a/b/tcp/p__x/1",
        "endpoint-H-a/b/tcp/p__10.0.0.1/70000"}) {
    CAPTURE(chain);
    CHECK(Table().chain(chain).build().passed_over() == 1);
  }
  CHECK(Table().chain("filter-input").chain("masquerading").build().passed_over() == 0);
  const std::string good = "service-NWBZK7IH-a/b/tcp/p";
  for (const std::size_t size : {0, 4, 11, 13, 24})
    CHECK(Table().element("service-ips", Bytes(size), good).build().passed_over() == 1);
  CHECK(Table().element("nodeport-ips", Bytes(3), "").build().passed_over() == 1);
  CHECK(Table()
            .element("no-endpoint-services", key, "reject-chain", "evil\n")
            .build()
            .passed_over() == 1);
}

}  // namespace
}  // namespace droptrace
