// SPDX-License-Identifier: GPL-2.0-only
#include "core/attempts.h"

#include <netinet/in.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace droptrace {
namespace {

using Numbers = std::vector<unsigned>;

constexpr SynTimers kClassic{.retries = 6, .linear_timeouts = 0};
constexpr SynTimers kLinear{.retries = 6, .linear_timeouts = 4};
constexpr const char* kPlace = "node/vetha1 nft_do_chain+0x3e8";

std::uint64_t ns(double seconds) { return static_cast<std::uint64_t>(std::llround(seconds * 1e9)); }

AttemptKey key(std::uint32_t isn, std::uint16_t sport = 40112) {
  const Address client = parse_address("10.244.0.5").value();
  const Address service = parse_address("10.96.100.10").value();
  return {{{client, sport}, {service, std::uint16_t{80}}, IPPROTO_TCP}, isn};
}

// What was said about each of one attempt's SYNs, dropped at these times after the log began.
std::vector<AttemptState> states(const std::vector<double>& seconds,
                                 const std::optional<SynTimers>& timers) {
  constexpr double kLogBegins = 1000;
  Attempts attempts;
  std::vector<AttemptState> states;
  for (const double second : seconds) {
    states.push_back(attempts.add_drop(key(1), ns(kLogBegins + second), kPlace, timers));
  }
  return states;
}

Numbers numbers(const std::vector<double>& seconds, const std::optional<SynTimers>& timers) {
  Numbers numbers;
  for (const AttemptState& state : states(seconds, timers)) numbers.push_back(state.syn);
  return numbers;
}

TEST_CASE("the schedule without linear timeouts doubles each wait") {
  CHECK(syn_schedule(kClassic) == Numbers{0, 1, 3, 7, 15, 31, 63, 127});
}

TEST_CASE("the schedule with linear timeouts begins with a SYN each second") {
  CHECK(syn_schedule(kLinear) == Numbers{0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67, 131});
}

TEST_CASE("a wait in the schedule is at most 120 s") {
  CHECK(syn_schedule({.retries = 8, .linear_timeouts = 0}) ==
        Numbers{0, 1, 3, 7, 15, 31, 63, 127, 247, 367});
}

TEST_CASE("the SYNs of an attempt are numbered in order") {
  CHECK(numbers({0, 1, 3, 7, 15, 31, 63}, kClassic) == Numbers{1, 2, 3, 4, 5, 6, 7});
  CHECK(numbers({0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67}, kLinear) ==
        Numbers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
}

TEST_CASE("timers that are a little late do not change the numbers") {
  CHECK(numbers({0, 1.06, 3.18, 7.4, 15.9, 32.8, 66.8}, kClassic) == Numbers{1, 2, 3, 4, 5, 6, 7});
  CHECK(numbers({0, 1.03, 2.06, 3.07, 4.1, 5.1, 7.2, 11.4, 19.9, 36.5, 69.3}, kLinear) ==
        Numbers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
}

TEST_CASE("age and give-up count from the first SYN") {
  const std::vector<AttemptState> seen = states({0, 1, 3}, kClassic);
  CHECK(seen[0].age_ns == 0);
  CHECK(seen[2].age_ns == ns(3));
  CHECK(seen[0].gives_up_ns == ns(127));
  CHECK(seen[2].gives_up_ns == ns(127));
  CHECK(states({0}, kLinear)[0].gives_up_ns == ns(131));
}

TEST_CASE("without the client's timers SYNs are only counted") {
  const std::vector<AttemptState> seen = states({0, 16, 48}, std::nullopt);
  CHECK(seen[2].syn == 3);
  CHECK(seen[2].age_ns == ns(48));
  CHECK_FALSE(seen[2].gives_up_ns.has_value());
}

TEST_CASE("a log that starts in the middle of a hang finds the numbers by the waits") {
  CHECK(numbers({0, 16}, kLinear) == Numbers{1, 10});
  CHECK(numbers({0, 16.4, 49.3}, kLinear) == Numbers{1, 10, 11});
  CHECK(numbers({0, 8.4}, kClassic) == Numbers{1, 5});
}

TEST_CASE("a log that starts in the middle of a hang dates the first SYN back") {
  const AttemptState state = states({0, 16}, kLinear)[1];
  CHECK(state.dropped == 2);
  CHECK(state.age_ns == ns(35));
  CHECK(state.gives_up_ns == ns(131));
}

TEST_CASE("waits that fit several places in the schedule count from the earliest") {
  CHECK(numbers({0, 1, 2}, kLinear) == Numbers{1, 2, 3});
  // The 2 s wait tells that the SYNs counted so far were the last ones a second apart.
  CHECK(numbers({0, 1, 2, 4, 8}, kLinear) == Numbers{1, 2, 3, 7, 8});
}

TEST_CASE("a SYN that was not seen leaves a gap in the numbers") {
  CHECK(numbers({0, 1, 3, 15}, kClassic) == Numbers{1, 2, 3, 5});
  CHECK(numbers({0, 3, 7}, kClassic) == Numbers{1, 3, 4});
  CHECK(numbers({0, 1, 2, 3, 4, 5, 7, 19, 35}, kLinear) == Numbers{1, 2, 3, 4, 5, 6, 7, 9, 10});
  CHECK(states({0, 3, 7}, kClassic)[2].age_ns == ns(7));
}

TEST_CASE("a number that later waits disprove is put right") {
  // Two seconds apart could be SYN 6 and 7; with one second after them they are SYN 1 and 3.
  CHECK(numbers({0, 2, 3, 4}, kLinear) == Numbers{1, 7, 4, 5});
  CHECK(states({0, 2, 3}, kLinear)[2].age_ns == ns(3));
}

TEST_CASE("SYNs at odd times are counted on") {
  // What waited for a neighbour is dropped all at once.
  CHECK(numbers({3.05, 3.05, 3.05}, kLinear) == Numbers{1, 2, 3});
  CHECK(numbers({0, 5.5}, kClassic) == Numbers{1, 2});
  CHECK(numbers({0, 1, 3, 13, 21}, kClassic) == Numbers{1, 2, 3, 4, 5});
}

TEST_CASE("a client that sends more SYNs than its namespace allows has timers of its own") {
  const std::vector<AttemptState> seen = states({0, 1, 3, 7}, SynTimers{.retries = 2});
  CHECK(seen[2].gives_up_ns == ns(7));
  CHECK(seen[3].syn == 4);
  CHECK(seen[3].age_ns == ns(7));
  CHECK_FALSE(seen[3].gives_up_ns.has_value());
}

TEST_CASE("a record that arrives out of order does not make an age negative") {
  Attempts attempts;
  attempts.add_drop(key(1), ns(10.000002), kPlace, kClassic);
  CHECK(attempts.add_drop(key(1), ns(10), kPlace, kClassic).age_ns == 0);
}

TEST_CASE("attempts differ by initial sequence number and by tuple") {
  Attempts attempts;
  CHECK(attempts.add_drop(key(1), ns(1), kPlace, kClassic).syn == 1);
  CHECK(attempts.add_drop(key(2), ns(2), kPlace, kClassic).syn == 1);
  CHECK(attempts.add_drop(key(1, 40113), ns(2), kPlace, kClassic).syn == 1);
  CHECK(attempts.add_drop(key(1), ns(2), kPlace, kClassic).syn == 2);
  CHECK(attempts.size() == 3);
}

TEST_CASE("drops are counted in all and by place") {
  Attempts attempts;
  attempts.add_drop(key(1), ns(0), "node/vetha1 nft_do_chain+0x3e8", kClassic);
  const AttemptState elsewhere =
      attempts.add_drop(key(1), ns(1), "node/eth0 ip_error+0x1", kClassic);
  CHECK(elsewhere.dropped == 2);
  CHECK(elsewhere.dropped_here == 1);
  const AttemptState back =
      attempts.add_drop(key(1), ns(3), "node/vetha1 nft_do_chain+0x3e8", kClassic);
  CHECK(back.dropped == 3);
  CHECK(back.dropped_here == 2);
}

TEST_CASE("only so many places of an attempt are remembered") {
  Attempts attempts;
  for (unsigned i = 0; i < 100; ++i) {
    attempts.add_drop(key(1), ns(i), "place " + std::to_string(i), std::nullopt);
  }
  CHECK(attempts.add_drop(key(1), ns(100), "place 0", std::nullopt).dropped_here == 2);
  CHECK(attempts.add_drop(key(1), ns(101), "place 99", std::nullopt).dropped_here == 1);
}

TEST_CASE("beyond capacity the attempt that was quiet for longest is forgotten") {
  Attempts attempts(2);
  attempts.add_drop(key(1), ns(0), kPlace, kClassic);
  attempts.add_drop(key(2), ns(0.5), kPlace, kClassic);
  attempts.add_drop(key(1), ns(1), kPlace, kClassic);
  attempts.add_drop(key(3), ns(1.5), kPlace, kClassic);
  CHECK(attempts.size() == 2);
  CHECK(attempts.forgotten() == 1);
  CHECK(attempts.add_drop(key(1), ns(3), kPlace, kClassic).dropped == 3);
  CHECK(attempts.add_drop(key(2), ns(3.5), kPlace, kClassic).dropped == 1);
}

TEST_CASE("a flood of attempts stays within capacity") {
  Attempts attempts(100);
  for (std::uint32_t isn = 0; isn < 10000; ++isn) {
    attempts.add_drop(key(isn), ns(1), kPlace, kClassic);
  }
  CHECK(attempts.size() == 100);
  CHECK(attempts.forgotten() == 9900);
}

}  // namespace
}  // namespace droptrace
