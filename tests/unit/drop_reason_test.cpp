// SPDX-License-Identifier: GPL-2.0-only
#include "core/drop_reason.h"

#include <cstdint>
#include <optional>
#include <vector>

#include <doctest/doctest.h>

namespace droptrace {
namespace {

constexpr std::uint32_t kMac80211 = 1 << 16;
constexpr std::uint32_t kMac80211Monitor = 2 << 16;
constexpr std::uint32_t kOpenvswitch = 3 << 16;

KernelEnum core() {
  return {"skb_drop_reason",
          {{"SKB_NOT_DROPPED_YET", 0},
           {"SKB_CONSUMED", 1},
           {"SKB_DROP_REASON_NOT_SPECIFIED", 2},
           {"SKB_DROP_REASON_NETFILTER_DROP", 11},
           {"SKB_DROP_REASON_MAX", 120},
           {"SKB_DROP_REASON_SUBSYS_MASK", 0xffff0000}}};
}

KernelEnum subsystems() {
  return {"skb_drop_reason_subsys",
          {{"SKB_DROP_REASON_SUBSYS_CORE", 0},
           {"SKB_DROP_REASON_SUBSYS_MAC80211_UNUSABLE", 1},
           {"SKB_DROP_REASON_SUBSYS_MAC80211_MONITOR", 2},
           {"SKB_DROP_REASON_SUBSYS_OPENVSWITCH", 3},
           {"SKB_DROP_REASON_SUBSYS_NUM", 4}}};
}

KernelEnum openvswitch() {
  return {"ovs_drop_reason",
          {{"__OVS_DROP_REASON", kOpenvswitch},
           {"OVS_DROP_LAST_ACTION", kOpenvswitch + 1},
           {"OVS_DROP_ACTION_ERROR", kOpenvswitch + 2},
           {"OVS_DROP_MAX", kOpenvswitch + 3}}};
}

TEST_CASE("core reasons are named without their prefix") {
  const DropReasons reasons({core()});
  CHECK(reasons.name(2) == "NOT_SPECIFIED");
  CHECK(reasons.name(11) == "NETFILTER_DROP");
}

TEST_CASE("core reasons that have no prefix keep their name") {
  const DropReasons reasons({core()});
  CHECK(reasons.name(0) == "SKB_NOT_DROPPED_YET");
  CHECK(reasons.name(1) == "SKB_CONSUMED");
}

TEST_CASE("a reason without a name is its number") {
  const DropReasons reasons({core(), subsystems()});
  CHECK(reasons.name(77) == "77");
  CHECK(reasons.name(7 << 16 | 1) == "458753");
}

TEST_CASE("the end of the enum and its mask are no reasons") {
  const DropReasons reasons({core(), subsystems(), openvswitch()});
  CHECK(reasons.name(120) == "120");
  CHECK(reasons.name(0xffff0000) == "4294901760");
  CHECK(reasons.value("MAX") == std::nullopt);
  CHECK(reasons.value("SUBSYS_MASK") == std::nullopt);
  CHECK(reasons.name(kOpenvswitch + 3) == "OPENVSWITCH/3");
}

TEST_CASE("a core reason's number is found by its name") {
  const DropReasons reasons({core()});
  CHECK(reasons.value("NETFILTER_DROP") == 11);
  CHECK(reasons.value("SKB_CONSUMED") == 1);
  CHECK(reasons.value("NO_SUCH_REASON") == std::nullopt);
}

TEST_CASE("a subsystem's reasons carry its name, in whatever order the enums come") {
  const std::vector<KernelEnum> orders[] = {{core(), subsystems(), openvswitch()},
                                            {openvswitch(), subsystems(), core()}};
  for (const auto& enums : orders) {
    const DropReasons reasons(enums);
    CHECK(reasons.name(kOpenvswitch + 2) == "OPENVSWITCH/OVS_DROP_ACTION_ERROR");
    CHECK(reasons.name(11) == "NETFILTER_DROP");
  }
}

TEST_CASE("a subsystem's reason without a name is a number in the subsystem") {
  const DropReasons without_enum({core(), subsystems()});
  CHECK(without_enum.name(kOpenvswitch + 2) == "OPENVSWITCH/2");
  const DropReasons with_enum({core(), subsystems(), openvswitch()});
  CHECK(with_enum.name(kOpenvswitch + 77) == "OPENVSWITCH/77");
}

TEST_CASE("one enum may hold reasons of two subsystems and of the core") {
  const KernelEnum mac80211{"mac80211_drop_reason",
                            {{"RX_CONTINUE", 1},
                             {"RX_QUEUED", 0},
                             {"RX_DROP_MONITOR", kMac80211Monitor},
                             {"RX_DROP_U_MIC_FAIL", kMac80211 + 1}}};
  const DropReasons reasons({core(), subsystems(), mac80211});
  CHECK(reasons.name(kMac80211Monitor) == "MAC80211_MONITOR/RX_DROP_MONITOR");
  CHECK(reasons.name(kMac80211 + 1) == "MAC80211_UNUSABLE/RX_DROP_U_MIC_FAIL");
  CHECK(reasons.name(0) == "SKB_NOT_DROPPED_YET");
  CHECK(reasons.name(1) == "SKB_CONSUMED");
}

TEST_CASE("leading underscores are no part of a reason's name") {
  const KernelEnum inner{"___mac80211_drop_reason", {{"___RX_DROP_U_REPLAY", kMac80211 + 2}}};
  CHECK(DropReasons({subsystems(), inner}).name(kMac80211 + 2) ==
        "MAC80211_UNUSABLE/RX_DROP_U_REPLAY");
}

TEST_CASE("an enum with a value of no known subsystem is ignored") {
  const KernelEnum flags{"some_flags", {{"FLAG_A", 1}, {"FLAG_B", 1 << 16}, {"FLAG_C", 1 << 24}}};
  const DropReasons reasons({core(), subsystems(), flags});
  CHECK(reasons.name(1 << 16) == "MAC80211_UNUSABLE/0");
  CHECK(reasons.name(1 << 24) == "16777216");
}

TEST_CASE("a kernel without reasons has only numbers") {
  CHECK(DropReasons().empty());
  CHECK(DropReasons(std::vector<KernelEnum>{}).empty());
  CHECK(DropReasons().name(11) == "11");
  CHECK(DropReasons().value("NETFILTER_DROP") == std::nullopt);
  CHECK_FALSE(DropReasons({core()}).empty());
}

}  // namespace
}  // namespace droptrace
