// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/rule_tracer.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cerrno>

#include <fmt/format.h>

#include "kernel/clock.h"
#include "kernel/error.h"
#include "kernel/nft_message.h"

namespace droptrace {

namespace {

constexpr std::size_t kSessionsMax = 64;
constexpr std::size_t kRefusedMax = 1024;
constexpr std::size_t kTablesMax = 4096;
constexpr std::size_t kReadMax = 4096;  // messages a round
constexpr int kReceiveBytes = 4 << 20;  // some 4,000 messages

bool is_in(const dt_function& function, std::uint64_t address) {
  return address >= function.start && address < function.end;
}

std::vector<std::uint8_t> bytes_of(const NetlinkAttributes& attributes, std::uint16_t type) {
  const auto found = attributes.find(type);
  if (found == attributes.end()) return {};
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(found->second.data());
  return {bytes, bytes + found->second.size()};
}

std::optional<TraceMessage> parse_message(std::span<const std::byte> payload) {
  if (payload.size() < sizeof(nfgenmsg)) return std::nullopt;
  const auto attributes = parse_attributes(payload.subspan(sizeof(nfgenmsg)));
  const auto id = be32(attributes, NFTA_TRACE_ID);
  const auto nfproto = be32(attributes, NFTA_TRACE_NFPROTO);
  if (!id || !nfproto) return std::nullopt;
  TraceMessage message;
  message.id = *id;
  message.nfproto = *nfproto;
  message.table = attribute_text(attributes, NFTA_TRACE_TABLE);
  message.chain = attribute_text(attributes, NFTA_TRACE_CHAIN);
  message.rule = be64(attributes, NFTA_TRACE_RULE_HANDLE);
  message.policy = be32(attributes, NFTA_TRACE_POLICY);
  if (const auto nested = attributes.find(NFTA_TRACE_VERDICT); nested != attributes.end()) {
    const auto verdict = parse_attributes(nested->second);
    message.verdict = be32(verdict, NFTA_VERDICT_CODE);
    message.target = attribute_text(verdict, NFTA_VERDICT_CHAIN);
  }
  message.network = bytes_of(attributes, NFTA_TRACE_NETWORK_HEADER);
  message.transport = bytes_of(attributes, NFTA_TRACE_TRANSPORT_HEADER);
  return message;
}

std::string name_of(std::uint32_t netns, const NetnsRef& ref) {
  return ref.name ? "network namespace " + *ref.name : fmt::format("network namespace {}", netns);
}

}  // namespace

RuleTracer::~RuleTracer() {
  for (auto& [netns, session] : sessions_) end(session);
}

void RuleTracer::end(Session& session) {
  loop_.unwatch(session.socket.fd());
  if (!session.remove) return;  // closing the socket does it
  switch_.run_in(session.path, [] {
    if (auto socket = NetlinkSocket::open(NETLINK_NETFILTER)) remove_trace_table(*socket);
  });
}

void RuleTracer::find_left_overs(const Live& live) {
  for (const auto& [netns, ref] : live) {
    switch_.run_in(ref.path, [&, netns = netns, &ref = ref] {
      auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
      const auto table = socket ? find_trace_table(*socket) : std::nullopt;
      if (!table || table->owned) return;
      const std::string what = fmt::format("the table inet {} that an earlier run has left in {}",
                                           kTraceTable, name_of(netns, ref));
      if (!scope_)
        say_(what + " is still there: remove it with nft delete table inet " + kTraceTable);
      else if (const int error = remove_trace_table(*socket))
        say_(fmt::format("cannot remove {}: {}", what, errno_text(error)));
      else
        say_("removed " + what);
    });
  }
}

void RuleTracer::start(std::uint32_t netns, const Live& live) {
  const auto ref = live.find(netns);
  if (!scope_ || ref == live.end() || sessions_.contains(netns) || refused_.contains(netns)) return;
  if (sessions_.size() >= kSessionsMax || refused_.size() >= kRefusedMax) return;
  // What was there before the first trace; our own table makes it a new generation.
  if (const Ruleset* rules = rules_.rules(netns, live)) note_tables(netns, *rules);
  std::string problem = "it cannot be entered";
  switch_.run_in(ref->second.path, [&] {
    auto socket = NetlinkSocket::open(NETLINK_NETFILTER);
    bool owned = false;
    int error = socket ? add_trace_table(*socket, *scope_, owned) : errno;
    const bool others = error == EEXIST;  // another droptrace's, whose messages will do
    if (error == 0 || others) {
      socket->set_receive_buffer(kReceiveBytes);
      error = socket->join(NFNLGRP_NFTRACE) ? 0 : errno;
    }
    problem = error == 0 ? "" : errno_text(error);
    if (error != 0) return;
    loop_.watch(socket->fd(), [this, netns] { read(netns, sessions_.at(netns).socket); });
    sessions_.emplace(netns, Session{ref->second.path, std::move(*socket), !owned && !others});
  });
  const std::string where = name_of(netns, ref->second);
  if (!problem.empty()) {
    refused_.insert(netns);
    say_(fmt::format("cannot trace in {}: {}", where, problem));
    return;
  }
  say_(fmt::format("tracing in {}: table inet {}, until droptrace ends", where, kTraceTable));
}

void RuleTracer::read() {
  for (auto& [netns, session] : sessions_) read(netns, session.socket);
}

void RuleTracer::read(std::uint32_t netns, NetlinkSocket& socket) {
  const auto take = [&](std::uint16_t type, std::span<const std::byte> payload) {
    if (type != nft_message_type(NFT_MSG_TRACE)) return;
    if (const auto message = parse_message(payload)) traces_.add(netns, *message, boot_ns());
  };
  if (!socket.read_events(take, kReadMax)) ++overruns_;
}

void RuleTracer::housekeep(const Live& live) {
  // An open socket would keep a deleted pod's namespace alive.
  std::erase_if(sessions_, [&](auto& each) {
    if (live.contains(each.first)) return false;
    loop_.unwatch(each.second.socket.fd());
    return true;
  });
}

// Which trace could tell more about the drop than is known.
RuleTracer::Want RuleTracer::wanted(const Record& record) const {
  using Kind = NetfilterRecord::Kind;
  const dt_layout layout = bpf_.layout();
  const Kind kind = record.netfilter ? record.netfilter->kind : Kind::kNotFound;
  if (kind == Kind::kQueueVerdict || kind == Kind::kQueueFailed)
    return record.netfilter->rule == 0 ? Want::kQueue : Want::kNothing;
  if (kind != Kind::kNotFound && kind != Kind::kXtUnknown) return Want::kNothing;
  if (is_in(layout.nft_do_chain, record.location)) return Want::kDrop;
  // Where nft_do_chain frees packets itself, its caller frees those of others.
  const bool is_of_caller =
      is_in(layout.nf_hook_slow, record.location) || is_in(layout.reinject, record.location);
  return is_of_caller && layout.frame_known == 0 ? Want::kDrop : Want::kNothing;
}

std::optional<RuleFacts> RuleTracer::attribute(Record& record, const Live& live) {
  if (!scope_) return std::nullopt;
  const Want want = wanted(record);
  const auto netns =
      record.netfilter && record.netfilter->netns ? record.netfilter->netns : record.netns;
  if (want == Want::kNothing || !netns) return std::nullopt;
  if (!sessions_.contains(*netns)) {
    start(*netns, live);
    return std::nullopt;
  }
  const auto identity = packet_identity(record.bytes);
  if (!identity) return std::nullopt;
  const auto verdict = traces_.take(*netns, *identity, want == Want::kQueue, boot_ns());
  if (!verdict) return std::nullopt;
  if (!record.netfilter) record.netfilter.emplace();
  NetfilterRecord& found = *record.netfilter;
  using Kind = NetfilterRecord::Kind;
  found.netns = netns;
  found.traced = true;
  found.rule = verdict->rule.value_or(0);
  found.path.clear();
  if (!verdict->queue) found.kind = verdict->rule ? Kind::kNftRule : Kind::kNftPolicy;
  if (verdict->queue && !found.queue) found.queue = verdict->queue;
  return describe(found, *verdict, record.boot_ns, live);
}

RuleFacts RuleTracer::describe(NetfilterRecord& found, const TracedVerdict& verdict,
                               std::uint64_t drop_ns, const Live& live) {
  RuleFacts facts;
  facts.table = verdict.table;
  facts.chain = verdict.chain;
  const Ruleset* rules = rules_.rules(*found.netns, live);
  if (!rules) return facts;
  note_tables(*found.netns, *rules);
  NetfilterRecord placed = found;
  auto named = place_verdict(placed, verdict, *rules);
  if (!named || tables_since_ns_.at({*found.netns, placed.table}) > drop_ns) return facts;
  found = std::move(placed);
  return *named;
}

void RuleTracer::note_tables(std::uint32_t netns, const Ruleset& ruleset) {
  if (tables_since_ns_.size() > kTablesMax) tables_since_ns_.clear();
  for (const Table& table : ruleset.nft)
    tables_since_ns_.try_emplace({netns, table.handle}, boot_ns());
}

}  // namespace droptrace
