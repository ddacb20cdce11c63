// SPDX-License-Identifier: GPL-2.0-only
// What is asked of the rules for a record, and what their answer becomes in a drop.
#include <netinet/in.h>

// Behind netinet/in.h, whose types it defines where nobody has yet.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "core/evaluation.h"
#include "sink/json.h"
#include "sink/text.h"
#include "tests/support/drop_builder.h"
#include "tests/support/enriched.h"
#include "tests/support/packet_facts.h"

namespace droptrace {
namespace {

constexpr EvaluationScope kReadsAll = {true, true};
const Stack kForwardHook = {"nf_hook_slow", "ip_forward", "ip_rcv"};

RecordBuilder forwarded(std::string_view function = "nft_do_chain") {
  return freed_by(function, kForwardHook).netns(kNode).device(7, "vetha1");
}

std::optional<Inquiry> asked(const RecordBuilder& builder,
                             const EvaluationScope& scope = kReadsAll) {
  const KernelNames names = kernel_names();
  const Record record = decode_drop(builder.bytes()).value();
  return inquiry_of(record, site_of(record, names.symbols), node_and_pod(), scope);
}

Tuple tuple(const std::string& src, const std::string& dst) {
  return {{parse_address(src).value(), 40112}, {parse_address(dst).value(), 8080}, IPPROTO_TCP};
}

TEST_CASE("a drop by a rule of nf_tables is looked for among them alone") {
  const Inquiry inquiry = asked(forwarded()).value();
  CHECK(inquiry.netns == kNode);
  CHECK(inquiry.wants_rule);
  CHECK(inquiry.by_rule);
  CHECK(inquiry.question.hook == Hook::kForward);
  CHECK(inquiry.question.nft);
  CHECK_FALSE(inquiry.question.legacy);
  CHECK(inquiry.question.packet.in == "vetha1");
  CHECK_FALSE(inquiry.question.packet.out.has_value());
  CHECK(inquiry.question.packet.has_socket == false);
}

TEST_CASE("nf_hook_slow frees for ip_tables, and for nf_tables where that does not free itself") {
  CHECK_FALSE(asked(forwarded("nf_hook_slow")).value().question.nft);
  CHECK(asked(forwarded("nf_hook_slow"), {true, false}).value().question.nft);
  CHECK_FALSE(asked(forwarded("nf_hook_slow")).value().by_rule);
}

TEST_CASE("nothing is asked of a drop elsewhere or without a hook or a namespace") {
  CHECK_FALSE(asked(freed_by("tcp_v4_rcv", kForwarding).netns(kNode)).has_value());
  CHECK_FALSE(asked(freed_by("nft_do_chain", {}).netns(kNode)).has_value());
  CHECK_FALSE(asked(freed_by("nft_do_chain", kForwardHook)).has_value());
}

TEST_CASE("a packet's connection is new until there was a reply") {
  const Tuple original = tuple("10.244.0.5", "10.244.0.6");
  const auto states = [&](std::uint32_t status) {
    return asked(forwarded().conntrack(original, original.reversed(), status))
        .value()
        .question.packet.ct_states;
  };
  CHECK(states(IPS_CONFIRMED) == kCtNew);
  CHECK(states(IPS_CONFIRMED | IPS_SEEN_REPLY) == kCtEstablished);
  CHECK(states(IPS_EXPECTED) == kCtRelated);
  CHECK(asked(forwarded().conntrack(original, original.reversed()).reply_direction())
            .value()
            .question.packet.ct_states == kCtEstablished);
}

TEST_CASE("without a connection it is invalid or untracked, if connections can be read at all") {
  CHECK(asked(forwarded()).value().question.packet.ct_states == (kCtInvalid | kCtUntracked));
  CHECK(asked(forwarded(), {false, true}).value().question.packet.ct_states == 0);
  // A note of another namespace's translation is no connection of the packet.
  const auto noted = asked(
      forwarded().conntrack(tuple("10.244.0.5", "10.96.0.1"), tuple("10.244.0.6", "10.244.0.5")));
  CHECK(noted.value().question.packet.ct_states == (kCtInvalid | kCtUntracked));
}

TEST_CASE("chains that saw the packet before NAT are not asked") {
  const Stack prerouting = {"nf_hook_slow", "ip_rcv"};
  const auto record = [&](const std::string& dialled) {
    return freed_by("nft_do_chain", prerouting)
        .netns(kNode)
        .conntrack(tuple("10.244.0.5", dialled), tuple("10.244.0.6", "10.244.0.5").reversed(),
                   IPS_DST_NAT);
  };
  CHECK(asked(record("10.96.0.1")).value().question.from_priority == -100);
  CHECK_FALSE(asked(record("10.244.0.6")).value().question.from_priority.has_value());
}

TEST_CASE("a queue is asked for where a listener judged, nobody listened, or it was emptied") {
  dt_netfilter part{};
  part.kind = DT_NF_QUEUE_VERDICT;
  part.has_queue = 1;
  part.queue = 101;
  part.netns = kNode;
  part.has_hook = 1;
  part.pf = NFPROTO_IPV4;
  part.hook = NF_INET_POST_ROUTING;
  const Inquiry judged = asked(freed_by("nfqnl_reinject", kSystemCall).netfilter(part)).value();
  CHECK(judged.question.queued);
  CHECK(judged.question.queue == 101);
  CHECK(judged.question.hook == Hook::kPostrouting);
  const Inquiry emptied =
      asked(freed_by("nfqnl_reinject", {"process_one_work"}).netfilter(part)).value();
  CHECK(emptied.question.queued);
  CHECK_FALSE(emptied.question.queue.has_value());
  part.kind = DT_NF_NONE;  // accepted, and dropped behind the queue
  CHECK_FALSE(asked(freed_by("nfqnl_reinject", kSystemCall).netfilter(part)).has_value());
}

TEST_CASE("one rule is named like any other, several are listed") {
  const auto evaluated = [](const std::string& rules) {
    const RuleWalker walker(
        nullptr, shared(parse_iptables_save("*filter\n:FORWARD ACCEPT [0:0]\n" + rules + "COMMIT\n",
                                            NfFamily::kIp)));
    Inquiry inquiry;
    inquiry.question = dropped_at(Hook::kForward, tcp_to("10.244.0.6", 80));
    return evaluate_rules(walker, inquiry);
  };
  CHECK_FALSE(evaluated("-A FORWARD -j ACCEPT\n").has_value());
  const EvaluatedRules one = evaluated("-A FORWARD -p tcp -j DROP\n").value();
  CHECK(one.rule.value().number == 1);
  CHECK(one.rule->text == "-A FORWARD -p tcp -j DROP");
  CHECK(one.candidates.empty());

  const EvaluatedRules doubtful =
      evaluated("-A FORWARD -m set --match-set a src -j DROP\n").value();
  CHECK_FALSE(doubtful.rule.has_value());
  CHECK_FALSE(doubtful.complete);
  CHECK(doubtful.candidates ==
        std::vector<std::string>{
            "ip filter FORWARD #1: -A FORWARD -m set --match-set a src -j DROP"});
  std::string many;
  for (int i = 0; i < 20; ++i) many += "-A FORWARD -m set --match-set a src -j DROP\n";
  CHECK(evaluated(many).value().candidates.size() == 8);
  CHECK(evaluated(many).value().count == 20);
}

TEST_CASE("what was evaluated is shown as a candidate, whatever else is known of the drop") {
  Drop drop = DropBuilder(syn()).netfilter(NetfilterBackend::kIpTables, Hook::kForward).build();
  NetfilterFacts& facts = drop.netfilter.value();
  facts.evaluated = true;
  facts.candidates = {"ip filter FORWARD #1: -A FORWARD -j DROP", "policy of ip filter FORWARD"};
  facts.candidate_count = 2;
  facts.candidates_complete = true;
  const std::string json = JsonSink().drop(drop);
  CHECK(json_field(json, "netfilter.method") == "evaluated");
  CHECK(json_field(json, "netfilter.confidence") == "candidate");
  CHECK(json.find("policy of ip filter FORWARD") != std::string::npos);
  CHECK(TextSink({}).drop(drop).find("one of 2 rules: ip filter FORWARD #1") != std::string::npos);
  facts.candidates_complete = false;
  CHECK(TextSink({}).drop(drop).find("perhaps one of 2 rules") != std::string::npos);
}

TEST_CASE("the kernel's word outweighs what was evaluated") {
  dt_netfilter part{};
  part.kind = DT_NF_NFT_RULE;
  part.family = NFPROTO_INET;
  part.rule = 42;
  Record record = decode_drop(forwarded().netfilter(part).bytes()).value();
  record.evaluated.emplace().rule.emplace().text = "drop";
  const Drop drop = enrich(std::move(record), node_and_pod(), kernel_names(), {});
  CHECK(drop.netfilter.value().handle == 42);
  CHECK_FALSE(drop.netfilter->evaluated);
  CHECK_FALSE(drop.netfilter->rule.has_value());
}

}  // namespace
}  // namespace droptrace
