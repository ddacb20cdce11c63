// SPDX-License-Identifier: GPL-2.0-only
#include <string>

#include <doctest/doctest.h>

#include "core/finding.h"
#include "sink/check_text.h"
#include "sink/json.h"

namespace droptrace {
namespace {

CheckReport report_with(Level level, std::string fact) {
  return {{"kernel", {{Level::kInfo, "release", "Linux 6.1", ""}}},
          {"node", {{level, "ip-forward", std::move(fact), "sysctl -w net.ipv4.ip_forward=1"}}}};
}

TEST_CASE("a report fails if one of its findings does") {
  CHECK(has_failures(report_with(Level::kFail, "off")));
  CHECK_FALSE(has_failures(report_with(Level::kWarn, "off")));
}

TEST_CASE("the report for people has a line for each finding and one for what mends it") {
  CHECK(check_text(report_with(Level::kFail, "it is off"), false) ==
        "kernel\n"
        "        release                Linux 6.1\n"
        "node\n"
        "  FAIL  ip-forward             it is off\n"
        "                               \u2192 sysctl -w net.ipv4.ip_forward=1\n");
}

TEST_CASE("a hostile name does not drive the terminal") {
  CHECK(check_text(report_with(Level::kOk, "\x1b[2J is down\n"), false)
            .find("\\x1b[2J is down\\x0a") != std::string::npos);
}

TEST_CASE("the report for programs is one object on one line") {
  CHECK(check_json(report_with(Level::kWarn, "\xff")) ==
        R"({"schema":1,"type":"check","sections":{"kernel":[{"level":"info","id":"release",)"
        R"("fact":"Linux 6.1"}],"node":[{"level":"warn","id":"ip-forward","fact":"\ufffd",)"
        R"("advice":"sysctl -w net.ipv4.ip_forward=1"}]}})"
        "\n");
}

}  // namespace
}  // namespace droptrace
