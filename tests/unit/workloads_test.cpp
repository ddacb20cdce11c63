// SPDX-License-Identifier: GPL-2.0-only
#include "core/workloads.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/support/pods.h"

namespace droptrace {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

TEST_CASE("a pod is found by address, namespace and veth") {
  Workloads workloads;
  CHECK(workloads.update({pod("web-0", "10.244.0.5", 11), pod("web-1", "10.244.0.6", 12)}, 0));
  REQUIRE(workloads.with_address(address_of("10.244.0.6")).size() == 1);
  CHECK(workloads.with_address(address_of("10.244.0.6"))[0]->name == "web-1");
  REQUIRE(workloads.in_netns(11));
  CHECK(workloads.in_netns(11)->name == "web-0");
  REQUIRE(workloads.behind("veth-web-1"));
  CHECK(workloads.behind("veth-web-1")->name == "web-1");
  CHECK(workloads.with_address(address_of("10.244.0.7")).empty());
  CHECK(workloads.in_netns(13) == nullptr);
  CHECK(workloads.behind("") == nullptr);
}

TEST_CASE("the same pods again are no change") {
  Workloads workloads;
  CHECK(workloads.update({pod("a", "10.244.0.5", 1), pod("b", "10.244.0.6", 2)}, 0));
  CHECK_FALSE(workloads.update({pod("b", "10.244.0.6", 2), pod("a", "10.244.0.5", 1)}, kSecond));
}

TEST_CASE("a pod that is deleted is remembered as gone, for minutes") {
  Workloads workloads;
  workloads.update({pod("web-0", "10.244.0.5", 11)}, 0);
  CHECK(workloads.update({}, kSecond));
  const std::vector<const Pod*> found = workloads.with_address(address_of("10.244.0.5"));
  REQUIRE(found.size() == 1);
  CHECK(found[0]->gone);
  CHECK_FALSE(workloads.update({}, 599 * kSecond));
  CHECK(workloads.update({}, 601 * kSecond));
  CHECK(workloads.pods().empty());
}

TEST_CASE("of the pods with an address those that live come first, then the last that went") {
  Workloads workloads;
  workloads.update({pod("first", "10.244.0.5", 1)}, 0);
  workloads.update({pod("second", "10.244.0.5", 2)}, 1 * kSecond);
  workloads.update({}, 2 * kSecond);
  REQUIRE(workloads.with_address(address_of("10.244.0.5")).size() == 2);
  CHECK(workloads.with_address(address_of("10.244.0.5"))[0]->name == "second");
  workloads.update({pod("third", "10.244.0.5", 3)}, 3 * kSecond);
  REQUIRE(workloads.with_address(address_of("10.244.0.5")).size() == 3);
  CHECK(workloads.with_address(address_of("10.244.0.5"))[0]->name == "third");
}

TEST_CASE("a namespace's number goes to the pod that lives") {
  Workloads workloads;
  workloads.update({pod("old", "10.244.0.5", 11)}, 0);
  workloads.update({pod("new", "10.244.0.6", 11)}, kSecond);
  REQUIRE(workloads.in_netns(11));
  CHECK(workloads.in_netns(11)->name == "new");
}

TEST_CASE("a pod created again under its name is another one") {
  Workloads workloads;
  Pod second = pod("web-0", "10.244.0.9", 12);
  second.sandbox_id = "another";
  workloads.update({pod("web-0", "10.244.0.5", 11)}, 0);
  workloads.update({second}, kSecond);
  REQUIRE(workloads.with_address(address_of("10.244.0.9")).size() == 1);
  CHECK_FALSE(workloads.with_address(address_of("10.244.0.9"))[0]->gone);
  REQUIRE(workloads.with_address(address_of("10.244.0.5")).size() == 1);
  CHECK(workloads.with_address(address_of("10.244.0.5"))[0]->gone);
}

TEST_CASE("a pod whose addresses were taken back is gone, and keeps them") {
  Workloads workloads;
  Pod half_deleted = pod("web-0", "10.244.0.5", 11);
  half_deleted.addresses.clear();
  workloads.update({pod("web-0", "10.244.0.5", 11)}, 0);
  CHECK(workloads.update({half_deleted}, kSecond));
  CHECK_FALSE(workloads.update({half_deleted}, 2 * kSecond));
  CHECK_FALSE(workloads.update({}, 3 * kSecond));
  REQUIRE(workloads.with_address(address_of("10.244.0.5")).size() == 1);
  CHECK(workloads.with_address(address_of("10.244.0.5"))[0]->gone);
}

TEST_CASE("a pod that comes back lives again") {
  Workloads workloads;
  workloads.update({pod("web-0", "10.244.0.5", 11)}, 0);
  workloads.update({}, kSecond);
  workloads.update({pod("web-0", "10.244.0.5", 11)}, 2 * kSecond);
  REQUIRE(workloads.pods().size() == 1);
  CHECK_FALSE(workloads.pods()[0].gone);
}

TEST_CASE("no more than some thousand pods that are gone are remembered, the last ones") {
  Workloads workloads;
  for (std::uint32_t i = 0; i < 1100; ++i)
    workloads.update({pod("pod-" + std::to_string(i), "10.244.0.5", i)}, i);
  workloads.update({}, 2000);
  CHECK(workloads.pods().size() == 1024);
  CHECK(workloads.pods()[0].name == "pod-1099");
}

}  // namespace
}  // namespace droptrace
