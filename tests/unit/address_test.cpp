// SPDX-License-Identifier: GPL-2.0-only
#include "core/address.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace droptrace {
namespace {

using namespace std::string_view_literals;

Address address(std::string_view text) { return parse_address(text).value(); }
Cidr cidr(std::string_view text) { return parse_cidr(text).value(); }

TEST_CASE("raw bytes become an address only if there are 4 or 16 of them") {
  const std::array<std::uint8_t, 17> bytes{10, 244, 0, 5};
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    CAPTURE(size);
    const auto parsed = address_from_bytes(std::span(bytes).first(size));
    CHECK(parsed.has_value() == (size == 4 || size == 16));
  }
  CHECK(address_from_bytes(std::span(bytes).first(4)) == address("10.244.0.5"));
  CHECK(address_from_bytes(std::span(bytes).first(16)) == address("af4:5::"));
}

TEST_CASE("IPv4 addresses print as they were read") {
  for (const std::string text : {"0.0.0.0", "10.244.0.5", "127.0.0.1", "255.255.255.255"}) {
    CAPTURE(text);
    CHECK_FALSE(address(text).v6);
    CHECK(to_string(address(text)) == text);
  }
}

TEST_CASE("IPv6 addresses print as RFC 5952 wants them") {
  struct {
    std::string written, canonical;
  } const cases[] = {
      {"0:0:0:0:0:0:0:0", "::"},
      {"::1", "::1"},
      {"FD00:10:96::A", "fd00:10:96::a"},
      {"2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"},  // the first of equal runs
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},                           // the longest run
      {"2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},                   // never a single field
      {"fd00:0:0:0:0:0:0:0", "fd00::"},
      {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
      {"::ffff:a00:1", "::ffff:10.0.0.1"},
      {"64:ff9b::10.0.0.1", "64:ff9b::a00:1"},
  };
  for (const auto& test : cases) {
    CAPTURE(test.written);
    CHECK(address(test.written).v6);
    CHECK(to_string(address(test.written)) == test.canonical);
  }
}

TEST_CASE("text that is not an address is refused") {
  for (const std::string_view text : {""sv,
                                      " "sv,
                                      "10"sv,
                                      "10.0.0"sv,
                                      "10.0.0.256"sv,
                                      "10.0.0.1.2"sv,
                                      "10.0.0.01"sv,
                                      "10.0.0.1 "sv,
                                      " 10.0.0.1"sv,
                                      "10.0.0.1\0"sv,
                                      "10.0.0.1/8"sv,
                                      "10.0.0.1:80"sv,
                                      ":"sv,
                                      ":::"sv,
                                      "1::2::3"sv,
                                      "1:2:3:4:5:6:7"sv,
                                      "1:2:3:4:5:6:7:8:9"sv,
                                      "fd00::12345"sv,
                                      "fd00::g"sv,
                                      "[fd00::1]"sv,
                                      "fe80::1%eth0"sv,
                                      "localhost"sv}) {
    CAPTURE(text);
    CHECK_FALSE(parse_address(text).has_value());
  }
}

TEST_CASE("loopback is 127.0.0.0/8 and ::1") {
  CHECK(is_loopback(address("127.0.0.1")));
  CHECK(is_loopback(address("127.255.255.255")));
  CHECK(is_loopback(address("::1")));
  CHECK_FALSE(is_loopback(address("126.255.255.255")));
  CHECK_FALSE(is_loopback(address("128.0.0.1")));
  CHECK_FALSE(is_loopback(address("::")));
  CHECK_FALSE(is_loopback(address("::1:1")));
  CHECK_FALSE(is_loopback(address("7f00::1")));
}

TEST_CASE("a CIDR holds its first and last address and neither neighbour") {
  struct {
    std::string_view cidr, before, first, last, after;
  } const cases[] = {
      {"10.96.0.0/12", "10.95.255.255", "10.96.0.0", "10.111.255.255", "10.112.0.0"},
      {"10.244.0.0/16", "10.243.255.255", "10.244.0.0", "10.244.255.255", "10.245.0.0"},
      {"10.0.0.4/31", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"},
      {"10.0.0.5/32", "10.0.0.4", "10.0.0.5", "10.0.0.5", "10.0.0.6"},
      {"fd00:10:96::/112", "fd00:10:95:ffff:ffff:ffff:ffff:ffff",
       "fd00:10:96::", "fd00:10:96::ffff", "fd00:10:96::1:0"},
      {"fd00:8000::/17", "fd00:7fff::", "fd00:8000::", "fd00:ffff:ffff::", "fd01::"},
      {"fd00::1/128", "fd00::", "fd00::1", "fd00::1", "fd00::2"},
  };
  for (const auto& test : cases) {
    CAPTURE(test.cidr);
    CHECK_FALSE(cidr(test.cidr).contains(address(test.before)));
    CHECK(cidr(test.cidr).contains(address(test.first)));
    CHECK(cidr(test.cidr).contains(address(test.last)));
    CHECK_FALSE(cidr(test.cidr).contains(address(test.after)));
  }
}

TEST_CASE("prefix length 0 holds every address of its own family and none of the other") {
  CHECK(cidr("0.0.0.0/0").contains(address("0.0.0.0")));
  CHECK(cidr("0.0.0.0/0").contains(address("255.255.255.255")));
  CHECK_FALSE(cidr("0.0.0.0/0").contains(address("::")));
  CHECK(cidr("::/0").contains(address("::")));
  CHECK(cidr("::/0").contains(address("ffff::1")));
  CHECK_FALSE(cidr("::/0").contains(address("0.0.0.0")));
}

TEST_CASE("families never mix, even where the bytes are the same") {
  CHECK_FALSE(cidr("a00::/8").contains(address("10.0.0.1")));
  CHECK_FALSE(cidr("10.0.0.0/8").contains(address("a00::1")));
  CHECK_FALSE(cidr("::ffff:10.0.0.0/104").contains(address("10.0.0.1")));
}

TEST_CASE("host bits of a CIDR are cleared") {
  CHECK(to_string(cidr("10.96.13.7/12")) == "10.96.0.0/12");
  CHECK(to_string(cidr("10.244.0.255/25")) == "10.244.0.128/25");
  CHECK(to_string(cidr("10.0.0.5/0")) == "0.0.0.0/0");
  CHECK(to_string(cidr("10.0.0.5/32")) == "10.0.0.5/32");
  CHECK(to_string(cidr("fd00:10:96::abcd/112")) == "fd00:10:96::/112");
  CHECK(to_string(cidr("fd00::1/0")) == "::/0");
  CHECK(to_string(cidr("fd00::1/128")) == "fd00::1/128");
  CHECK(cidr("10.96.13.7/12") == cidr("10.96.0.0/12"));
}

TEST_CASE("malformed CIDRs are refused") {
  for (const std::string_view text :
       {"", "/", "10.0.0.0", "10.0.0.0/", "/8", "10.0.0.0/33", "10.0.0.0/256", "10.0.0.0/-1",
        "10.0.0.0/+8", "10.0.0.0/8 ", "10.0.0.0/ 8", "10.0.0.0/8/8", "10.0.0.0/8x", "10.0.0/8",
        "10.0.0.0/255.0.0.0", "fd00::/129", "fd00::/", "fd00::"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_cidr(text).has_value());
  }
}

TEST_CASE("a list of CIDRs keeps its order and may have blanks around the commas") {
  const std::vector<Cidr> dual_stack{cidr("10.96.0.0/12"), cidr("fd00:10:96::/112")};
  CHECK(parse_cidr_list("10.96.0.0/12,fd00:10:96::/112") == dual_stack);
  CHECK(parse_cidr_list(" 10.96.0.0/12 ,\tfd00:10:96::/112\r\n") == dual_stack);
  CHECK(parse_cidr_list("10.96.0.0/12") == std::vector<Cidr>{cidr("10.96.0.0/12")});
}

TEST_CASE("a list with any malformed or empty part is refused") {
  for (const std::string_view text :
       {"", " ", ",", "10.96.0.0/12,", ",10.96.0.0/12", "10.96.0.0/12,,fd00::/64",
        "10.96.0.0/12,fd00::/129", "10.96.0.0/12 fd00::/64", "10.96.0.0/12;fd00::/64"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_cidr_list(text).has_value());
  }
}

TEST_CASE("an endpoint prints its port, an IPv6 one in brackets") {
  CHECK(to_string(Endpoint{address("10.0.0.1"), 80}) == "10.0.0.1:80");
  CHECK(to_string(Endpoint{address("10.0.0.1"), 0}) == "10.0.0.1:0");
  CHECK(to_string(Endpoint{address("fd00::1"), 65535}) == "[fd00::1]:65535");
  CHECK(to_string(Endpoint{address("10.0.0.1"), {}}) == "10.0.0.1");
  CHECK(to_string(Endpoint{address("fd00::1"), {}}) == "fd00::1");
}

TEST_CASE("a reversed tuple swaps its ends and keeps its protocol") {
  const Endpoint client{address("10.244.0.5"), 40112};
  const Endpoint server{address("10.96.0.10"), 80};
  CHECK(Tuple{client, server, 6}.reversed() == Tuple{server, client, 6});
  CHECK(Tuple{client, server, 6} != Tuple{client, server, 17});
}

}  // namespace
}  // namespace droptrace
