// SPDX-License-Identifier: GPL-2.0-only
#include "core/path.h"

#include <doctest/doctest.h>

#include "core/net_counters.h"
#include "core/probe.h"
#include "core/silent_cause.h"

namespace droptrace {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr std::uint32_t kIsn = 4711;

Endpoint endpoint(const char* address, std::uint16_t port) {
  return {*parse_address(address), port};
}

const Endpoint kClient = endpoint("10.244.0.5", 40000);
const Endpoint kService = endpoint("10.96.0.10", 80);
const Endpoint kServer = endpoint("10.244.0.6", 8080);

Hop hop(std::uint64_t at_ns, HopEvent event, std::uint32_t netns, const Endpoint& src,
        const Endpoint& dst, std::uint8_t flags = kTcpSyn) {
  Hop result;
  result.boot_ns = at_ns;
  result.event = event;
  result.netns = netns;
  result.ifindex = 2;
  result.ifname = "eth0";
  result.isn = kIsn;
  result.tcp_flags = flags;
  result.tuple = {src, dst, 6};
  return result;
}

// The SYN of a client in namespace 1 reaches the server in namespace 3.
void send_syn(Paths& paths, std::uint64_t at_ns) {
  paths.add(hop(at_ns, HopEvent::kTransmit, 1, kClient, kService), 0);
  paths.add(hop(at_ns + 10, HopEvent::kReceive, 2, kClient, kService), 0);
  paths.add(hop(at_ns + 20, HopEvent::kReceive, 3, kClient, kServer), 0);
}

const std::uint8_t kSynAck = kTcpSyn | kTcpAck;

TEST_CASE("a SYN without an answer is judged once, with the hops of the latest") {
  Paths paths;
  send_syn(paths, 0);
  send_syn(paths, kSecondNs);
  CHECK(paths.judge(2 * kSecondNs, 3 * kSecondNs, 0).empty());
  const auto judged = paths.judge(3 * kSecondNs, 3 * kSecondNs, 0);
  REQUIRE(judged.size() == 1);
  CHECK(judged[0].outcome() == Outcome::kUnanswered);
  CHECK(judged[0].syn() == 2);
  CHECK(judged[0].hops.size() == 3);
  CHECK(judged[0].dialled == Tuple{kClient, kService, 6});
  CHECK(judged[0].last_syn()->netns == 3);
  CHECK(paths.judge(9 * kSecondNs, 3 * kSecondNs, 0).empty());
}

TEST_CASE("an answer that has come back ends it, unless the client goes on trying") {
  Paths paths;
  send_syn(paths, 0);
  paths.add(hop(30, HopEvent::kTransmit, 3, kServer, kClient, kSynAck), 0);
  paths.add(hop(40, HopEvent::kReceive, 1, kService, kClient, kSynAck), 0);
  CHECK(paths.find_dialled({kClient, kService, 6})->outcome() == Outcome::kAnswered);
  send_syn(paths, kSecondNs);
  CHECK(paths.find_dialled({kClient, kService, 6})->outcome() == Outcome::kUnanswered);
}

TEST_CASE("an answer that was seen on its way back only is lost there") {
  Paths paths;
  send_syn(paths, 0);
  paths.add(hop(30, HopEvent::kTransmit, 3, kServer, kClient, kSynAck), 0);
  const auto judged = paths.judge(3 * kSecondNs, 3 * kSecondNs, 0);
  REQUIRE(judged.size() == 1);
  CHECK(cause_of(judged[0], World{}, nullptr).id == "syn-ack-lost");
}

TEST_CASE("behind the last hook that it passed an attempt is lost in that namespace") {
  Paths paths;
  for (const std::uint64_t at_ns : {std::uint64_t{0}, kSecondNs}) {
    paths.add(hop(at_ns, HopEvent::kReceive, 2, kClient, kService), 0);
    for (const Hook hook : {Hook::kPrerouting, Hook::kForward}) {
      Hop passed = hop(at_ns + 10, HopEvent::kHook, 2, kClient, kServer);
      passed.hook = hook;
      paths.add(passed, 0);
    }
  }
  const auto judged = paths.judge(3 * kSecondNs, 3 * kSecondNs, 0);
  REQUIRE(judged.size() == 1);
  CHECK(judged[0].syn() == 2);
  CHECK(judged[0].hops.size() == 3);
  CHECK(suspect_netns(judged[0]) == 2);
  const Cause cause = cause_of(judged[0], World{}, nullptr);
  CHECK(cause.id == "lost-on-the-way");
  CHECK(cause.explanation.find("behind its forward hook") != std::string::npos);
}

TEST_CASE("conntrack tells how far an attempt came that nothing dropped") {
  Paths paths;
  send_syn(paths, 0);
  auto judged = paths.judge(3 * kSecondNs, 3 * kSecondNs, 0);
  REQUIRE(judged.size() == 1);
  const auto explanation = [&] { return cause_of(judged[0], World{}, nullptr).explanation; };
  CHECK(explanation().find("conntrack") == std::string::npos);
  judged[0].entry = Conntrack{{kClient, kService, 6}, {kServer, kClient, 6}, 0, false};
  CHECK(
      explanation().ends_with("; the node's conntrack has it, towards 10.244.0.6:8080: it has "
                              "passed the node's hooks, and nothing has come back"));
  judged[0].entry->status = 2;  // IPS_SEEN_REPLY
  CHECK(explanation().ends_with("an answer has come back to the node"));
  // Where nothing is known of services there may be no conntrack.
  judged[0].entry.reset();
  judged[0].has_no_entry = true;
  CHECK(explanation().find("conntrack") == std::string::npos);
}

TEST_CASE("where hops were lost, only a client that tries again is reported") {
  Paths paths;
  send_syn(paths, 0);
  CHECK(paths.judge(3 * kSecondNs, 3 * kSecondNs, 7).empty());
  CHECK(paths.unknown() == 1);

  Paths others;
  send_syn(others, 0);
  others.add(hop(kSecondNs, HopEvent::kRetransmit, 1, kClient, kService, 0), 7);
  const auto judged = others.judge(3 * kSecondNs, 3 * kSecondNs, 7);
  REQUIRE(judged.size() == 1);
  CHECK(judged[0].incomplete);
}

TEST_CASE("an equal number of another connection is another attempt") {
  Paths paths;
  send_syn(paths, 0);
  paths.add(hop(5, HopEvent::kTransmit, 9, endpoint("10.244.0.9", 1), endpoint("1.1.1.1", 53)), 0);
  CHECK(paths.size() == 2);
}

TEST_CASE("a flood of SYNs is bounded, and what is forgotten is counted") {
  Paths paths(1000);
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    Hop syn = hop(i, HopEvent::kReceive, 1, endpoint("10.244.0.5", i & 0xffff), kServer);
    syn.isn = i;
    paths.add(syn, 0);
  }
  CHECK(paths.size() == 1000);
  CHECK(paths.forgotten() == 99'000);
}

TEST_CASE("counters are read from the files of /proc/net") {
  NetCounters counters;
  parse_counter_table("TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\n",
                      counters);
  parse_counter_list("Ip6OutNoRoutes                  \t7\n", counters);
  parse_queues("  101   4242     3 2   128     0     0        3  1\n", counters);
  parse_neighbours(
      "IP address HW type Flags HW address Mask Device\n"
      "10.244.0.6 0x1 0x0 00:00:00:00:00:00 * veth1\n"
      "10.244.0.7 0x1 0x2 02:00:00:00:00:01 * veth2\n",
      counters);
  parse_listeners(
      "  sl  local_address rem_address   st tx_queue rx_queue tr\n"
      "   0: 00000000:1F90 00000000:0000 0A 00000000:00000003 00:00000000\n",
      counters);
  CHECK(counters.value("TcpExt.ListenOverflows") == 22);
  CHECK(counters.value("Ip6OutNoRoutes") == 7);
  REQUIRE(counters.queues.size() == 1);
  CHECK(counters.queues[0].waiting == 3);
  CHECK(counters.unresolved.size() == 1);
  CHECK(counters.listeners.at(8080) == 3);
}

TEST_CASE("a probe's target is an address, a service or a pod") {
  CHECK(parse_probe_target("10.0.0.1")->address == parse_address("10.0.0.1"));
  CHECK(parse_probe_target("10.0.0.1:81")->port == "81");
  CHECK(parse_probe_target("fd00::1")->port.empty());
  CHECK(parse_probe_target("[fd00::1]:81")->port == "81");
  CHECK(parse_probe_target("default/web:http")->name == "web");
  CHECK(parse_probe_target("pod:default/web-0:80")->kind == ProbeTarget::Kind::kPod);
  for (const char* const wrong : {"", "web", "10.0.0.1:x", "[fd00::1", "/web", "pod:a/b"})
    CHECK_FALSE(parse_probe_target(wrong));
}

}  // namespace
}  // namespace droptrace
