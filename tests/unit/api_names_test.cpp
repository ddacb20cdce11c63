// SPDX-License-Identifier: GPL-2.0-only
#include "core/api_names.h"

#include <string_view>

#include <doctest/doctest.h>

using namespace droptrace;

namespace {

Address address(std::string_view text) { return parse_address(text).value(); }

}  // namespace

TEST_CASE("a pod of another node has the name and the node that the API server tells") {
  ApiNames names;
  names.add_pod("10.244.1.6 data web-0 worker");
  names.add_pod("fd00:10:244:1::6 data web-0 worker");
  for (const char* const ip : {"10.244.1.6", "fd00:10:244:1::6"}) {
    const ApiNames::Pod* const pod = names.pod(address(ip));
    REQUIRE(pod);
    CHECK(pod->space == "data");
    CHECK(pod->name == "web-0");
    CHECK(pod->node == "worker");
  }
  CHECK(names.pod(address("10.244.1.7")) == nullptr);
}

TEST_CASE("a line that names no pod is passed over") {
  ApiNames names;
  for (const char* const line :
       {"", " ", "10.244.1.6", "10.244.1.6 data web-0", "10.244.1.6  web-0 worker",
        "10.244.1.6 data web-0 <no value>", "<none> data web-0 worker", "10.244.1.6 data web-0 "}) {
    CAPTURE(line);
    names.add_pod(line);
    CHECK(names.pod(address("10.244.1.6")) == nullptr);
  }
}

TEST_CASE("a headless service is named if it is the only one of the address") {
  ApiNames names;
  names.add_headless("10.244.1.6 data db");
  names.add_headless("10.244.1.6 data db");
  names.add_headless("10.244.1.7 data db");
  names.add_headless("10.244.1.7 data other");
  names.add_headless("10.244.1.8 data");
  CHECK(names.headless(address("10.244.1.6")) == "data/db");
  CHECK_FALSE(names.headless(address("10.244.1.7")).has_value());
  CHECK_FALSE(names.headless(address("10.244.1.8")).has_value());
}
