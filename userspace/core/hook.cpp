// SPDX-License-Identifier: GPL-2.0-only
#include "core/hook.h"

#include <linux/netfilter.h>

#include <algorithm>
#include <iterator>
#include <span>

namespace droptrace {
namespace {

// Where a packet is while one of these functions is the innermost of them on the stack.
struct Place {
  std::string_view function;
  std::optional<Hook> hook;  // that the function runs; nullopt: it continues behind one
};

// The functions that have a NF_HOOK (Linux 5.10 to 6.18), and those that call them where the
// compiler is free to inline. __br_forward is not here: it serves two hooks, and its callers tell
// which. The last ones continue behind a hook, often by a jump, so that the function that ran it
// has left the stack: they keep a hook further out from being taken for this packet's.
constexpr Place kPlaces[] = {
    {"ip_rcv", Hook::kPrerouting},
    {"ip_list_rcv", Hook::kPrerouting},
    {"ip_sublist_rcv", Hook::kPrerouting},
    {"ipv6_rcv", Hook::kPrerouting},
    {"ipv6_list_rcv", Hook::kPrerouting},
    {"ip6_sublist_rcv", Hook::kPrerouting},
    {"xfrm4_transport_finish", Hook::kPrerouting},
    {"xfrm6_transport_finish", Hook::kPrerouting},
    {"br_handle_frame", Hook::kPrerouting},
    {"br_nf_pre_routing", Hook::kPrerouting},
    {"br_nf_pre_routing_ipv6", Hook::kPrerouting},
    {"br_nf_pre_routing_finish", Hook::kPrerouting},
    {"br_nf_pre_routing_finish_ipv6", Hook::kPrerouting},

    {"ip_local_deliver", Hook::kInput},
    {"ip6_input", Hook::kInput},
    {"arp_rcv", Hook::kInput},
    {"br_pass_frame_up", Hook::kInput},

    {"ip_forward", Hook::kForward},
    {"ip6_forward", Hook::kForward},
    {"ip_mr_forward", Hook::kForward},
    {"ip6_mr_forward", Hook::kForward},
    {"br_handle_frame_finish", Hook::kForward},
    {"br_nf_forward", Hook::kForward},
    {"br_nf_forward_ip", Hook::kForward},
    {"br_nf_forward_arp", Hook::kForward},
    {"br_nf_forward_finish", Hook::kForward},

    {"__ip_local_out", Hook::kOutput},
    {"__ip6_local_out", Hook::kOutput},
    {"ip6_xmit", Hook::kOutput},
    {"raw_send_hdrinc", Hook::kOutput},
    {"raw_sendmsg", Hook::kOutput},
    {"rawv6_send_hdrinc", Hook::kOutput},
    {"rawv6_sendmsg", Hook::kOutput},
    {"ndisc_send_skb", Hook::kOutput},
    {"igmp6_send", Hook::kOutput},
    {"mld_sendpack", Hook::kOutput},
    {"ip_vs_nat_send_or_cont", Hook::kOutput},
    {"ip_vs_nat_xmit", Hook::kOutput},
    {"ip_vs_nat_xmit_v6", Hook::kOutput},
    {"ip_vs_icmp_xmit", Hook::kOutput},
    {"ip_vs_icmp_xmit_v6", Hook::kOutput},
    {"arp_xmit", Hook::kOutput},
    {"br_dev_xmit", Hook::kOutput},

    {"ip_output", Hook::kPostrouting},
    {"ip_mc_output", Hook::kPostrouting},
    {"ip6_output", Hook::kPostrouting},
    {"xfrm4_output", Hook::kPostrouting},
    {"xfrm6_output", Hook::kPostrouting},
    {"xfrm_output_resume", Hook::kPostrouting},
    {"br_forward_finish", Hook::kPostrouting},
    {"br_nf_post_routing", Hook::kPostrouting},

    {"__netif_receive_skb_core", Hook::kIngress},
    {"__dev_queue_xmit", Hook::kEgress},
    {"nf_hook_direct_egress", Hook::kEgress},

    {"__netif_receive_skb_one_core", std::nullopt},
    {"ip_sabotage_in", std::nullopt},
    {"ip_local_deliver_finish", std::nullopt},
    {"ip6_input_finish", std::nullopt},
    {"ip_finish_output", std::nullopt},
    {"__ip_finish_output", std::nullopt},
    {"ip_finish_output2", std::nullopt},
    {"ip6_finish_output", std::nullopt},
    {"__ip6_finish_output", std::nullopt},
    {"ip6_finish_output2", std::nullopt},
    {"br_dev_queue_push_xmit", std::nullopt},
};

// Busy polling is among them: its system call receives whatever packets the device has.
constexpr std::string_view kInterruptPrefixes[] = {
    "handle_softirqs", "__do_softirq",  "do_softirq",       "run_ksoftirqd", "irq_exit",
    "__irq_exit",      "asm_",          "sysvec_",          "net_rx_action", "__napi_poll",
    "napi_busy_loop",  "call_timer_fn", "__napi_busy_loop",
};

constexpr std::string_view kSystemCallPrefixes[] = {
    "__sys_",           "__do_sys_",          "__se_sys_",      "__x64_sys_",    "__ia32_sys_",
    "__arm64_sys_",     "x64_sys_call",       "do_syscall_64",  "entry_SYSCALL", "do_fast_syscall_",
    "do_int80_syscall", "__do_fast_syscall_", "invoke_syscall", "el0_svc",       "do_el0_svc",
};

// Without what the compiler appended to the copy it made: .isra.0, .constprop.0, .part.0, .cold.
std::string_view source_name(std::string_view symbol) { return symbol.substr(0, symbol.find('.')); }

// Every hook is run by nf_hook_slow() but the bridge's prerouting: since Linux 5.2 (971502d77faa)
// br_handle_frame() itself calls what is registered there.
bool runs_in_hook(std::string_view symbol) {
  return symbol.starts_with("nf_hook_slow") || symbol.starts_with("nft_do_chain");
}

bool has_prefix(std::string_view symbol, std::span<const std::string_view> prefixes) {
  return std::ranges::any_of(prefixes, [&](auto prefix) { return symbol.starts_with(prefix); });
}

}  // namespace

std::string_view to_string(Hook hook) {
  switch (hook) {
    case Hook::kPrerouting:
      return "prerouting";
    case Hook::kInput:
      return "input";
    case Hook::kForward:
      return "forward";
    case Hook::kOutput:
      return "output";
    case Hook::kPostrouting:
      return "postrouting";
    case Hook::kIngress:
      return "ingress";
    case Hook::kEgress:
      return "egress";
  }
  return {};
}

std::optional<Hook> hook_from_number(unsigned nfproto, unsigned number) {
  static constexpr Hook kInet[] = {Hook::kPrerouting, Hook::kInput,       Hook::kForward,
                                   Hook::kOutput,     Hook::kPostrouting, Hook::kIngress};
  static constexpr Hook kArp[] = {Hook::kInput, Hook::kOutput, Hook::kForward};
  static constexpr Hook kNetdev[] = {Hook::kIngress, Hook::kEgress};
  const std::span<const Hook> hooks = nfproto == NFPROTO_NETDEV ? std::span<const Hook>(kNetdev)
                                      : nfproto == NFPROTO_ARP  ? std::span<const Hook>(kArp)
                                      : nfproto == NFPROTO_BRIDGE
                                          ? std::span<const Hook>(kInet).first(5)  // then BROUTING
                                          : std::span<const Hook>(kInet);
  if (number >= hooks.size()) return std::nullopt;
  return hooks[number];
}

std::optional<Hook> hook_of_stack(const std::vector<std::string_view>& stack) {
  bool in_hook = false;
  for (const std::string_view symbol : stack) {
    in_hook = in_hook || runs_in_hook(symbol);
    const auto place = std::ranges::find(kPlaces, source_name(symbol), &Place::function);
    if (place == std::end(kPlaces)) continue;
    // Outside of its hook a function frees packets for reasons of its own.
    return in_hook ? place->hook : std::nullopt;
  }
  return std::nullopt;
}

bool in_process_context(const std::vector<std::string_view>& stack) {
  for (const std::string_view symbol : stack) {
    if (has_prefix(symbol, kInterruptPrefixes)) return false;
    if (has_prefix(symbol, kSystemCallPrefixes)) return true;
  }
  return false;
}

}  // namespace droptrace
