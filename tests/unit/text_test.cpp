// SPDX-License-Identifier: GPL-2.0-only
#include "sink/text.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "sink/flow.h"
#include "sink/style.h"
#include "tests/support/drop_builder.h"
#include "tests/support/golden.h"
#include "tests/support/sample_drops.h"

namespace droptrace {
namespace {

constexpr std::string_view kReset = "\x1b[0m";

std::string text_of(const Drop& drop, TextOptions options = {}) {
  return TextSink(options).drop(drop);
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::size_t columns(const std::string& line) {
  return static_cast<std::size_t>(
      std::ranges::count_if(line, [](char byte) { return (byte & 0xc0) != 0x80; }));
}

std::string without_styles(std::string text) {
  for (std::size_t start = 0; (start = text.find('\x1b', start)) != std::string::npos;) {
    text.erase(start, text.find('m', start) - start + 1);
  }
  return text;
}

DropBuilder udp() {
  return DropBuilder(PacketBuilder().ipv4("10.244.0.5", "10.244.0.6").udp(40112, 53));
}

TEST_CASE("drops and losses read as in the golden log") {
  TextSink sink({});
  std::string log;
  for (const Drop& drop : sample_drops()) log += sink.drop(drop);
  log += sink.lost(DropBuilder::kStartNs, {{"ring_buffer_full", 12}});
  check_golden("drops.txt", log);
}

// A rule is shown whole, on a line of its own if it does not fit.
bool is_rule(const std::string& line, const Drop& drop) {
  return drop.netfilter && drop.netfilter->rule &&
         line == std::string(14, ' ') + drop.netfilter->rule->text;
}

TEST_CASE("but for a rule no line of a drop is wider than 120 columns, and it has three at most") {
  for (const Drop& sample : sample_drops()) {
    Drop drop = sample;
    drop.stack.clear();
    const std::vector<std::string> lines = lines_of(text_of(drop));
    CHECK(lines.size() <= 3);
    for (const std::string& line : lines) {
      INFO(line);
      CHECK((columns(line) <= 120 || is_rule(line, drop)));
    }
  }
}

TEST_CASE("an IPv4 drop between pods with the names of a real node takes two lines") {
  CHECK(lines_of(text_of(policy_syn().build())).size() == 2);
}

TEST_CASE("names that leave no room are shortened in the middle, addresses and reasons never") {
  const std::string name = "first" + std::string(240, 'x') + "last";
  const Drop drop = named_syn(1, 0)
                        .in_netns(kPodNetns, "pod:" + name + "/" + name)
                        .peer("netns:" + name + "/eth0")
                        .pod_at("10.244.0.5", name, name)
                        .pod_at("10.244.0.6", "other", name)
                        .service(name + "/" + name)
                        .build();
  const std::string text = text_of(drop);
  for (const std::string_view part :
       {":40112 → fir", "…", "st (10.96.12.7:8181) → ot", "st 10.244.0.6:8181", "NETFILTER_DROP",
        " vetha1a1a1a1 ⇄ netns:first", "last/eth0", "policy of ip filter FORWARD"}) {
    INFO(part);
    CHECK(contains(text, part));
  }
  for (const std::string& line : lines_of(text)) CHECK(columns(line) <= 120);
}

TEST_CASE("a repeat between named ends is one line") {
  for (const std::size_t size : {1, 20, 253}) {
    const Drop drop = named_syn(2, 1'021)
                          .pod_at("10.244.0.5", "data", std::string(size, 'c'))
                          .service("data/" + std::string(size, 's') + ":http")
                          .build();
    const std::vector<std::string> lines = lines_of(text_of(drop));
    REQUIRE(lines.size() == 1);
    CHECK(columns(lines[0]) <= 120);
    CHECK(contains(lines[0], "same place (2 dropped)  gives up in 130 s"));
  }
}

TEST_CASE("a Kubernetes namespace is said once, and again where it changes") {
  CHECK(contains(text_of(named_syn(1, 0).build()),
                 "data-platform/web-7f:40112 → iceberg-rest:http (10.96.12.7:8181) → "
                 "iceberg-0 10.244.0.6:8181\n"));
  const Drop drop = named_syn(1, 0)
                        .pod_at("10.244.0.5", "data", "web")
                        .service("lake/rest")
                        .pod_at("10.244.0.6", "data", "ice-0")
                        .build();
  CHECK(contains(text_of(drop),
                 "data/web:40112 → lake/rest (10.96.12.7:8181) → "
                 "data/ice-0 10.244.0.6:8181"));
}

TEST_CASE("a pod that was deleted is marked") {
  CHECK(contains(text_of(named_syn(1, 0).pod_at("10.244.0.6", "lake", "old", true).build()),
                 "lake/old (gone) 10.244.0.6:8181"));
}

TEST_CASE("a name without room for more is still cut between characters") {
  CHECK(shortened("abcdefgh", 8) == "abcdefgh");
  CHECK(shortened("abcdefgh", 5) == "ab…gh");
  CHECK(shortened("äöüäöü", 4) == "äö…ü");
}

TEST_CASE("of a shortened pod the name keeps more than its Kubernetes namespace") {
  const std::string pod = "data-platform/trino-coordinator-7d9c5b7c9d-x2x4v";
  CHECK(shortened(pod, 48) == pod);
  CHECK(shortened(pod, 22) == "dat…orm/trino-c…-x2x4v");
  CHECK(shortened("data-platform/web-0", 16) == "data-…form/web-0");
  CHECK(shortened("db/trino-coordinator", 16) == "db/trino-…inator");
}

TEST_CASE("without colour there is no escape byte") {
  for (const Drop& drop : sample_drops()) CHECK(!contains(text_of(drop), "\x1b"));
}

TEST_CASE("colour adds nothing but styles, and each one is reset") {
  for (const Drop& drop : sample_drops()) {
    const std::string text = text_of(drop, {.color = true});
    CHECK(without_styles(text) == text_of(drop));
    for (const std::string& line : lines_of(text)) {
      CHECK(line.rfind(kReset) == line.rfind('\x1b'));
    }
  }
}

TEST_CASE("time, service, reason and place have colours of their own") {
  const std::string text = text_of(service_syn(1, 0).build(), {.color = true});
  CHECK(contains(text, "\x1b[2m17:03:04.123\x1b[0m"));
  CHECK(contains(text, "→ \x1b[36m10.96.100.10:80\x1b[0m"));
  CHECK(contains(text, "\x1b[1;31mNETFILTER_DROP\x1b[0m"));
  CHECK(contains(text, "\x1b[33mnode vetha1a1a1a1 ⇄ netns:podA/eth0\x1b[0m"));
}

TEST_CASE("a harmless drop is dim throughout and ends with why it is harmless") {
  const std::string text = text_of(udp().noise("nobody cares").build(), {.color = true});
  CHECK(text.ends_with("\x1b[2mharmless: nobody cares\x1b[0m\n"));
  for (std::size_t at = 0; (at = text.find('\x1b', at)) != std::string::npos; ++at) {
    const std::string_view style = std::string_view(text).substr(at, 4);
    CHECK((style == "\x1b[2m" || style == kReset));
  }
}

TEST_CASE("a drop of which nothing is known is still a line") {
  CHECK(text_of(Drop{}) == "00:00:00.000  not IP\n");
}

TEST_CASE("times are shown in the zone asked for") {
  const Drop drop = udp().build();
  CHECK(text_of(drop, {.utc_offset_s = 19800}).starts_with("22:33:04.123 "));
  CHECK(text_of(drop, {.utc_offset_s = 28800}).starts_with("01:03:04.123 "));
  Drop before_epoch = drop;
  before_epoch.time_ns = -1;
  CHECK(text_of(before_epoch).starts_with("23:59:59.999 "));
}

TEST_CASE("the client's remaining time is rounded to seconds") {
  AttemptState attempt = attempt_state(1, 0);
  const auto text = [&attempt] { return text_of(service_syn(1, 0).attempt(attempt).build()); };

  attempt.age_ns = 1'499'000'000;
  CHECK(contains(text(), "gives up in 130 s"));
  attempt.age_ns = 1'501'000'000;
  CHECK(contains(text(), "gives up in 129 s"));
  attempt.age_ns = 130'900'000'000;
  CHECK(contains(text(), "gives up in 0 s"));
  attempt.gives_up_ns.reset();
  CHECK(!contains(text(), "gives up"));
}

TEST_CASE("a client that goes on past its time is not said to give up") {
  CHECK(!contains(text_of(service_syn(12, 131'001).build()), "gives up"));
}

TEST_CASE("a repeat in one of several places names the place") {
  AttemptState attempt = attempt_state(3, 2'045);
  attempt.dropped_here = 2;
  const std::string text = text_of(service_syn(3, 2'045).attempt(attempt).build());
  CHECK(contains(text, "again at nft_do_chain+0x3e8  gives up in 129 s"));
  CHECK(lines_of(text).size() == 1);
}

TEST_CASE("a later SYN at a new place has the long form") {
  AttemptState attempt = attempt_state(3, 2'045);
  attempt.dropped_here = 1;
  const std::string text = text_of(service_syn(3, 2'045).attempt(attempt).build());
  CHECK(contains(text, "SYN 3"));
  CHECK(contains(text, "10.96.100.10:80 → 10.244.0.6:8080"));
  CHECK(contains(text, "forward hook  nft_do_chain+0x3e8"));
}

TEST_CASE("a packet in the reply direction without NAT goes from the server to the client") {
  const std::string text = text_of(
      DropBuilder(
          PacketBuilder().ipv4("10.244.0.6", "10.244.0.5").tcp(8080, 40112, kTcpSyn | kTcpAck))
          .conntrack(endpoint("10.244.0.5", 40112), endpoint("10.244.0.6", 8080),
                     endpoint("10.244.0.6", 8080))
          .in_reply_direction()
          .build());
  CHECK(contains(text, "SYN-ACK    10.244.0.6:8080 → 10.244.0.5:40112  "));
}

TEST_CASE("a queue without a verdict is not blamed on a process") {
  const std::string text = text_of(
      udp().why("NOT_SPECIFIED", "nf_queue+0x1a0").netfilter(NetfilterBackend::kNfqueue).build());
  CHECK(contains(text, "NFQUEUE  nf_queue+0x1a0\n"));
  CHECK(!contains(text, "verdict"));
}

TEST_CASE("a function of the hook is shown with what it did, and no other place") {
  const std::string text = text_of(udp()
                                       .why("NETFILTER_DROP", "nf_hook_slow+0x7d")
                                       .netfilter(NetfilterBackend::kConntrack, Hook::kPrerouting)
                                       .function("ipv4_conntrack_in")
                                       .build());
  CHECK(contains(text, "prerouting hook  conntrack: ipv4_conntrack_in refused it (table full?)\n"));
}

TEST_CASE("functions of which one dropped are not blamed for more than that") {
  const std::string text = text_of(udp()
                                       .why("NETFILTER_DROP", "nf_hook_slow+0x7d")
                                       .netfilter(NetfilterBackend::kConntrack)
                                       .functions({"ipv6_defrag", "ipv6_conntrack_in"})
                                       .build());
  CHECK(contains(text, "conntrack: perhaps ipv6_defrag, ipv6_conntrack_in  nf_hook_slow+0x7d\n"));
}

TEST_CASE("TCP flags that have no name are shown as tcpdump does") {
  const auto text = [](std::uint8_t flags) {
    return text_of(
        DropBuilder(PacketBuilder().ipv4("10.0.0.1", "10.0.0.2").tcp(1, 2, flags)).build());
  };
  CHECK(contains(text(kTcpSyn | kTcpFin), "  TCP FS  "));
  CHECK(contains(text(kTcpPush | kTcpAck), "  TCP P.  "));
  CHECK(contains(text(0), "  TCP none  "));
}

TEST_CASE("a TCP header that was not captured leaves the protocol") {
  const auto packet = PacketBuilder().ipv4("10.0.0.1", "10.0.0.2").upper_layer(IPPROTO_TCP);
  CHECK(contains(text_of(DropBuilder(packet).build()), "  TCP        10.0.0.1 → 10.0.0.2  "));
}

TEST_CASE("names cannot reach the terminal as anything but text") {
  for (const char byte : text_of(hostile_drop(), {.color = false})) {
    const bool control = static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f;
    CHECK((!control || byte == '\n' || byte == '\t'));
  }
}

TEST_CASE("control characters, DEL and bytes that are not UTF-8 are shown as hexadecimal") {
  struct Case {
    std::string_view text;
    std::string_view shown;
    std::size_t columns;
  };
  constexpr std::string_view kNul("\0", 1);
  const Case cases[] = {
      {"", "", 0},
      {"eth0", "eth0", 4},
      {"caf\xc3\xa9", "caf\xc3\xa9", 4},
      {"\xe2\x87\x84\xf0\x9f\x90\xb3", "\xe2\x87\x84\xf0\x9f\x90\xb3", 2},
      {kNul, "\\x00", 4},
      {"\x1b[2J", "\\x1b[2J", 7},
      {"\n\x7f", "\\x0a\\x7f", 8},
      {"\xc2\x9b", "\\xc2\\x9b", 8},                     // a C1 control
      {"\xe2\x80\xae", "\\xe2\\x80\\xae", 12},           // right-to-left override
      {"\xff", "\\xff", 4},                              // never in UTF-8
      {"\xa9", "\\xa9", 4},                              // no lead byte
      {"\xc3", "\\xc3", 4},                              // cut short
      {"\xc3(", "\\xc3(", 5},                            // no continuation
      {"\xc0\xaf", "\\xc0\\xaf", 8},                     // overlong
      {"\xe0\x80\xaf", "\\xe0\\x80\\xaf", 12},           // overlong
      {"\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf", 16},  // overlong
      {"\xed\xa0\x80", "\\xed\\xa0\\x80", 12},           // a surrogate
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", 16},  // beyond U+10FFFF
  };
  for (const Case& name : cases) {
    INFO(name.shown);
    const StyledText result = escaped(name.text);
    CHECK(result.bytes == name.shown);
    CHECK(result.columns == name.columns);
  }
}

TEST_CASE("lost records are named by cause") {
  TextSink sink({});
  CHECK(sink.lost(DropBuilder::kStartNs, {{"recursion", 1}}) ==
        "17:03:04.123  droptrace lost 1 record (recursion): the log has gaps here\n");
  CHECK(sink.lost(DropBuilder::kStartNs, {{"recursion", 1}, {"ring_buffer_full", 11}}) ==
        "17:03:04.123  droptrace lost 12 records (recursion 1, ring buffer full 11): "
        "the log has gaps here\n");
  CHECK(contains(sink.lost(0, {{"recursion", std::numeric_limits<std::uint64_t>::max()}}),
                 "lost 18446744073709551615 records"));
}

TEST_CASE("the text log has no summary") { CHECK(TextSink({}).summary(0, {}).empty()); }

}  // namespace
}  // namespace droptrace
