// SPDX-License-Identifier: GPL-2.0-only
// Which service a drop belongs to.
#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "sink/json.h"
#include "tests/support/enriched.h"
#include "tests/support/pods.h"
#include "tests/support/services.h"

namespace droptrace {
namespace {

constexpr const char* kRules = R"(*filter
-A KUBE-SERVICES -d 10.96.12.7/32 -p tcp -m comment --comment "data/iceberg:http has no endpoints" -m tcp --dport 8181 -j REJECT
COMMIT
*nat
-A KUBE-SERVICES -d 10.96.100.10/32 -p tcp -m comment --comment "default/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SERVICES -d 192.0.2.10/32 -p tcp -m comment --comment "default/web:http external IP" -m tcp --dport 80 -j KUBE-EXT-WEB
-A KUBE-NODEPORTS -p tcp -m comment --comment "default/web:http" -m tcp --dport 30080 -j KUBE-EXT-WEB
COMMIT
)";

Drop with_services(const RecordBuilder& record) {
  World world = node_and_pod();
  world.services = std::make_shared<const Services>(services_of_save(kRules));
  return enrich(decode_drop(record.bytes()).value(), world, kernel_names(), {});
}

RecordBuilder dial(std::string_view src, std::string_view dst, std::uint16_t port) {
  return RecordBuilder{}.packet(PacketBuilder{}.ipv4(src, dst).tcp(40112, port, kTcpSyn, 7));
}

Tuple tuple(std::string_view src, std::uint16_t sport, std::string_view dst, std::uint16_t dport) {
  return {{ip(src), sport}, {ip(dst), dport}, IPPROTO_TCP};
}

TEST_CASE("before NAT the destination is the service, and has its name") {
  const Drop drop = with_services(dial("10.244.0.5", "10.96.12.7", 8181));
  CHECK(drop.service == "data/iceberg:http");
  CHECK(drop.dst_name == "s/data/iceberg");
  CHECK_FALSE(drop.src_name);
}

TEST_CASE("behind NAT the service is the one that was dialled, and the destination has no name") {
  const Drop drop = with_services(
      RecordBuilder{}.packet(syn()).conntrack(tuple("10.244.0.5", 40112, "10.96.100.10", 80),
                                              tuple("10.244.0.6", 8080, "10.244.0.5", 40112)));
  CHECK(drop.service == "default/web:http");
  CHECK_FALSE(drop.dst_name);
}

TEST_CASE("an answer belongs to the service that was dialled") {
  const auto answer = PacketBuilder{}.ipv4("10.244.0.6", "10.244.0.5").tcp(8080, 40112, kTcpAck);
  const Drop behind_nat =
      with_services(RecordBuilder{}
                        .packet(answer)
                        .conntrack(tuple("10.244.0.5", 40112, "10.96.100.10", 80),
                                   tuple("10.244.0.6", 8080, "10.244.0.5", 40112))
                        .reply_direction());
  CHECK(behind_nat.service == "default/web:http");
  CHECK_FALSE(behind_nat.src_name);

  const auto back = PacketBuilder{}.ipv4("10.96.100.10", "10.244.0.5").tcp(80, 40112, kTcpAck);
  const Drop translated_back = with_services(RecordBuilder{}.packet(back));
  CHECK(translated_back.service == "default/web:http");
  CHECK(translated_back.src_name == "s/default/web");
  CHECK_FALSE(translated_back.dst_name);
}

TEST_CASE("a port that the service does not have is none of its ports") {
  const Drop drop = with_services(dial("10.244.0.5", "10.96.100.10", 81));
  CHECK_FALSE(drop.service);
  CHECK(drop.dst_name == "s/default/web");
}

TEST_CASE("a NodePort is a service at the node's addresses and nowhere else") {
  CHECK(with_services(dial("172.18.0.9", "10.244.0.1", 30080)).service == "default/web:http");
  CHECK_FALSE(with_services(dial("172.18.0.9", "10.244.0.1", 30080)).dst_name);
  CHECK_FALSE(with_services(dial("172.18.0.9", "10.244.0.5", 30080)).service);
  CHECK_FALSE(with_services(dial("172.18.0.9", "10.244.0.1", 30081)).service);
}

TEST_CASE("at a loopback address a NodePort needs proof") {
  const RecordBuilder bare = dial("127.0.0.1", "127.0.0.1", 30080).netns(kNode);
  CHECK_FALSE(with_services(bare).service);
  const RecordBuilder nat = RecordBuilder{}.netns(kNode).packet(syn()).conntrack(
      tuple("127.0.0.1", 40112, "127.0.0.1", 30080),
      tuple("10.244.0.6", 8080, "10.244.0.1", 40112));
  CHECK(with_services(nat).service == "default/web:http");
  CHECK_FALSE(with_services(RecordBuilder(nat).netns(kPod)).service);
}

TEST_CASE("an external address is a service's, too") {
  const Drop drop = with_services(dial("10.244.0.5", "192.0.2.10", 80));
  CHECK(drop.service == "default/web:http");
  CHECK(drop.dst_name == "s/default/web");
}

TEST_CASE("pods that talk to each other dial no service") {
  const Drop drop = with_services(dial("10.244.0.5", "10.244.0.6", 8080));
  CHECK_FALSE(drop.service);
  CHECK_FALSE(drop.src_name);
  CHECK_FALSE(drop.dst_name);
}

TEST_CASE("as long as services are not known, none is named") {
  const Drop drop = enriched(dial("10.244.0.5", "10.96.12.7", 8181));
  CHECK_FALSE(drop.service);
  CHECK_FALSE(drop.dst_name);
}

// The drop of what conntrack leads to an endpoint, of a pod that lives or is gone.
Drop led_to(std::string_view endpoint, bool pod_is_gone) {
  constexpr const char* kEndpoint = R"(*nat
-A KUBE-SERVICES -d 10.96.100.10/32 -p tcp -m comment --comment "default/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SVC-WEB -m comment --comment "default/web:http -> 10.244.0.7:8080" -j KUBE-SEP-ONE
-A KUBE-SEP-ONE -p tcp -m comment --comment "default/web:http" -m tcp -j DNAT --to-destination 10.244.0.7:8080
COMMIT
)";
  World world = node_and_pod();
  world.services = std::make_shared<const Services>(services_of_save(kEndpoint));
  const std::vector<Pod> pods = {pod("web-0", endpoint, 77)};
  world.workloads = pod_is_gone ? workloads_of({}, pods) : workloads_of(pods);
  const auto record = RecordBuilder{}.packet(syn()).conntrack(
      tuple("10.244.0.5", 40112, "10.96.100.10", 80), tuple(endpoint, 8080, "10.244.0.5", 40112));
  return enrich(decode_drop(record.bytes()).value(), world, kernel_names(), {});
}

TEST_CASE("an endpoint that the rules do not name any more is conntrack's, if its pod is gone") {
  const Drop stale = led_to("10.244.0.6", true);
  REQUIRE(stale.cause);
  CHECK(stale.cause->id == "stale-conntrack");
  CHECK(stale.cause->explanation.find("10.244.0.6:8080 of data/web-0") != std::string::npos);
  CHECK(stale.cause->advice == "in the node: conntrack -D -p tcp --orig-dst 10.96.100.10");
  // The rules may be behind: the pod may be a new endpoint.
  CHECK_FALSE(led_to("10.244.0.6", false).cause);
  CHECK_FALSE(led_to("10.244.0.7", true).cause);
}

TEST_CASE("JSON has the service and the names, or nothing") {
  const std::string line = JsonSink().drop(with_services(dial("10.244.0.5", "10.96.12.7", 8181)));
  CHECK(json_field(line, "service") == "data/iceberg:http");
  CHECK(json_field(line, "dst_name") == "s/data/iceberg");
  CHECK_FALSE(json_field(line, "src_name"));
  const std::string bare = JsonSink().drop(enriched(dial("10.244.0.5", "10.96.12.7", 8181)));
  CHECK_FALSE(json_field(bare, "service"));
}

}  // namespace
}  // namespace droptrace
