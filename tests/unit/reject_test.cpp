// SPDX-License-Identifier: GPL-2.0-only
#include "core/reject.h"

#include <doctest/doctest.h>

namespace droptrace {

TEST_CASE("iptables' REJECT is answered as it says") {
  CHECK(answer_of_rule("-A INPUT -p tcp -j REJECT --reject-with tcp-reset", false) == "rst");
  CHECK(answer_of_rule("-A INPUT -j REJECT --reject-with icmp-port-unreachable", false) ==
        "icmp 3/3");
  CHECK(answer_of_rule("-A INPUT -j REJECT --reject-with icmp-admin-prohibited", false) ==
        "icmp 3/13");
  CHECK(answer_of_rule("-A INPUT -j REJECT --reject-with icmp6-adm-prohibited", true) ==
        "icmp 1/1");
  CHECK(answer_of_rule("-A INPUT -j REJECT --reject-with icmp6-no-route", true) == "icmp 1/0");
}

TEST_CASE("nft's reject is answered as it says, by default with port unreachable") {
  CHECK(answer_of_rule("tcp dport 80 counter packets 0 bytes 0 reject", false) == "icmp 3/3");
  CHECK(answer_of_rule("tcp dport 80 reject", true) == "icmp 1/4");
  CHECK(answer_of_rule("reject with icmp host-prohibited", false) == "icmp 3/10");
  CHECK(answer_of_rule("reject with icmpx admin-prohibited", true) == "icmp 1/1");
  CHECK(answer_of_rule("meta l4proto tcp reject with tcp reset", false) == "rst");
}

TEST_CASE("a rule that does not reject answers nothing, whatever its comment says") {
  CHECK_FALSE(answer_of_rule("-A INPUT -m comment --comment \"-j REJECT\" -j DROP", false));
  CHECK_FALSE(answer_of_rule("drop comment \"reject with tcp reset\"", false));
  CHECK_FALSE(answer_of_rule("jump to-reject", false));
  CHECK_FALSE(answer_of_rule("-A INPUT -j REJECT-ALL", false));
  CHECK_FALSE(answer_of_rule("", false));
}

TEST_CASE("an answer that the packet's protocol does not have is not claimed") {
  CHECK_FALSE(answer_of_rule("reject with icmp net-unreachable", true));
  CHECK_FALSE(answer_of_rule("reject with something new", false));
}

}  // namespace droptrace
