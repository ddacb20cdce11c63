// SPDX-License-Identifier: GPL-2.0-only
#include "core/world.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>

#include "tests/support/pods.h"

namespace droptrace {
namespace {

constexpr std::uint32_t kNode = 4026531840;
constexpr std::uint32_t kPod = 4026532700;
constexpr std::uint32_t kOther = 4026532800;

Address address(std::string_view text) { return parse_address(text).value(); }
Cidr cidr(std::string_view text) { return parse_cidr(text).value(); }

Link veth(std::string name, std::uint32_t peer, std::optional<std::uint32_t> peer_netns) {
  return {std::move(name), "veth", Peer{peer, peer_netns}};
}

Netns netns(std::uint32_t inum, std::string where, std::set<Address> addresses) {
  Netns netns;
  netns.inum = inum;
  netns.where = std::move(where);
  netns.addresses = std::move(addresses);
  return netns;
}

void add(World& world, Netns netns) {
  const std::uint32_t inum = netns.inum;
  world.namespaces[inum] = std::make_shared<const Netns>(std::move(netns));
}

// A node and one pod, joined by a veth.
World node_and_pod() {
  World world;
  world.own_netns = kNode;
  world.service_cidrs.cidrs = {cidr("10.96.0.0/12"), cidr("fd00:10:96::/112")};
  world.pod_cidrs.cidrs = {cidr("10.244.0.0/16"), cidr("fd00:10:244::/56")};

  Netns node = netns(kNode, "node", {address("172.18.0.2"), address("10.244.0.1")});
  node.links[2] = veth("eth0", 31, std::nullopt);
  node.links[3] = {"dummy0", "dummy", std::nullopt};
  node.links[7] = veth("vetha1", 2, kPod);
  node.links[8] = veth("vethb2", 2, kOther);
  add(world, std::move(node));

  Netns pod = netns(kPod, "netns:podA", {address("10.244.0.5")});
  pod.links[2] = veth("eth0", 7, kNode);
  add(world, std::move(pod));
  return world;
}

TEST_CASE("a namespace is named in words, an unknown one by its number") {
  const World world = node_and_pod();
  CHECK(world.where(kNode) == "node");
  CHECK(world.where(kPod) == "netns:podA");
  CHECK(world.where(kOther) == "netns:4026532800");
}

TEST_CASE("links are looked up by namespace and index") {
  const World world = node_and_pod();
  REQUIRE(world.link(kPod, 2));
  CHECK(world.link(kPod, 2)->name == "eth0");
  CHECK(world.link(kPod, 7) == nullptr);
  CHECK(world.link(kOther, 2) == nullptr);
  CHECK(world.netns(kOther) == nullptr);
}

TEST_CASE("each end of a veth names the other") {
  const World world = node_and_pod();
  CHECK(world.peer(kNode, 7) == "netns:podA/eth0");
  CHECK(world.peer(kPod, 2) == "node/vetha1");
}

TEST_CASE("a peer that is not known has no name") {
  const World world = node_and_pod();
  CHECK_FALSE(world.peer(kNode, 2).has_value());   // its namespace has no number here
  CHECK_FALSE(world.peer(kNode, 8).has_value());   // its namespace was never seen
  CHECK_FALSE(world.peer(kNode, 3).has_value());   // no veth
  CHECK_FALSE(world.peer(kNode, 99).has_value());  // no such link
}

TEST_CASE("an address is owned by the one namespace that has it") {
  World world = node_and_pod();
  REQUIRE(world.owner(address("10.244.0.5")));
  CHECK(world.owner(address("10.244.0.5"))->inum == kPod);
  CHECK(world.owner(address("10.96.0.10")) == nullptr);

  add(world, netns(kOther, "netns:podB", {address("10.244.0.5")}));
  CHECK(world.owner(address("10.244.0.5")) == nullptr);
}

TEST_CASE("a namespace that is gone keeps its name and loses its addresses") {
  World world = node_and_pod();
  Netns old = netns(kOther, "netns:podB", {address("10.244.0.5"), address("10.244.0.6")});
  old.gone = true;
  add(world, std::move(old));
  CHECK(world.where(kOther) == "netns:podB");
  CHECK(world.owner(address("10.244.0.6")) == nullptr);
  REQUIRE(world.owner(address("10.244.0.5")));
  CHECK(world.owner(address("10.244.0.5"))->inum == kPod);
}

TEST_CASE("addresses are classified by the cluster's CIDRs and the node's own addresses") {
  const World world = node_and_pod();
  CHECK(world.classify(address("10.244.0.5")) == AddressClass::kPod);
  CHECK(world.classify(address("fd00:10:244::5")) == AddressClass::kPod);
  CHECK(world.classify(address("10.96.0.10")) == AddressClass::kService);
  CHECK(world.classify(address("fd00:10:96::a")) == AddressClass::kService);
  CHECK(world.classify(address("172.18.0.2")) == AddressClass::kNode);
  CHECK(world.classify(address("127.0.0.11")) == AddressClass::kLoopback);
  CHECK(world.classify(address("::1")) == AddressClass::kLoopback);
  CHECK(world.classify(address("172.18.0.3")) == AddressClass::kExternal);
}

TEST_CASE("the pods' gateway is the node although it is in the pod CIDR") {
  CHECK(node_and_pod().classify(address("10.244.0.1")) == AddressClass::kNode);
}

TEST_CASE("a service address that the node carries stays a service") {
  World world = node_and_pod();
  add(world, netns(kNode, "node", {address("10.96.0.10")}));
  CHECK(world.classify(address("10.96.0.10")) == AddressClass::kService);
}

TEST_CASE("a pod's namespace is called by the pod's name, at the other end of its veth too") {
  World world = node_and_pod();
  world.workloads = workloads_of({pod("web-0", "10.244.0.5", kPod)});
  CHECK(world.where(kPod) == "pod:data/web-0");
  CHECK(world.where(kNode) == "node");
  CHECK(world.peer(kNode, 7) == "pod:data/web-0/eth0");
}

TEST_CASE("a namespace keeps the name of its pod that is gone, until another has its number") {
  World world = node_and_pod();
  world.workloads = workloads_of({}, {pod("podA", "10.244.0.5", kPod)});
  CHECK(world.where(kPod) == "netns:podA");  // mounted as podA, which is not its pod's mount

  Netns old = netns(kPod, "netns:cni-podA", {address("10.244.0.5")});
  old.gone = true;
  add(world, old);
  CHECK(world.where(kPod) == "pod:data/podA");
  add(world, netns(kPod, "netns:cni-podB", {address("10.244.0.8")}));
  CHECK(world.where(kPod) == "netns:cni-podB");
}

TEST_CASE("an address is named after the pod that has it, or the node") {
  World world = node_and_pod();
  world.node_name = "kind-worker";
  world.workloads = workloads_of({pod("web-0", "10.244.0.5", kPod)});
  const auto text = [&world](std::string_view of) {
    const auto owner = world.who(address(of));
    return owner ? to_string(*owner) : "";
  };
  CHECK(text("10.244.0.5") == "p/data/web-0");
  CHECK(text("172.18.0.2") == "node/kind-worker");
  CHECK(text("10.244.0.1") == "node/kind-worker");
  CHECK(text("10.244.0.77").empty());
  CHECK(text("10.96.0.10").empty());
  CHECK(text("127.0.0.1").empty());
  CHECK(text("172.18.0.3").empty());
}

TEST_CASE("an address of a pod that is gone names it, unless another has the address") {
  World world = node_and_pod();
  const Pod old = pod("old", "10.244.0.6", kOther);
  world.workloads = workloads_of({pod("web-0", "10.244.0.5", kPod)}, {old});
  CHECK(world.who(address("10.244.0.6")) == Owner{Owner::Kind::kPod, "data", "old", true});

  world.workloads = workloads_of({pod("web-1", "10.244.0.6", kOther + 1)}, {old});
  CHECK(world.who(address("10.244.0.6")) == Owner{Owner::Kind::kPod, "data", "web-1", false});

  // A namespace that no file tells of yet has it.
  world.workloads = workloads_of({}, {old});
  add(world, netns(kOther, "netns:new", {address("10.244.0.6")}));
  CHECK_FALSE(world.who(address("10.244.0.6")).has_value());
}

TEST_CASE("of two pods with one address the one whose namespace has it is meant") {
  World world = node_and_pod();
  add(world, netns(kOther, "netns:cni-web-1", {}));
  world.workloads =
      workloads_of({pod("web-0", "10.244.0.5", kPod), pod("web-1", "10.244.0.5", kOther)});
  CHECK(world.who(address("10.244.0.5")) == Owner{Owner::Kind::kPod, "data", "web-0", false});

  add(world, netns(kOther, "netns:cni-web-1", {address("10.244.0.5")}));
  CHECK_FALSE(world.who(address("10.244.0.5")).has_value());
}

TEST_CASE("a pod whose interface lost its address is still who it was given to") {
  World world = node_and_pod();
  add(world, netns(kOther, "netns:cni-web-1", {}));
  world.workloads = workloads_of({pod("web-1", "10.244.0.6", kOther)});
  CHECK(world.who(address("10.244.0.6")) == Owner{Owner::Kind::kPod, "data", "web-1", false});
}

TEST_CASE("of pods the API server names those of other nodes, where the files name none") {
  World world = node_and_pod();
  world.node_name = "kind-worker";
  world.workloads = workloads_of({pod("web-0", "10.244.0.5", kPod)});
  ApiNames names;
  names.add_pod("10.244.0.5 stale other kind-worker2");
  names.add_pod("10.244.0.9 stale former kind-worker");
  names.add_pod("10.244.1.6 data far-0 kind-worker2");
  world.api = std::make_shared<const ApiNames>(names);
  CHECK(world.who(address("10.244.0.5")) == Owner{Owner::Kind::kPod, "data", "web-0"});
  CHECK_FALSE(world.who(address("10.244.0.9")).has_value());
  CHECK(world.who(address("10.244.1.6")) ==
        Owner{Owner::Kind::kPod, "data", "far-0", false, "kind-worker2"});
}

TEST_CASE("nobody has a name where names are not wanted") {
  const World world = node_and_pod();
  CHECK_FALSE(world.who(address("10.244.0.5")).has_value());
  CHECK_FALSE(world.who(address("172.18.0.2")).has_value());
}

TEST_CASE("a route tells which node the pods of an address are on") {
  World world = node_and_pod();
  Netns node = *world.netns(kNode);
  node.routes = {{cidr("10.244.0.0/16"), address("172.18.0.9")},
                 {cidr("10.244.1.0/24"), address("172.18.0.3")}};
  add(world, std::move(node));
  world.workloads = workloads_of({});
  CHECK(world.remote_node(address("10.244.1.6")) == address("172.18.0.3"));
  CHECK(world.remote_node(address("10.244.2.6")) == address("172.18.0.9"));
  CHECK_FALSE(world.remote_node(address("192.0.2.1")).has_value());
}

TEST_CASE("an empty world still answers") {
  const World world;
  CHECK(world.where(kNode) == "netns:4026531840");
  CHECK(world.classify(address("10.244.0.5")) == AddressClass::kExternal);
  CHECK_FALSE(world.peer(kNode, 2).has_value());
}

TEST_CASE("address classes are spelled as in the JSON schema") {
  CHECK(to_string(AddressClass::kPod) == "pod");
  CHECK(to_string(AddressClass::kService) == "service");
  CHECK(to_string(AddressClass::kNode) == "node");
  CHECK(to_string(AddressClass::kLoopback) == "loopback");
  CHECK(to_string(AddressClass::kExternal) == "external");
}

}  // namespace
}  // namespace droptrace
