// SPDX-License-Identifier: GPL-2.0-only
#include "core/xt_targets.h"

#include <algorithm>

namespace droptrace {
namespace {

// Those after which a packet goes on to the next rule, as it was but for its marks.
constexpr std::string_view kPassing[] = {
    "AUDIT",   "CHECKSUM", "CLASSIFY",  "CONNMARK", "CONNSECMARK", "CT",          "DSCP",
    "ECN",     "HL",       "IDLETIMER", "LED",      "LOG",         "MARK",        "NFLOG",
    "NOTRACK", "RATEEST",  "SECMARK",   "SET",      "TCPMSS",      "TCPOPTSTRIP", "TEE",
    "TOS",     "TRACE",    "TTL",       "ULOG",
};

// NAT ends a table's rules like ACCEPT.
constexpr std::string_view kAccepting[] = {"ACCEPT", "DNAT",     "MASQUERADE",
                                           "NETMAP", "REDIRECT", "SNAT"};

template <std::size_t Size>
bool is_among(const std::string_view (&names)[Size], std::string_view name) {
  return std::ranges::find(names, name) != std::end(names);
}

Verdict::Kind kind_of(std::string_view target) {
  if (is_among(kPassing, target)) return Verdict::Kind::kContinue;
  if (is_among(kAccepting, target)) return Verdict::Kind::kAccept;
  if (target == "DROP") return Verdict::Kind::kDrop;
  if (target == "REJECT") return Verdict::Kind::kReject;
  if (target == "RETURN") return Verdict::Kind::kReturn;
  if (target == "QUEUE" || target == "NFQUEUE") return Verdict::Kind::kQueue;
  return Verdict::Kind::kUnknown;
}

}  // namespace

void add_xt_target(std::string_view target, RuleLogic& logic) {
  logic.verdict.kind = kind_of(target);
  logic.sets_mark = logic.sets_mark || target == "MARK" || target == "CONNMARK";
}

}  // namespace droptrace
