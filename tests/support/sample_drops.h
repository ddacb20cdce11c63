// SPDX-License-Identifier: GPL-2.0-only
// The drops of the golden files: one of each kind that a sink shows in its own way.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/drop_builder.h"

namespace droptrace {

constexpr std::uint32_t kNodeNetns = 4026532567;
constexpr std::uint32_t kPodNetns = 4026532890;
constexpr std::uint32_t kIsn = 3141592653;
constexpr std::uint16_t kLldp = 0x88cc;

inline AttemptState attempt_state(unsigned syn, std::uint64_t age_ms) {
  return {.syn = syn,
          .dropped = syn,
          .dropped_here = syn,
          .age_ns = age_ms * 1'000'000,
          .gives_up_ns = 131'000'000'000};
}

// A client that dials a service; the node's ruleset drops each SYN once it has been sent on its
// way.
inline DropBuilder service_syn(unsigned syn, std::uint64_t age_ms) {
  return DropBuilder(
             PacketBuilder().ipv4("10.244.0.5", "10.244.0.6").tcp(40112, 8080, kTcpSyn, kIsn))
      .after_ms(static_cast<std::int64_t>(age_ms))
      .reason_value(11)
      .in_netns(kNodeNetns, "node")
      .device(7, "vetha1a1a1a1")
      .peer("netns:podA/eth0")
      .conntrack(endpoint("10.244.0.5", 40112), endpoint("10.96.100.10", 80),
                 endpoint("10.244.0.6", 8080))
      .classes(AddressClass::kPod, AddressClass::kPod)
      .netfilter(NetfilterBackend::kNfTables, Hook::kForward)
      .attempt(attempt_state(syn, age_ms));
}

inline std::vector<Drop> sample_attempt() {
  return {
      service_syn(1, 0).build(),
      service_syn(2, 1'021).build(),
      service_syn(3, 2'045).build(),
      service_syn(10, 67'581).build(),
  };
}

// Names as long as the CNI and the node make them.
inline DropBuilder policy_syn() {
  return DropBuilder(PacketBuilder()
                         .ipv4("10.244.1.123", "10.244.0.6", {.ttl = 62})
                         .tcp(54321, 8080, kTcpSyn, kIsn))
      .after_ms(70'000)
      .why("NOT_SPECIFIED", "nfqnl_reinject+0xc3")
      .reason_value(2)
      .in_netns(kNodeNetns, "node")
      .device(8, "veth5d1f3ab2")
      .peer("netns:cni-0c4d1a7e-93b5-4f6e-8f0e-5a1c2b7d9e31/eth0")
      .classes(AddressClass::kPod, AddressClass::kPod)
      .netfilter(NetfilterBackend::kNfqueue)
      .queue_owner("kindnetd")
      .attempt(attempt_state(1, 0))
      .comm("kindnetd");
}

inline std::vector<Drop> sample_tcp() {
  const Endpoint client = endpoint("10.244.0.5", 40112);
  const Endpoint service = endpoint("10.96.100.10", 80);
  const Endpoint server = endpoint("10.244.0.6", 8080);
  const auto reply = PacketBuilder().ipv4("10.244.0.6", "10.244.0.5");
  return {
      policy_syn().build(),
      DropBuilder(
          PacketBuilder().ipv4("10.244.0.5", "10.96.100.10").tcp(40113, 80, kTcpSyn | kTcpEce))
          .why("IP_INADDRERRORS", "ip_error+0x1d2")
          .in_netns(kNodeNetns, "node")
          .device(7, "vetha1a1a1a1")
          .classes(AddressClass::kPod, AddressClass::kService)
          .build(),
      DropBuilder(PacketBuilder(reply).tcp(8080, 40112, kTcpSyn | kTcpAck))
          .why("NO_SOCKET", "tcp_v4_rcv+0x9a")
          .in_netns(kPodNetns, "netns:podA")
          .device(2, "eth0")
          .peer("node/vetha1a1a1a1")
          .conntrack(client, service, server)
          .in_reply_direction()
          .build(),
      DropBuilder(PacketBuilder(reply).tcp(8080, 40112, kTcpRst | kTcpAck))
          .conntrack(client, server, server)
          .in_reply_direction()
          .build(),
      DropBuilder(PacketBuilder(reply).tcp(8080, 40112, kTcpFin | kTcpPush | kTcpAck)).build(),
      DropBuilder(PacketBuilder(reply).tcp(8080, 40112, kTcpAck)).mark(0x4000).build(),
      DropBuilder(PacketBuilder(reply).tcp(8080, 40112, kTcpPush | kTcpAck))
          .in_netns(kPodNetns, "netns:podB")
          .netfilter(NetfilterBackend::kOther, Hook::kOutput)
          .comm("curl")
          .stack({"nf_hook_slow+0xb1", "__ip_local_out+0xd5", "__tcp_transmit_skb+0x8a2"})
          .build(),
      DropBuilder(PacketBuilder(reply).tcp(8080, 40112, kTcpFin | kTcpAck))
          .why("NOT_SPECIFIED", "tcp_v4_rcv+0x5a2")
          .in_netns(kPodNetns, "netns:podA")
          .device(2, "eth0")
          .noise("end of a TCP connection")
          .build(),
  };
}

inline std::vector<Drop> sample_other_protocols() {
  return {
      DropBuilder(PacketBuilder().ipv4("10.244.0.5", "10.244.0.3").udp(51234, 53))
          .why("SOCKET_RCVBUFF", "udp_queue_rcv_one_skb+0x1f4")
          .in_netns(kPodNetns, "netns:coredns")
          .device(2, "eth0")
          .peer("node/vethb2b2b2b2")
          .conntrack(endpoint("10.244.0.5", 51234), endpoint("10.96.0.10", 53),
                     endpoint("10.244.0.3", 53), IPPROTO_UDP)
          .build(),
      DropBuilder(PacketBuilder()
                      .ipv4("10.244.0.5", "10.244.0.3", {.fragment_offset = 185})
                      .upper_layer(IPPROTO_UDP))
          .build(),
      // The connection that an ICMP error is about had NAT; the error itself goes straight.
      DropBuilder(PacketBuilder().ipv4("10.244.0.1", "10.244.0.5").icmp(3, 4))
          .conntrack(endpoint("10.244.0.5", 40112), endpoint("10.96.100.10", 80),
                     endpoint("10.244.0.6", 8080))
          .netfilter(NetfilterBackend::kOther, Hook::kOutput)
          .build(),
      DropBuilder(PacketBuilder().ipv4("10.244.0.5", "10.244.0.6").sctp(4000, 5000)).build(),
      DropBuilder(PacketBuilder().ipv4("172.18.0.2", "172.18.0.3").upper_layer(IPPROTO_GRE))
          .build(),
      DropBuilder(PacketBuilder().arp_request("10.244.0.1", "10.244.0.6"))
          .why("QDISC_DROP", "__dev_queue_xmit+0x71c")
          .in_netns(kNodeNetns, "node")
          .device(8, "vethb2b2b2b2")
          .peer("netns:podB/eth0")
          .build(),
      DropBuilder(PacketBuilder().vlan(100, kLldp)).why("UNHANDLED_PROTO", "ip_rcv+0x1").build(),
      DropBuilder(PacketBuilder()).why("3", "0xffffffff81f62e38").build(),
  };
}

inline std::vector<Drop> sample_ipv6() {
  const std::string longest = "2001:db8:1234:5678:9abc:def0:1234:";
  return {
      DropBuilder(
          PacketBuilder().ipv6("fd00:10:244::5", "fd00:10:244::6").tcp(40112, 8080, kTcpSyn, kIsn))
          .in_netns(kNodeNetns, "node")
          .device(7, "vetha1a1a1a1")
          .peer("netns:podA/eth0")
          .conntrack(endpoint("fd00:10:244::5", 40112), endpoint("fd00:10:96::a", 80),
                     endpoint("fd00:10:244::6", 8080))
          .netfilter(NetfilterBackend::kNfTables, Hook::kForward)
          .attempt(attempt_state(1, 0))
          .build(),
      DropBuilder(
          PacketBuilder().ipv6(longest + "1111", longest + "2222").tcp(54321, 10250, kTcpSyn, kIsn))
          .in_netns(kNodeNetns, "node")
          .device(7, "vetha1a1a1a1")
          .peer("netns:podA/eth0")
          .conntrack(endpoint(longest + "1111", 54321), endpoint(longest + "3333", 44321),
                     endpoint(longest + "2222", 10250))
          .netfilter(NetfilterBackend::kNfTables, Hook::kPostrouting)
          .attempt(attempt_state(1, 0))
          .build(),
      DropBuilder(PacketBuilder().ipv6("fe80::1c2d:3eff:fe4f:5a6b", "ff02::2").icmpv6(133, 0))
          .why("IPV6DISABLED", "ip6_rcv_core+0x2f1")
          .in_netns(kPodNetns, "netns:podA")
          .device(2, "eth0")
          .noise("neighbour discovery where IPv6 is off")
          .build(),
  };
}

// A client's SYN on its way through the node, and a rule that ends it.
inline DropBuilder forwarded_syn() {
  return DropBuilder(PacketBuilder()
                         .ipv4("10.244.0.5", "10.244.1.6", {.ttl = 63})
                         .tcp(40112, 8080, kTcpSyn, kIsn))
      .in_netns(kNodeNetns, "node")
      .device(7, "vetha1a1a1a1")
      .peer("netns:podA/eth0")
      .classes(AddressClass::kPod, AddressClass::kPod)
      .netfilter(NetfilterBackend::kNfTables, Hook::kForward)
      .attempt(attempt_state(1, 0));
}

inline std::vector<Drop> sample_rules() {
  return {
      forwarded_syn()
          .rule(NfFamily::kIp, 42,
                rule_facts("filter", {"FORWARD", "KUBE-FORWARD", "CLUSTER-EGRESS"}, 3,
                           "-A CLUSTER-EGRESS -d 10.244.1.0/24 -p tcp -m comment --comment "
                           "\"no egress to \\\"db\\\"\" -m tcp --dport 8080 -j DROP",
                           "no egress to \"db\""))
          .build(),
      forwarded_syn().policy(NfFamily::kIp, chain_facts("filter", "FORWARD")).build(),
      forwarded_syn()
          .rule(NfFamily::kInet, 11,
                rule_facts("firewall", {"forward"}, 1, "tcp dport 8080 counter drop"))
          .build(),
      forwarded_syn().handle(NfFamily::kIp, 4711).build(),
  };
}

// The sender was told: a client does not go on trying.
inline std::vector<Drop> sample_answers() {
  const auto told = [](AttemptState attempt) {
    attempt.gives_up_ns.reset();
    return attempt;
  };
  return {
      DropBuilder(PacketBuilder().ipv4("10.244.0.5", "10.96.12.7").tcp(40112, 8181, kTcpSyn, kIsn))
          .in_netns(kNodeNetns, "node")
          .device(7, "vetha1a1a1a1")
          .peer("netns:podA/eth0")
          .classes(AddressClass::kPod, AddressClass::kService)
          .netfilter(NetfilterBackend::kNfTables, Hook::kForward)
          .rule(NfFamily::kIp, 61,
                rule_facts("filter", {"FORWARD", "KUBE-SERVICES"}, 1,
                           "-A KUBE-SERVICES -d 10.96.12.7/32 -p tcp -m comment --comment "
                           "\"data-platform/iceberg:http has no endpoints\" -m tcp --dport 8181 "
                           "-j REJECT --reject-with icmp-port-unreachable",
                           "data-platform/iceberg:http has no endpoints"))
          .answer("icmp 3/3")
          .attempt(told(attempt_state(1, 0)))
          .build(),
      DropBuilder(PacketBuilder().ipv4("10.244.0.5", "10.244.0.6").tcp(40112, 81, kTcpSyn, kIsn))
          .why("NO_SOCKET", "tcp_v4_rcv+0x9a")
          .in_netns(kPodNetns, "netns:podB")
          .device(2, "eth0")
          .peer("node/vethb2b2b2b2")
          .classes(AddressClass::kPod, AddressClass::kPod)
          .answer("rst")
          .attempt(told(attempt_state(1, 0)))
          .build(),
  };
}

inline std::vector<Drop> sample_queues() {
  return {
      policy_syn().queue(100).build(),
      forwarded_syn()
          .why("NOT_SPECIFIED", "nf_queue+0x1a0")
          .netfilter(NetfilterBackend::kNfqueue, Hook::kPostrouting)
          .queue(101)
          .queue_failed()
          .build(),
  };
}

// A pod dials a service of its own Kubernetes namespace.
inline DropBuilder named_syn(unsigned syn, std::uint64_t age_ms) {
  return DropBuilder(
             PacketBuilder().ipv4("10.244.0.5", "10.244.0.6").tcp(40112, 8181, kTcpSyn, kIsn))
      .after_ms(static_cast<std::int64_t>(age_ms))
      .in_netns(kNodeNetns, "node")
      .device(7, "vetha1a1a1a1")
      .peer("pod:data-platform/web-7f/eth0")
      .conntrack(endpoint("10.244.0.5", 40112), endpoint("10.96.12.7", 8181),
                 endpoint("10.244.0.6", 8181))
      .pod_at("10.244.0.5", "data-platform", "web-7f")
      .pod_at("10.244.0.6", "data-platform", "iceberg-0")
      .service("data-platform/iceberg-rest:http")
      .classes(AddressClass::kPod, AddressClass::kPod)
      .netfilter(NetfilterBackend::kNfTables, Hook::kForward)
      .policy(NfFamily::kIp, chain_facts("filter", "FORWARD"))
      .attempt(attempt_state(syn, age_ms));
}

inline std::vector<Drop> sample_names() {
  const auto reply = PacketBuilder().ipv4("10.244.0.6", "10.244.0.5");
  const Endpoint client = endpoint("10.244.0.5", 40112);
  const Endpoint server = endpoint("10.244.0.6", 8181);
  return {
      named_syn(1, 0).build(),
      named_syn(2, 1'021).build(),
      // As Deployments name them.
      named_syn(1, 0)
          .peer("pod:data-platform/trino-coordinator-7d9c5b7c9d-x2x4v/eth0")
          .pod_at("10.244.0.5", "data-platform", "trino-coordinator-7d9c5b7c9d-x2x4v")
          .pod_at("10.244.0.6", "warehouse", "iceberg-rest-catalog-6c8f5d9b74-kq8zn")
          .service("warehouse/iceberg-rest-catalog:http")
          .build(),
      // The service is not known, and the endpoint was deleted.
      named_syn(1, 0)
          .conntrack(client, endpoint("10.96.12.7", 8181), server)
          .pod_at("10.244.0.6", "warehouse", "iceberg-0", /*gone=*/true)
          .build(),
      DropBuilder(PacketBuilder(reply).tcp(8181, 40112, kTcpSyn | kTcpAck))
          .why("NO_SOCKET", "tcp_v4_rcv+0x9a")
          .in_netns(kPodNetns, "pod:data-platform/web-7f")
          .device(2, "eth0")
          .peer("node/vetha1a1a1a1")
          .conntrack(client, endpoint("10.96.12.7", 8181), server)
          .in_reply_direction()
          .pod_at("10.244.0.5", "data-platform", "web-7f")
          .pod_at("10.244.0.6", "data-platform", "iceberg-0")
          .service("data-platform/iceberg-rest:http")
          .build(),
      forwarded_syn()
          .pod_at("10.244.0.5", "data", "web-0")
          .remote_pod_at("10.244.1.6", "172.18.0.3")
          .build(),
      DropBuilder(PacketBuilder().ipv4("10.244.0.1", "10.244.0.5").icmp(3, 4))
          .node_at("10.244.0.1", "kind-worker")
          .pod_at("10.244.0.5", "data", "web-0")
          .build(),
      DropBuilder(PacketBuilder().ipv4("172.18.0.2", "10.244.0.5").tcp(1024, 80, kTcpSyn))
          .in_netns(kPodNetns, "netns:4026532890")
          .where_process("nginx")
          .device(2, "eth0")
          .node_at("172.18.0.2", "kind-worker")
          .pod_at("10.244.0.5", "data", "web-0")
          .build(),
  };
}

// Names that would drive a terminal, end a JSON string, or are not UTF-8.
inline Drop hostile_drop() {
  return DropBuilder(PacketBuilder().ipv4("10.244.0.5", "10.244.0.6").udp(1, 2))
      .in_netns(kPodNetns, "netns:\x1b]0;owned\x07")
      .device(2,
              "a\"b\\c\xc2\x9b"
              "2J")
      .peer("netns:\xe2\x80\xaepod\x7f/et\xc3\xa9h0")
      .comm("\xff\xfe sh\n\xed\xa0\x80")
      .pod_at("10.244.0.5", "a\"b", "web\x1b[2J")
      .pod_at("10.244.0.6", "\xff", "x\xe2\x80\xae\\y")
      .stack({"evil\r[mod]"})
      .build();
}

inline std::vector<Drop> sample_drops() {
  std::vector<Drop> drops;
  for (const std::vector<Drop>& part :
       {sample_attempt(), sample_tcp(), sample_other_protocols(), sample_ipv6(), sample_rules(),
        sample_answers(), sample_queues(), sample_names()}) {
    drops.insert(drops.end(), part.begin(), part.end());
  }
  drops.push_back(hostile_drop());
  return drops;
}

}  // namespace droptrace
