// SPDX-License-Identifier: GPL-2.0-only
#include "core/pod_files.h"

#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

namespace droptrace {
namespace {

// What tests/data/pods/write.py says of its pod.
constexpr std::string_view kUid = "6f0c9a34-3a56-4d7e-9a53-0d7a1d3c5e11";
constexpr std::string_view kMount = "cni-7a1f6c9e-2b0d-4f0a-9c64-1f5f4f0f7b11";
const std::string kSandbox = "0b1f0b1f0b1f0b1f0b1f0b1f0b1f0b1f0b1f0b1f0b1f0b1f0b1f0b1f0b1f0b1f";

Address address(std::string_view text) { return parse_address(text).value(); }

std::string state_file(const std::string& name) {
  std::ifstream file(DROPTRACE_TEST_DATA "/pods/" + name + ".json", std::ios::binary);
  REQUIRE_MESSAGE(file.is_open(), "cannot read tests/data/pods/" << name);
  return {std::istreambuf_iterator<char>(file), {}};
}

Pod attachment(std::string sandbox_id, std::string name, std::string_view ip, std::string mount) {
  Pod pod;
  pod.space = "data";
  pod.name = std::move(name);
  pod.sandbox_id = std::move(sandbox_id);
  pod.addresses = {address(ip)};
  pod.netns_mount = std::move(mount);
  return pod;
}

std::string cache_of(std::string_view name) {
  return fmt::format(
      R"({{"kind":"cniCacheV1","containerId":"s","ifName":"eth0","networkName":"kindnet",)"
      R"("cniArgs":[["K8S_POD_NAMESPACE","data"],["K8S_POD_NAME","{}"]]}})",
      name);
}

TEST_CASE("libcni's cache of any version names the pod, its address and its namespace") {
  for (const char* version : {"cni-0.3.1", "cni-0.4.0-bridge", "cni-1.0.0"}) {
    INFO(version);
    const auto pod = pod_from_cni_cache(state_file(version));
    REQUIRE(pod);
    CHECK(pod->space == "data-platform");
    CHECK(pod->name == "iceberg-0");
    CHECK(pod->uid == kUid);
    CHECK(pod->sandbox_id == kSandbox);
    CHECK(pod->addresses.contains(address("10.244.0.6")));
    CHECK(pod->host_veth == "vethb2b2b2b2");
    CHECK(pod->netns_mount == kMount);
  }
}

TEST_CASE("a dual-stack result has both addresses") {
  const auto pod = pod_from_cni_cache(state_file("cni-1.0.0"));
  REQUIRE(pod);
  CHECK(pod->addresses == std::set{address("10.244.0.6"), address("fd00:10:244::6")});
}

TEST_CASE("a result of CNI 0.2.0 has an address and no interfaces") {
  const auto pod = pod_from_cni_cache(state_file("cni-0.2.0"));
  REQUIRE(pod);
  CHECK(pod->name == "iceberg-0");
  CHECK(pod->addresses == std::set{address("10.244.0.6")});
  CHECK(pod->host_veth.empty());
  CHECK(pod->netns_mount.empty());
}

TEST_CASE("host ports are read in either spelling, impossible ones are not") {
  const auto pod = pod_from_cni_cache(state_file("cni-0.3.1"));
  REQUIRE(pod);
  CHECK(pod->host_ports == std::vector<PortMapping>{{8443, 8181, "tcp", {}},
                                                    {53, 5353, "udp", address("172.18.0.2")}});
}

TEST_CASE("loopback attachments and those of no pod are passed over") {
  CHECK(pod_from_cni_cache(cache_of("web")));
  CHECK_FALSE(pod_from_cni_cache(
      R"({"kind":"cniCacheV1","containerId":"s","ifName":"lo","networkName":"cni-loopback",)"
      R"("cniArgs":[["K8S_POD_NAMESPACE","data"],["K8S_POD_NAME","web"]]})"));
  CHECK_FALSE(pod_from_cni_cache(
      R"({"kind":"cniCacheV1","containerId":"s","ifName":"eth0","networkName":"podman"})"));
  CHECK_FALSE(
      pod_from_cni_cache(R"({"cniVersion":"0.2.0","ip4":{"ip":"10.244.0.6/24"},"dns":{}})"));
}

TEST_CASE("malformed caches are refused, odd members passed over") {
  const std::string deep(100'000, '[');
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"), deep,
        std::string(R"({"kind":"cniCacheV1","cniArgs":)") + deep,
        std::string("{\"kind\":\"\xff\"}"), std::string(R"({"kind":7,"cniArgs":{"a":[]}})")}) {
    CHECK_FALSE(pod_from_cni_cache(text));
  }
  const auto pod = pod_from_cni_cache(
      R"({"kind":"cniCacheV1","containerId":"s","ifName":7,"cniArgs":[7,["K8S_POD_NAME"],)"
      R"(["K8S_POD_NAME","web"],["K8S_POD_NAMESPACE","data"]],"result":{"ips":[7,{"address":[]},)"
      R"({"address":"10.244.0.6.9/24"}],"interfaces":{"name":"x"}},"capabilityArgs":[]})");
  REQUIRE(pod);
  CHECK(pod->name == "web");
  CHECK(pod->addresses.empty());
}

TEST_CASE("a name that no pod can have is none") {
  CHECK(pod_from_cni_cache(cache_of(std::string(253, 'x'))));
  CHECK_FALSE(pod_from_cni_cache(cache_of(std::string(254, 'x'))));
  CHECK_FALSE(pod_from_cni_cache(cache_of("a/b")));
  CHECK_FALSE(pod_from_cni_cache(cache_of("")));
}

TEST_CASE("containerd's sandbox names pod and namespace in each of its layouts") {
  for (const char* version :
       {"containerd-1.6-sandbox", "containerd-1.7-sandbox", "containerd-2.1-sandbox"}) {
    INFO(version);
    const auto facts = container_from_config(state_file(version));
    REQUIRE(facts);
    CHECK(facts->is_sandbox);
    CHECK(facts->sandbox_id == kSandbox);
    CHECK(facts->space == "data-platform");
    CHECK(facts->name == "iceberg-0");
    CHECK(facts->netns_mount == kMount);
  }
  CHECK(container_from_config(state_file("containerd-1.6-sandbox"))->uid.empty());
  CHECK(container_from_config(state_file("containerd-1.7-sandbox"))->uid == kUid);
}

TEST_CASE("a container and a pod on the node's network have no namespace of their own") {
  const auto container = container_from_config(state_file("containerd-1.7-container"));
  REQUIRE(container);
  CHECK_FALSE(container->is_sandbox);
  CHECK(container->sandbox_id == kSandbox);
  CHECK(container->netns_mount.empty());
  const auto sandbox = container_from_config(state_file("containerd-1.7-host-network"));
  REQUIRE(sandbox);
  CHECK(sandbox->netns_mount.empty());
}

TEST_CASE("a bundle that is not of Kubernetes is passed over") {
  for (const char* text : {"", "{}", R"({"annotations":{"nerdctl/name":"x"}})",
                           R"({"annotations":{"io.kubernetes.cri.container-type":"sandbox"}})"}) {
    CHECK_FALSE(container_from_config(text));
  }
}

TEST_CASE("a lease names the sandbox, with or without the interface") {
  CHECK(sandbox_from_lease("abc\r\neth0") == "abc");
  CHECK(sandbox_from_lease("abc") == "abc");
  CHECK(sandbox_from_lease("abc\n") == "abc");
  CHECK_FALSE(sandbox_from_lease(""));
  CHECK_FALSE(sandbox_from_lease("\r\neth0"));
}

TEST_CASE("a log directory is named after namespace, pod and uid") {
  CHECK(pod_from_log_directory("data_web-0_6f0c") == PodLogs{"data", "web-0", "6f0c"});
  for (const char* name : {"", "data_web-0", "data_web-0_", "_web-0_6f0c", "data_web_0_6f0c"}) {
    INFO(name);
    CHECK_FALSE(pod_from_log_directory(name));
  }
}

TEST_CASE("a pod whose namespace is not mounted is of an earlier run of the node") {
  PodFiles files;
  files.attachments = {attachment("old", "web-0", "10.244.0.5", "cni-old"),
                       attachment("new", "web-1", "10.244.0.5", "cni-new")};
  const std::vector<Pod> pods = live_pods(files, {{"cni-new", 4711}});
  REQUIRE(pods.size() == 1);
  CHECK(pods[0].name == "web-1");
  CHECK(pods[0].netns == 4711);
}

TEST_CASE("containerd alone is enough to name a pod, and a lease gives it its address") {
  PodFiles files;
  files.containers["s"] = {true, "s", "data", "web-0", "6f0c", "cni-a"};
  files.containers["c"] = {false, "s", "data", "web-0", "", ""};
  files.leases[address("10.244.0.5")] = "s";
  const std::vector<Pod> pods = live_pods(files, {{"cni-a", 4711}});
  REQUIRE(pods.size() == 1);
  CHECK(pods[0].space == "data");
  CHECK(pods[0].name == "web-0");
  CHECK(pods[0].addresses == std::set{address("10.244.0.5")});
  CHECK(pods[0].containers == std::set<std::string>{"c"});
}

TEST_CASE("an address belongs to the sandbox that holds its lease") {
  PodFiles files;
  files.attachments = {attachment("a", "web-0", "10.244.0.5", "cni-a"),
                       attachment("b", "web-1", "10.244.0.5", "cni-b")};
  files.leases[address("10.244.0.5")] = "b";
  const std::vector<Pod> pods = live_pods(files, {{"cni-a", 1}, {"cni-b", 2}});
  REQUIRE(pods.size() == 2);
  CHECK(pods[0].addresses.empty());
  CHECK(pods[1].addresses == std::set{address("10.244.0.5")});
}

TEST_CASE("a pod on two networks is one pod with the addresses of both") {
  PodFiles files;
  files.attachments = {attachment("a", "web-0", "10.244.0.5", "cni-a"),
                       attachment("a", "web-0", "192.0.2.5", "cni-a")};
  const std::vector<Pod> pods = live_pods(files, {{"cni-a", 1}});
  REQUIRE(pods.size() == 1);
  CHECK(pods[0].addresses == std::set{address("10.244.0.5"), address("192.0.2.5")});
}

TEST_CASE("the logs tell a pod's name where only its uid is known") {
  PodFiles files;
  Pod pod = attachment("a", "", "10.244.0.5", "cni-a");
  pod.space.clear();
  pod.uid = "6f0c";
  files.attachments = {pod};
  CHECK(live_pods(files, {{"cni-a", 1}}).empty());
  files.logs = {{"data", "web-0", "6f0c"}};
  const std::vector<Pod> pods = live_pods(files, {{"cni-a", 1}});
  REQUIRE(pods.size() == 1);
  CHECK(pods[0].name == "web-0");
}

}  // namespace
}  // namespace droptrace
