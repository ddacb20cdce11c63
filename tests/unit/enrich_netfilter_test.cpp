// SPDX-License-Identifier: GPL-2.0-only
// What enrich() tells of netfilter's part in a drop, from the stack, the frame and the rule.
#include <netinet/in.h>

// Behind netinet/in.h, whose types it defines where nobody has yet.
#include <linux/netfilter.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "sink/netfilter_text.h"
#include "tests/support/enriched.h"

namespace droptrace {
namespace {

// What a record's rule is called, once user space has looked it up.
Drop enriched_with_rule(const RecordBuilder& record, std::string text) {
  Record decoded = decode_drop(record.bytes()).value();
  decoded.rule.emplace();
  decoded.rule->text = std::move(text);
  return enrich(std::move(decoded), node_and_pod(), kernel_names(), {});
}

// What the kernel side read off a frame.
dt_netfilter frame(dt_nf_kind kind) {
  dt_netfilter part{};
  part.kind = static_cast<dt_u8>(kind);
  part.family = NFPROTO_INET;
  part.rule = 42;
  return part;
}

TEST_CASE("a packet that nft_do_chain freed died in nf_tables, in the hook its callers ran") {
  const Drop drop = enriched(freed_by("nft_do_chain", {"nf_hook_slow", "ip_forward", "ip_rcv"}));
  REQUIRE(drop.netfilter.has_value());
  CHECK(drop.netfilter->backend == NetfilterBackend::kNfTables);
  CHECK(drop.netfilter->hook == Hook::kForward);
  CHECK_FALSE(drop.netfilter->queue_owner.has_value());
}

TEST_CASE("nf_tables is recognised in parts that the compiler split off and in its expressions") {
  for (const std::string_view function : {"nft_do_chain.cold", "nft_reject_ipv4_eval"}) {
    CAPTURE(function);
    const Drop drop = enriched(freed_by(function, {"nf_hook_slow", "ip_forward"}));
    REQUIRE(drop.netfilter.has_value());
    CHECK(drop.netfilter->backend == NetfilterBackend::kNfTables);
  }
}

TEST_CASE("a packet that nf_hook_slow freed died in netfilter, the stack does not tell where") {
  const Drop drop = enriched(freed_by("nf_hook_slow", kForwarding));
  REQUIRE(drop.netfilter.has_value());
  CHECK(drop.netfilter->backend == NetfilterBackend::kOther);
  CHECK(drop.netfilter->hook == Hook::kForward);
}

// Functions that are registered at the hook, of which one dropped the packet.
dt_netfilter hook_functions(const std::vector<std::string_view>& names) {
  dt_netfilter part{};
  part.has_hook = 1;
  part.pf = NFPROTO_IPV4;
  part.hook = NF_INET_PRE_ROUTING;
  for (const std::string_view name : names) part.function[part.functions++] = start_of(name);
  return part;
}

dt_netfilter hook_function(std::string_view name) {
  dt_netfilter part = hook_functions({name});
  part.has_function = 1;
  return part;
}

NetfilterFacts freed_for(const dt_netfilter& part, const EnrichOptions& options = {}) {
  const RecordBuilder record = freed_by("nf_hook_slow", kForwarding).netfilter(part);
  return enrich(decode_drop(record.bytes()).value(), node_and_pod(), kernel_names(), options)
      .netfilter.value();
}

TEST_CASE("the function that nf_hook_slow had called tells which part of netfilter dropped") {
  const NetfilterFacts facts = freed_for(hook_function("ipv4_conntrack_in"));
  CHECK(facts.backend == NetfilterBackend::kConntrack);
  CHECK(facts.function == "ipv4_conntrack_in");
  CHECK(facts.from_frame);
  CHECK(facts.hook == Hook::kPrerouting);
  CHECK(freed_for(hook_function("nf_nat_ipv4_out")).backend == NetfilterBackend::kNat);
}

TEST_CASE("a function that runs rules leaves the rule to be found") {
  const NetfilterFacts legacy = freed_for(hook_function("ipt_do_table"));
  CHECK(legacy.backend == NetfilterBackend::kIpTables);
  CHECK(legacy.function == "ipt_do_table");
  CHECK_FALSE(legacy.from_frame);
  const NetfilterFacts nft = freed_for(hook_function("nft_do_chain_ipv4"));
  CHECK(nft.backend == NetfilterBackend::kNfTables);
  CHECK_FALSE(nft.from_frame);
}

TEST_CASE("a function without a symbol of its own is not named") {
  dt_netfilter part = hook_function("nf_confirm");
  part.function[0] += 8;
  const NetfilterFacts facts = freed_for(part);
  CHECK(facts.backend == NetfilterBackend::kOther);
  CHECK_FALSE(facts.function.has_value());
  CHECK_FALSE(facts.from_frame);
}

TEST_CASE("functions that may have dropped are told, without those that cannot") {
  const dt_netfilter part =
      hook_functions({"ipv4_conntrack_defrag", "ipv4_conntrack_in", "nft_do_chain_ipv4"});
  const NetfilterFacts facts = freed_for(part, {.nft_frees = true});
  CHECK(facts.backend == NetfilterBackend::kConntrack);
  CHECK_FALSE(facts.function.has_value());
  CHECK(facts.functions == std::vector<std::string>{"ipv4_conntrack_in"});
  CHECK_FALSE(facts.from_frame);

  const NetfilterFacts older = freed_for(part);
  CHECK(older.backend == NetfilterBackend::kOther);
  CHECK(older.functions == std::vector<std::string>{"ipv4_conntrack_in", "nft_do_chain_ipv4"});
}

TEST_CASE("among functions of which one has no name, nothing is said") {
  dt_netfilter part = hook_functions({"ipv4_conntrack_in", "ipt_do_table"});
  part.function[1] += 8;
  const NetfilterFacts facts = freed_for(part);
  CHECK(facts.backend == NetfilterBackend::kOther);
  CHECK(facts.functions.empty());
}

TEST_CASE("netfilter is recognised by the reason alone and by the function alone") {
  CHECK(enriched(freed_by("br_nf_forward_ip", kForwarding)).netfilter.has_value());
  CHECK(enriched(RecordBuilder{}.location(address_in("nf_hook_slow"))).netfilter.has_value());
}

TEST_CASE("an NFQUEUE verdict names the process that gave it") {
  for (const std::string_view function : {"nfqnl_reinject", "nf_reinject"}) {
    CAPTURE(function);
    const Drop drop =
        enriched(freed_by(function, kSystemCall, kNotSpecified).task(911, "kindnetd"));
    REQUIRE(drop.netfilter.has_value());
    CHECK(drop.netfilter->backend == NetfilterBackend::kNfqueue);
    CHECK(drop.netfilter->queue_owner == "kindnetd");
    CHECK_FALSE(drop.netfilter->hook.has_value());
    CHECK(drop.comm == "kindnetd");
  }
}

TEST_CASE("a queue flushed by a kernel worker was judged by nobody") {
  const Drop drop = enriched(
      freed_by("nfqnl_reinject", {"process_one_work"}, kNotSpecified).task(30, "kworker/0:1"));
  REQUIRE(drop.netfilter.has_value());
  CHECK(drop.netfilter->backend == NetfilterBackend::kNfqueue);
  CHECK_FALSE(drop.netfilter->queue_owner.has_value());
  CHECK_FALSE(drop.comm.has_value());
}

TEST_CASE("a queue emptied by a change of the rules was judged by nobody, least by who made it") {
  // What lies on the stack of the change looks like a listener's message about queue 10.
  dt_netfilter part = frame(DT_NF_QUEUE_VERDICT);
  part.has_queue = 1;
  part.queue = 10;
  const Drop drop =
      enriched(freed_by("nfqnl_reinject", {"netlink_sendmsg", "__x64_sys_sendmsg"}, kNotSpecified)
                   .task(40, "nft")
                   .netfilter(part));
  const NetfilterFacts facts = drop.netfilter.value();
  CHECK(facts.backend == NetfilterBackend::kNfqueue);
  CHECK(facts.queue_flushed);
  CHECK_FALSE(facts.queue_owner.has_value());
  CHECK_FALSE(facts.queue.has_value());
  CHECK_FALSE(facts.from_frame);
  CHECK(drop.comm == "nft");
}

TEST_CASE("a packet that found no room in its queue has a hook and no verdict") {
  Stack callers = {"nf_hook_slow", "ip_forward", "__x64_sys_sendmsg"};
  const Drop drop = enriched(freed_by("nf_queue", callers, kNotSpecified).task(5, "curl"));
  REQUIRE(drop.netfilter.has_value());
  CHECK(drop.netfilter->backend == NetfilterBackend::kNfqueue);
  CHECK(drop.netfilter->hook == Hook::kForward);
  CHECK_FALSE(drop.netfilter->queue_owner.has_value());
}

TEST_CASE("a drop elsewhere has no netfilter facts") {
  CHECK_FALSE(enriched(freed_by("tcp_v4_rcv", kForwarding, kNotSpecified)).netfilter.has_value());
}

TEST_CASE("the rule that the frame shows is named by its handle, and by name if it was found") {
  const RecordBuilder record =
      freed_by("nft_do_chain", kForwarding).netfilter(frame(DT_NF_NFT_RULE));
  const NetfilterFacts facts = enriched(record).netfilter.value();
  CHECK(facts.from_frame);
  CHECK(facts.family == NfFamily::kInet);
  CHECK(facts.handle == 42);
  CHECK_FALSE(facts.policy);
  CHECK_FALSE(facts.rule.has_value());

  const Drop named = enriched_with_rule(record, "tcp dport 8080 drop");
  REQUIRE(named.netfilter.value().rule.has_value());
  CHECK(named.netfilter->rule->text == "tcp dport 8080 drop");
}

TEST_CASE("a policy has a family and no rule") {
  const Drop drop =
      enriched(freed_by("nft_do_chain", kForwarding).netfilter(frame(DT_NF_NFT_POLICY)));
  const NetfilterFacts facts = drop.netfilter.value();
  CHECK(facts.policy);
  CHECK(facts.family == NfFamily::kInet);
  CHECK_FALSE(facts.handle.has_value());
}

TEST_CASE("the frame's hook outweighs the one that the stack suggests") {
  dt_netfilter part = frame(DT_NF_NONE);
  part.has_hook = 1;
  part.pf = NFPROTO_IPV4;
  part.hook = NF_INET_LOCAL_OUT;
  const RecordBuilder record = freed_by("nf_hook_slow", kForwarding);
  CHECK(enriched(record).netfilter.value().hook == Hook::kForward);
  const NetfilterFacts facts = enriched(RecordBuilder(record).netfilter(part)).netfilter.value();
  CHECK(facts.hook == Hook::kOutput);
  CHECK_FALSE(facts.from_frame);
  CHECK_FALSE(facts.family.has_value());
}

TEST_CASE("a frame that shows no hook leaves the one of the stack") {
  const Drop drop =
      enriched(freed_by("nft_do_chain", kForwarding).netfilter(frame(DT_NF_NFT_RULE)));
  CHECK(drop.netfilter.value().hook == Hook::kForward);
}

Drop enriched_traced(const RecordBuilder& builder, NetfilterRecord::Kind kind) {
  Record record = decode_drop(builder.bytes()).value();
  record.netfilter.emplace();
  record.netfilter->kind = kind;
  record.netfilter->family = NfFamily::kIp;
  record.netfilter->rule = 42;
  record.netfilter->traced = true;
  return enrich(std::move(record), node_and_pod(), kernel_names(), {});
}

TEST_CASE("a trace names the rule of nf_tables, wherever the packet was freed") {
  const auto builder = freed_by("nf_hook_slow", kForwarding);
  const auto facts = enriched_traced(builder, NetfilterRecord::Kind::kNftRule).netfilter.value();
  CHECK(facts.backend == NetfilterBackend::kNfTables);
  CHECK(facts.handle == 42U);
  CHECK(facts.family == NfFamily::kIp);
  CHECK(facts.hook == Hook::kForward);
  CHECK(facts.from_trace);
  CHECK_FALSE(facts.from_frame);
}

TEST_CASE("a trace names the rule that queued a packet") {
  const auto builder = freed_by("nfqnl_reinject", kSystemCall).task(1, "kindnetd");
  const auto facts =
      enriched_traced(builder, NetfilterRecord::Kind::kQueueVerdict).netfilter.value();
  CHECK(facts.backend == NetfilterBackend::kNfqueue);
  CHECK(facts.handle == 42U);
  CHECK(facts.queue_owner == "kindnetd");
  CHECK(facts.from_trace);
}

TEST_CASE("a rule noted at its verdict is nf_tables' own, whichever function freed the packet") {
  dt_netfilter part = frame(DT_NF_NFT_RULE);
  part.from_hook = 1;
  for (const std::string_view function : {"nft_do_chain", "nf_hook_slow", "nf_reinject"}) {
    CAPTURE(function);
    const NetfilterFacts facts =
        enriched(freed_by(function, kForwarding).netfilter(part)).netfilter.value();
    CHECK(facts.backend == NetfilterBackend::kNfTables);
    CHECK(facts.handle == 42);
    CHECK(facts.from_hook);
    CHECK_FALSE(facts.from_frame);
    CHECK_FALSE(facts.queue_owner.has_value());
  }
}

TEST_CASE("where the rules cannot be listed, the kernel side names table and chain") {
  const auto facts_of = [](dt_nf_kind kind, std::string_view chain) {
    const RecordBuilder record =
        freed_by("nft_do_chain", kForwarding).netfilter(frame(kind)).nft_names("filter", chain);
    return enriched(record).netfilter.value();
  };
  const NetfilterFacts rule = facts_of(DT_NF_NFT_RULE, "DOCKER-USER");
  REQUIRE(rule.rule);
  CHECK(rule.rule->table == "filter");
  CHECK(rule.rule->text.empty());
  CHECK(rule_text(rule) == "inet filter DOCKER-USER rule handle 42");
  CHECK(rule_text(facts_of(DT_NF_NFT_POLICY, "FORWARD")) == "policy of inet filter FORWARD");
  CHECK_FALSE(facts_of(DT_NF_NFT_RULE, "").rule);
  CHECK_FALSE(facts_of(DT_NF_QUEUE_FAILED, "FORWARD").rule);
  const std::string long_name(DT_NFT_NAME_LENGTH, 'x');  // cut by the kernel side: no NUL is needed
  CHECK(facts_of(DT_NF_NFT_RULE, long_name).rule->chain == long_name);
}

TEST_CASE("a queue's verdict has the rule that queued the packet if that was noted") {
  dt_netfilter part = frame(DT_NF_QUEUE_VERDICT);
  part.from_hook = 1;
  part.has_queue = 1;
  part.queue = 101;
  const NetfilterFacts facts =
      enriched(
          freed_by("nf_reinject", kSystemCall, kNotSpecified).task(911, "kindnetd").netfilter(part))
          .netfilter.value();
  CHECK(facts.backend == NetfilterBackend::kNfqueue);
  CHECK(facts.queue == 101);
  CHECK(facts.queue_owner == "kindnetd");
  CHECK(facts.handle == 42);
  CHECK(facts.family == NfFamily::kInet);
}

TEST_CASE("a queue has its number, and whether it took the packet") {
  dt_netfilter part = frame(DT_NF_QUEUE_VERDICT);
  part.has_queue = 1;
  part.queue = 100;
  const NetfilterFacts verdict =
      enriched(freed_by("nfqnl_reinject", kSystemCall).netfilter(part)).netfilter.value();
  CHECK(verdict.queue == 100);
  CHECK_FALSE(verdict.queue_failed);
  CHECK_FALSE(verdict.handle.has_value());
  CHECK_FALSE(verdict.family.has_value());

  part.kind = DT_NF_QUEUE_FAILED;
  const NetfilterFacts failed =
      enriched(freed_by("nf_queue", kForwarding).netfilter(part)).netfilter.value();
  CHECK(failed.queue == 100);
  CHECK(failed.queue_failed);
}

TEST_CASE("the sender was told what was sent for the packet") {
  const RecordBuilder record = freed_by("nft_do_chain", kForwarding);
  CHECK_FALSE(enriched(record).answer.has_value());
  CHECK(enriched(RecordBuilder(record).answered_icmp(3, 13)).answer == "icmp 3/13");
  CHECK(enriched(RecordBuilder(record).answered_reset()).answer == "rst");
  CHECK(enriched(freed_by("tcp_v4_rcv", {}).answered_reset()).answer == "rst");
}

TEST_CASE("where no answer was seen, a rule that rejects says that there was one") {
  const RecordBuilder record =
      freed_by("nft_do_chain", kForwarding).netfilter(frame(DT_NF_NFT_RULE));
  for (const std::string text : {"-A USER -p tcp -j REJECT --reject-with tcp-reset",
                                 "tcp dport 8080 reject with tcp reset"}) {
    CAPTURE(text);
    CHECK(enriched_with_rule(record, text).answer == "rst");
  }
  CHECK_FALSE(enriched_with_rule(record, "tcp dport 8080 drop").answer.has_value());
  CHECK(enriched_with_rule(record, "tcp dport 8080 reject").answer == "icmp 3/3");
}

}  // namespace
}  // namespace droptrace
