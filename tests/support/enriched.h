// SPDX-License-Identifier: GPL-2.0-only
// A small kernel and a node with one pod, for tests of what enrich() adds to a record.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "core/enrich.h"
#include "tests/support/record_builder.h"

namespace droptrace {

constexpr std::uint32_t kNotSpecified = 2;
constexpr std::uint32_t kNetfilterDrop = 12;
constexpr std::uint32_t kQueuePurge = 77;

constexpr std::uint32_t kNode = 4026531840;
constexpr std::uint32_t kPod = 4026532700;

using Stack = std::vector<std::string_view>;

// Above what freed the packet, outwards.
inline const Stack kForwarding = {"ip_forward", "ip_rcv", "net_rx_action", "handle_softirqs"};
inline const Stack kSystemCall = {"nfqnl_recv_verdict", "netlink_sendmsg", "__x64_sys_sendmsg"};

// A kernel that has these functions, one every 4 KiB.
constexpr std::string_view kFunctions[] = {
    "bpf_trace_run3",
    "sk_skb_reason_drop",
    "nft_do_chain",
    "nft_do_chain.cold",
    "nf_hook_slow",
    "nf_queue",
    "nfqnl_reinject",
    "nf_reinject",
    "br_nf_forward_ip",
    "tcp_v4_rcv",
    "inet_sock_destruct",
    "ip_forward",
    "ip_rcv",
    "net_rx_action",
    "handle_softirqs",
    "nfqnl_recv_verdict",
    "netlink_sendmsg",
    "__x64_sys_sendmsg",
    "process_one_work",
    "nft_reject_ipv4_eval",
    "ipv4_conntrack_defrag",
    "ipv4_conntrack_in",
    "nf_confirm",
    "nf_nat_ipv4_out",
    "ipt_do_table",
    "nft_do_chain_ipv4",
};

// A return address inside the function.
inline std::uint64_t address_in(std::string_view function) {
  std::uint64_t address = 0xffffffff81000000;
  for (const std::string_view known : kFunctions) {
    if (known == function) return address + 0x3e8;
    address += 0x1000;
  }
  FAIL("no such function: ", function);
  return 0;
}

inline std::uint64_t start_of(std::string_view function) { return address_in(function) - 0x3e8; }

inline KernelNames kernel_names() {
  SymbolsBuilder symbols;
  for (const std::string_view function : kFunctions) {
    symbols.add(fmt::format("{:x} t {}\n", start_of(function), function));
  }
  return {DropReasons({{"skb_drop_reason",
                        {{"SKB_DROP_REASON_NOT_SPECIFIED", kNotSpecified},
                         {"SKB_DROP_REASON_NETFILTER_DROP", kNetfilterDrop},
                         {"SKB_DROP_REASON_QUEUE_PURGE", kQueuePurge}}}}),
          std::move(symbols).build()};
}

inline World node_and_pod() {
  World world;
  world.own_netns = kNode;
  world.service_cidrs.cidrs = {parse_cidr("10.96.0.0/12").value()};
  world.pod_cidrs.cidrs = {parse_cidr("10.244.0.0/16").value()};

  auto node = std::make_shared<Netns>();
  node->where = "node";
  node->links[7] = {"vetha1", "veth", Peer{2, kPod}};
  node->addresses = {parse_address("10.244.0.1").value()};
  world.namespaces[kNode] = node;

  auto pod = std::make_shared<Netns>();
  pod->where = "netns:podA";
  pod->links[2] = {"eth0", "veth", Peer{7, kNode}};
  pod->addresses = {parse_address("10.244.0.5").value()};
  pod->syn_timers = SynTimers{.retries = 6, .linear_timeouts = 4};
  world.namespaces[kPod] = pod;
  return world;
}

inline PacketBuilder tcp(std::uint8_t flags) {
  return PacketBuilder{}.ipv4("10.244.0.5", "10.244.0.6").tcp(40112, 8080, flags, 7);
}

inline PacketBuilder syn() { return tcp(kTcpSyn); }

// A packet freed by a function below these callers; the tracer's own frames come first.
inline RecordBuilder freed_by(std::string_view function, const Stack& callers,
                              std::uint32_t reason = kNetfilterDrop) {
  std::vector<std::uint64_t> stack = {address_in("bpf_trace_run3"),
                                      address_in("sk_skb_reason_drop"), address_in(function)};
  for (const std::string_view caller : callers) stack.push_back(address_in(caller));
  return RecordBuilder{}.reason(reason).location(address_in(function)).stack(stack).packet(syn());
}

inline Drop enriched(const RecordBuilder& record, const EnrichOptions& options = {}) {
  return enrich(decode_drop(record.bytes()).value(), node_and_pod(), kernel_names(), options);
}

}  // namespace droptrace
