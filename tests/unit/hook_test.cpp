// SPDX-License-Identifier: GPL-2.0-only
#include "core/hook.h"

#include <linux/netfilter.h>
#include <linux/netfilter_arp.h>
#include <linux/netfilter_bridge.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace droptrace {
namespace {

using Stack = std::vector<std::string_view>;

// The frames of one stack piece, innermost first, then those of the next.
Stack operator+(Stack inner, const Stack& outer) {
  inner.insert(inner.end(), outer.begin(), outer.end());
  return inner;
}

const Stack kNftRule = {"bpf_trace_run4", "sk_skb_reason_drop", "nft_do_chain", "nft_do_chain_inet",
                        "nf_hook_slow"};
const Stack kLegacyRule = {"bpf_trace_run3", "kfree_skb_reason", "nf_hook_slow"};
const Stack kFreed = {"bpf_trace_run4", "sk_skb_reason_drop"};
const Stack kReceive = {"__netif_receive_skb_one_core", "process_backlog", "__napi_poll",
                        "net_rx_action", "handle_softirqs"};
const Stack kSoftirqOfSender = {"do_softirq.part.0", "__local_bh_enable_ip", "__dev_queue_xmit",
                                "ip_finish_output2", "ip_output"};
const Stack kUdpSend = {"ip_send_skb",
                        "udp_send_skb",
                        "udp_sendmsg",
                        "__sys_sendto",
                        "__x64_sys_sendto",
                        "do_syscall_64",
                        "entry_SYSCALL_64_after_hwframe"};
const Stack kTcpConnect = {"__ip_queue_xmit",       "__tcp_transmit_skb",
                           "tcp_connect",           "tcp_v4_connect",
                           "__inet_stream_connect", "inet_stream_connect",
                           "__sys_connect",         "__x64_sys_connect",
                           "do_syscall_64",         "entry_SYSCALL_64_after_hwframe"};
const Stack kTimerInterrupt = {"handle_softirqs", "__irq_exit_rcu", "sysvec_apic_timer_interrupt",
                               "asm_sysvec_apic_timer_interrupt"};

TEST_CASE("hooks are named as nft spells them") {
  CHECK(to_string(Hook::kPrerouting) == "prerouting");
  CHECK(to_string(Hook::kInput) == "input");
  CHECK(to_string(Hook::kForward) == "forward");
  CHECK(to_string(Hook::kOutput) == "output");
  CHECK(to_string(Hook::kPostrouting) == "postrouting");
  CHECK(to_string(Hook::kIngress) == "ingress");
  CHECK(to_string(Hook::kEgress) == "egress");
}

TEST_CASE("the function that runs the hook tells which one it is") {
  struct {
    std::string_view function;
    Hook hook;
  } const cases[] = {
      {"ip_rcv", Hook::kPrerouting},         {"ipv6_rcv", Hook::kPrerouting},
      {"ip_sublist_rcv", Hook::kPrerouting}, {"ip_local_deliver", Hook::kInput},
      {"ip6_input", Hook::kInput},           {"arp_rcv", Hook::kInput},
      {"ip_forward", Hook::kForward},        {"ip6_forward", Hook::kForward},
      {"__ip_local_out", Hook::kOutput},     {"__ip6_local_out", Hook::kOutput},
      {"ip6_xmit", Hook::kOutput},           {"raw_sendmsg", Hook::kOutput},
      {"ndisc_send_skb", Hook::kOutput},     {"arp_xmit", Hook::kOutput},
      {"ip_output", Hook::kPostrouting},     {"ip_mc_output", Hook::kPostrouting},
      {"ip6_output", Hook::kPostrouting},    {"__netif_receive_skb_core", Hook::kIngress},
      {"__dev_queue_xmit", Hook::kEgress},   {"nf_hook_direct_egress", Hook::kEgress},
  };
  for (const auto& test : cases) {
    CAPTURE(test.function);
    CHECK(hook_of_stack(kNftRule + Stack{test.function} + kReceive) == test.hook);
    CHECK(hook_of_stack(kLegacyRule + Stack{test.function} + kReceive) == test.hook);
  }
}

TEST_CASE("what the compiler appended to a name does not hide it") {
  for (const std::string_view suffix : {".isra.0", ".constprop.0", ".part.0", ".cold"}) {
    const std::string caller = "__netif_receive_skb_core" + std::string(suffix);
    const std::string hook = "nf_hook_slow" + std::string(suffix);
    CHECK(hook_of_stack({hook, caller}) == Hook::kIngress);
  }
}

TEST_CASE("an outlined NF_HOOK between hook and caller is passed over") {
  CHECK(hook_of_stack(kNftRule + Stack{"NF_HOOK.constprop.0", "mld_sendpack", "mld_ifc_work"}) ==
        Hook::kOutput);
}

TEST_CASE("lists of packets have their own way into a hook") {
  CHECK(hook_of_stack({"nft_do_chain", "nft_do_chain_ipv4", "nf_hook_slow", "nf_hook_slow_list",
                       "ip_sublist_rcv", "ip_list_rcv"}) == Hook::kPrerouting);
}

TEST_CASE("a packet that nobody takes off its queue is dropped in the hook that queued it") {
  CHECK(hook_of_stack(kFreed + Stack{"nf_queue", "nf_hook_slow", "__ip_local_out"} + kUdpSend) ==
        Hook::kOutput);
}

TEST_CASE("the innermost hook is the packet's, not that of the packet which caused it") {
  SUBCASE("the answer of a REJECT rule, dropped on its way out") {
    const Stack reject = {"__ip_local_out",       "ip_local_out", "nf_send_reset",
                          "nft_reject_inet_eval", "nft_do_chain", "nft_do_chain_inet",
                          "nf_hook_slow",         "ip_forward"};
    CHECK(hook_of_stack(kNftRule + reject + kReceive) == Hook::kOutput);
  }
  SUBCASE("received in the softirq of its own sender") {
    CHECK(hook_of_stack(kNftRule + Stack{"ip_rcv"} + kReceive + kSoftirqOfSender + kUdpSend) ==
          Hook::kPrerouting);
  }
  SUBCASE("forwarded and about to leave") {
    CHECK(hook_of_stack(kNftRule + Stack{"ip_output", "ip_forward", "ip_rcv"} + kReceive) ==
          Hook::kPostrouting);
  }
}

TEST_CASE("a function that frees a packet by itself is in no hook") {
  for (const std::string_view function :
       {"ip_rcv", "ip_forward", "ip_output", "__dev_queue_xmit"}) {
    CAPTURE(function);
    CHECK(hook_of_stack(kFreed + Stack{function} + kReceive) == std::nullopt);
    CHECK(hook_of_stack(kFreed + Stack{function, "nf_send_reset"} + kNftRule +
                        Stack{"ip_local_deliver"}) == std::nullopt);
  }
}

TEST_CASE("a packet past its hook is not in the hook of an outer packet") {
  SUBCASE("the answer of a REJECT rule has no neighbour") {
    CHECK(hook_of_stack(kFreed +
                        Stack{"neigh_resolve_output", "ip_finish_output2", "nf_send_reset"} +
                        kNftRule + Stack{"ip_forward"}) == std::nullopt);
  }
  SUBCASE("a bridge passes a packet up to a closed port") {
    CHECK(hook_of_stack(kFreed + Stack{"tcp_v4_rcv", "ip_protocol_deliver_rcu",
                                       "ip_local_deliver_finish", "ip_sabotage_in", "nf_hook_slow",
                                       "ip_rcv"}) == std::nullopt);
    CHECK(hook_of_stack(kFreed + Stack{"ip6_mc_input", "ip_sabotage_in", "nf_hook_slow",
                                       "ipv6_rcv"}) == std::nullopt);
  }
}

TEST_CASE("an NFQUEUE verdict runs on its listener's stack, which names no hook") {
  CHECK(hook_of_stack({"nfqnl_reinject", "nfqnl_recv_verdict", "nfnetlink_rcv_msg",
                       "netlink_rcv_skb", "nfnetlink_rcv", "netlink_unicast", "netlink_sendmsg",
                       "__sys_sendto", "__x64_sys_sendto", "do_syscall_64"}) == std::nullopt);
}

TEST_CASE("the hooks of a bridge") {
  const Stack bridge = {"nft_do_chain", "nft_do_chain_bridge"};
  const Stack port = Stack{"br_handle_frame", "__netif_receive_skb_core.constprop.0"} + kReceive;
  const Stack prerouted =
      Stack{"br_nf_hook_thresh", "br_nf_pre_routing_finish", "br_nf_pre_routing"} + port;

  SUBCASE("prerouting runs without nf_hook_slow") {
    CHECK(hook_of_stack(bridge + port) == Hook::kPrerouting);
  }
  SUBCASE("iptables' prerouting, called by br_netfilter") {
    CHECK(hook_of_stack(kLegacyRule + Stack{"br_nf_pre_routing"} + port) == Hook::kPrerouting);
  }
  SUBCASE("input") {
    CHECK(hook_of_stack(bridge +
                        Stack{"nf_hook_slow", "br_pass_frame_up", "br_handle_frame_finish"} +
                        prerouted) == Hook::kInput);
  }
  SUBCASE("forward") {
    const Stack forward = Stack{"nf_hook_slow", "__br_forward", "br_handle_frame_finish"};
    CHECK(hook_of_stack(bridge + forward + prerouted) == Hook::kForward);
    CHECK(hook_of_stack(kLegacyRule + Stack{"br_nf_forward_ip.part.0"} + forward + prerouted) ==
          Hook::kForward);
  }
  SUBCASE("output shares its function with forward") {
    CHECK(hook_of_stack(bridge +
                        Stack{"nf_hook_slow", "__br_forward", "br_dev_xmit", "dev_hard_start_xmit",
                              "__dev_queue_xmit", "ip_finish_output2", "ip_output"} +
                        kUdpSend) == Hook::kOutput);
  }
  SUBCASE("postrouting") {
    CHECK(hook_of_stack(bridge +
                        Stack{"nf_hook_slow", "br_forward_finish", "br_nf_hook_thresh",
                              "br_nf_forward_finish"} +
                        prerouted) == Hook::kPostrouting);
    CHECK(hook_of_stack(kLegacyRule + Stack{"br_nf_post_routing", "nf_hook_slow",
                                            "br_forward_finish"}) == Hook::kPostrouting);
  }
}

TEST_CASE("IPVS sends from within a hook") {
  CHECK(hook_of_stack(kNftRule + Stack{"ip_vs_nat_xmit", "ip_vs_in_hook", "nf_hook_slow",
                                       "ip_local_deliver"}) == Hook::kOutput);
}

TEST_CASE("no stack, or none of a known function, tells no hook") {
  CHECK(hook_of_stack({}) == std::nullopt);
  CHECK(hook_of_stack({"", ""}) == std::nullopt);
  CHECK(hook_of_stack(kNftRule) == std::nullopt);
}

TEST_CASE("a drop in the task's own system call is in process context") {
  CHECK(in_process_context(kNftRule + Stack{"__ip_local_out"} + kUdpSend));
  CHECK(in_process_context(kNftRule + Stack{"__ip_local_out", "ip_local_out"} + kTcpConnect));
  CHECK(in_process_context({"nfqnl_reinject", "netlink_sendmsg", "__sys_sendmsg",
                            "__arm64_sys_sendmsg", "invoke_syscall", "el0_svc_common.constprop.0",
                            "do_el0_svc", "el0_svc"}));
}

TEST_CASE("a stack that is cut off in the system call is in process context") {
  CHECK(in_process_context({"nft_do_chain", "nf_hook_slow", "ip_output", "__sys_connect"}));
}

TEST_CASE("a drop in a softirq says nothing of the task that it interrupted") {
  CHECK_FALSE(in_process_context(kNftRule + Stack{"ip_forward"} + kReceive + kTimerInterrupt));
  CHECK_FALSE(in_process_context({"neigh_invalidate", "neigh_timer_handler", "call_timer_fn",
                                  "__run_timers", "__do_softirq", "irq_exit_rcu"}));
  CHECK_FALSE(in_process_context(kFreed + kTimerInterrupt + kUdpSend));
}

TEST_CASE("a packet received in the softirq of a system call is not the task's") {
  CHECK_FALSE(
      in_process_context(kNftRule + Stack{"ip_rcv"} + kReceive + kSoftirqOfSender + kUdpSend));
  CHECK_FALSE(in_process_context({"tcp_v4_rcv", "ip_rcv", "virtnet_poll", "__napi_busy_loop",
                                  "napi_busy_loop", "__sys_recvfrom", "do_syscall_64"}));
}

TEST_CASE("kernel threads and unknown stacks are not in process context") {
  CHECK_FALSE(in_process_context({}));
  CHECK_FALSE(in_process_context(kNftRule + Stack{"mld_sendpack", "process_one_work",
                                                  "worker_thread", "kthread", "ret_from_fork"}));
}

TEST_CASE("the kernel's numbers of hooks mean other hooks in other families") {
  struct Case {
    unsigned family;
    unsigned number;
    Hook hook;
  };
  constexpr Case kCases[] = {
      {NFPROTO_IPV4, NF_INET_PRE_ROUTING, Hook::kPrerouting},
      {NFPROTO_IPV4, NF_INET_LOCAL_IN, Hook::kInput},
      {NFPROTO_IPV6, NF_INET_FORWARD, Hook::kForward},
      {NFPROTO_IPV6, NF_INET_LOCAL_OUT, Hook::kOutput},
      {NFPROTO_INET, NF_INET_POST_ROUTING, Hook::kPostrouting},
      {NFPROTO_INET, NF_INET_INGRESS, Hook::kIngress},
      {NFPROTO_BRIDGE, NF_BR_PRE_ROUTING, Hook::kPrerouting},
      {NFPROTO_BRIDGE, NF_BR_LOCAL_IN, Hook::kInput},
      {NFPROTO_BRIDGE, NF_BR_FORWARD, Hook::kForward},
      {NFPROTO_BRIDGE, NF_BR_LOCAL_OUT, Hook::kOutput},
      {NFPROTO_BRIDGE, NF_BR_POST_ROUTING, Hook::kPostrouting},
      {NFPROTO_ARP, NF_ARP_IN, Hook::kInput},
      {NFPROTO_ARP, NF_ARP_OUT, Hook::kOutput},
      {NFPROTO_ARP, NF_ARP_FORWARD, Hook::kForward},
      {NFPROTO_NETDEV, NF_NETDEV_INGRESS, Hook::kIngress},
      {NFPROTO_NETDEV, NF_NETDEV_EGRESS, Hook::kEgress},
  };
  for (const Case& each : kCases) {
    CAPTURE(each.family);
    CAPTURE(each.number);
    CHECK(hook_from_number(each.family, each.number) == each.hook);
  }
}

TEST_CASE("a number behind a family's last hook is no hook") {
  CHECK_FALSE(hook_from_number(NFPROTO_IPV4, NF_INET_INGRESS + 1).has_value());
  CHECK_FALSE(hook_from_number(NFPROTO_ARP, NF_ARP_NUMHOOKS).has_value());
  CHECK_FALSE(hook_from_number(NFPROTO_NETDEV, NF_NETDEV_EGRESS + 1).has_value());
}

}  // namespace
}  // namespace droptrace
