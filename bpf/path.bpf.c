// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way of a connection attempt: each device that its SYN or the answer passes, and what becomes
 * of its socket. An object of its own, with a ring of its own, so that a flood of SYNs costs no
 * record of a drop. All of it is joined in user space, by the client's initial sequence number.
 *
 * Three of these programs see every packet: they leave at the first test that fails.
 */
#include "skb.bpf.h"

#include "droptrace/path.h"

char LICENSE[] SEC("license") = "GPL";

const volatile struct dt_path_config dt_path_config = {.wakeup_bytes = 256 * 1024};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
} dt_path_records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dt_path_stats);
} dt_path_stats SEC(".maps");

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPV4_LENGTH 20
#define IPV6_LENGTH 40
#define TCP_LENGTH 20
/* No SYN, SYN-ACK or reset without data is longer, with a MAC header and all options. */
#define LONGEST 160

#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* include/net/tcp_states.h */
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_CLOSE 7

#define NF_INET_LOCAL_OUT 3
#define NF_PASSED 1 /* nf_hook_slow(): all hook functions said accept */

/* A segment's headers, of which IPv6 needs the most. */
struct segment {
	__u8 ip[IPV6_LENGTH + TCP_LENGTH];
	__u8 tcp[TCP_LENGTH];
};

/* Where a hop is. */
struct stop {
	__u64 net; /* struct net * as a number */
	const struct net_device *dev;
	__u32 netns;
	__u32 event; /* enum dt_hop_event */
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 hook;
};

static __always_inline __u32 number_at(const __u8 *bytes)
{
	return (__u32)bytes[0] << 24 | (__u32)bytes[1] << 16 | (__u32)bytes[2] << 8 | bytes[3];
}

/*
 * A SYN, a SYN-ACK, or the reset that answers a SYN, which alone has the sequence number 0
 * (RFC 9293, 3.5.2).
 */
static __always_inline bool concerns_attempt(const __u8 *tcp)
{
	__u8 flags = tcp[13];

	if (flags & TCP_SYN)
		return !(flags & TCP_RST);
	return (flags & (TCP_RST | TCP_ACK)) == (TCP_RST | TCP_ACK) && !number_at(tcp + 4);
}

/* Reads the headers, and returns whether it is a segment of interest. */
static __always_inline bool read_segment(struct segment *segment, const unsigned char *header,
					 __u16 protocol)
{
	__u32 length;

	if (protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_probe_read_kernel(segment->ip, IPV4_LENGTH + TCP_LENGTH, header))
			return false;
		if (segment->ip[9] != IPPROTO_TCP || (segment->ip[6] & 0x1f) || segment->ip[7])
			return false;
		length = (segment->ip[0] & 0xf) * 4;
		if (length == IPV4_LENGTH)
			__builtin_memcpy(segment->tcp, segment->ip + IPV4_LENGTH, TCP_LENGTH);
		else if (bpf_probe_read_kernel(segment->tcp, TCP_LENGTH, header + length))
			return false;
	} else if (protocol == bpf_htons(ETH_P_IPV6)) {
		if (bpf_probe_read_kernel(segment->ip, IPV6_LENGTH + TCP_LENGTH, header))
			return false;
		if (segment->ip[6] != IPPROTO_TCP)
			return false;
		__builtin_memcpy(segment->tcp, segment->ip + IPV6_LENGTH, TCP_LENGTH);
	} else {
		return false;
	}
	return concerns_attempt(segment->tcp);
}

/*
 * In the node's namespaces every attempt is followed: which of them is the cluster's business can
 * show later on its way, when NAT has been there.
 */
static __always_inline bool is_watched(__u32 netns, const struct dt_tuple *tuple,
				       const struct dt_tuple *original)
{
	__u32 watch = dt_path_config.filter_cidrs ? DT_WATCH_CLUSTER : 0;

	if (dt_path_config.filter_netns) {
		__u8 *of_netns = bpf_map_lookup_elem(&dt_netns, &netns);

		if (!of_netns)
			return false;
		watch = *of_netns & DT_WATCH_OWN;
	}
	return !watch || tuple_is_watched(tuple, watch) || tuple_is_watched(original, watch);
}

static __always_inline struct dt_hop *reserve_hop(void)
{
	struct dt_path_stats *stats;
	struct dt_hop *hop;
	__u32 zero = 0;

	stats = bpf_map_lookup_elem(&dt_path_stats, &zero);
	if (!stats)
		return NULL;
	hop = bpf_ringbuf_reserve(&dt_path_records, sizeof(*hop), 0);
	if (!hop) {
		stats->lost++;
		return NULL;
	}
	stats->recorded++;
	__builtin_memset(hop, 0, sizeof(*hop));
	hop->time_ns = bpf_ktime_get_boot_ns();
	return hop;
}

static __always_inline void submit_hop(struct dt_hop *hop)
{
	bool full = bpf_ringbuf_query(&dt_path_records, BPF_RB_AVAIL_DATA) >=
		    dt_path_config.wakeup_bytes;

	bpf_ringbuf_submit(hop, full ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

static __always_inline void read_addresses(const struct segment *segment, struct dt_tuple *tuple)
{
	tuple->protocol = IPPROTO_TCP;
	if (segment->ip[0] >> 4 == 4) {
		tuple->family = AF_INET;
		__builtin_memcpy(tuple->src, segment->ip + 12, 4);
		__builtin_memcpy(tuple->dst, segment->ip + 16, 4);
	} else {
		tuple->family = AF_INET6;
		__builtin_memcpy(tuple->src, segment->ip + 8, 16);
		__builtin_memcpy(tuple->dst, segment->ip + 24, 16);
	}
	__builtin_memcpy(&tuple->sport, segment->tcp, 2);
	__builtin_memcpy(&tuple->dport, segment->tcp + 2, 2);
}

static __always_inline void record_segment(const struct sk_buff *skb, const struct segment *segment,
					   const struct stop *stop)
{
	struct dt_tuple tuple = {}, original = {};
	__u32 unused = 0, netns = stop->netns;
	const struct net_device *dev = stop->dev;
	struct dt_hop *hop;
	struct nf_conn *ct;
	__u8 flags;

	read_addresses(segment, &tuple);
	ct = conntrack_of(skb, &unused);
	if (ct && (BPF_CORE_READ(ct, status) & IPS_NAT_MASK))
		read_tuple(&ct->tuplehash[0].tuple, &original);
	if (!is_watched(netns, &tuple, &original))
		return;
	hop = reserve_hop();
	if (!hop)
		return;
	flags = segment->tcp[13];
	hop->netns = netns;
	hop->event = stop->event;
	hop->icmp_type = stop->icmp_type;
	hop->icmp_code = stop->icmp_code;
	hop->hook = stop->hook;
	hop->tcp_flags = flags;
	hop->isn = flags & TCP_ACK ? number_at(segment->tcp + 8) - 1 : number_at(segment->tcp + 4);
	hop->tuple = tuple;
	if (original.family) {
		hop->original = original;
		hop->flags = DT_HOP_HAS_ORIGINAL;
	}
	if (tuple.family == AF_INET) {
		hop->ttl = segment->ip[8];
		hop->length = segment->ip[2] << 8 | segment->ip[3];
	} else {
		hop->ttl = segment->ip[7];
		hop->length = (segment->ip[4] << 8 | segment->ip[5]) + IPV6_LENGTH;
	}
	if (dev) {
		hop->ifindex = BPF_CORE_READ(dev, ifindex);
		BPF_CORE_READ_STR_INTO(&hop->ifname, dev, name);
	}
	submit_hop(hop);
}

SEC("?tp_btf/net_dev_start_xmit")
int BPF_PROG(dt_path_transmit, const struct sk_buff *skb, const struct net_device *dev)
{
	struct segment segment;
	struct stop stop = {.event = DT_HOP_TRANSMIT};

	if (skb->len > LONGEST)
		return 0;
	if (!read_segment(&segment, skb->head + skb->network_header, skb->protocol))
		return 0;
	stop.dev = dev;
	stop.netns = dev->nd_net.net->ns.inum;
	record_segment(skb, &segment, &stop);
	return 0;
}

/* The network header is where the data begins, and is only noted as such in a moment. */
SEC("?tp_btf/netif_receive_skb")
int BPF_PROG(dt_path_receive, struct sk_buff *skb)
{
	struct segment segment;
	struct stop stop = {.event = DT_HOP_RECEIVE};

	if (skb->len > LONGEST)
		return 0;
	if (!read_segment(&segment, skb->data, skb->protocol))
		return 0;
	stop.dev = skb->dev;
	stop.netns = skb->dev->nd_net.net->ns.inum;
	record_segment(skb, &segment, &stop);
	return 0;
}

/*
 * All functions at the hook have let it pass: otherwise it may be freed already. Where fexit
 * programs are allowed; a packet that comes out of an NFQUEUE goes another way.
 */
SEC("?fexit/nf_hook_slow")
int BPF_PROG(dt_path_hook, const struct sk_buff *skb, const struct nf_hook_state *state,
	     const void *entries, unsigned int start, int verdict)
{
	struct segment segment;
	struct stop stop = {.event = DT_HOP_HOOK};

	if (verdict != NF_PASSED || skb->len > LONGEST)
		return 0;
	if (state->pf != NFPROTO_IPV4 && state->pf != NFPROTO_IPV6)
		return 0;
	if (!read_segment(&segment, skb->head + skb->network_header, skb->protocol))
		return 0;
	stop.hook = state->hook;
	/* A packet that is forwarded still has the device it came by where it leaves. */
	stop.dev = state->hook < NF_INET_LOCAL_OUT ? state->in : state->out;
	stop.netns = state->net->ns.inum;
	record_segment(skb, &segment, &stop);
	return 0;
}

/* The SYN is answered where it is, by what the event says. */
static __always_inline int on_refusal(const struct sk_buff *skb, struct stop *stop)
{
	struct segment segment;
	struct place place = {};
	unsigned char *header;

	if (!skb)
		return 0;
	header = network_header(skb);
	if (!header || !read_segment(&segment, header, BPF_CORE_READ(skb, protocol)) ||
	    segment.tcp[13] & (TCP_ACK | TCP_RST))
		return 0;
	find_place(skb, &place);
	stop->dev = place.dev;
	stop->netns = place.netns;
	record_segment(skb, &segment, stop);
	return 0;
}

SEC("?tp_btf/tcp_send_reset")
int BPF_PROG(dt_path_reset, const struct sock *sk, const struct sk_buff *skb)
{
	struct stop stop = {.event = DT_HOP_RESET};

	return on_refusal(skb, &stop);
}

/* Since Linux 6.10. */
SEC("?tp_btf/icmp_send")
int BPF_PROG(dt_path_icmp, const struct sk_buff *skb, int type, int code)
{
	struct stop stop = {.event = DT_HOP_ICMP, .icmp_type = type, .icmp_code = code};

	return on_refusal(skb, &stop);
}

/* From us to the peer. */
static __always_inline void read_socket(const struct sock_common *common, struct dt_tuple *tuple)
{
	tuple->protocol = IPPROTO_TCP;
	tuple->family = BPF_CORE_READ(common, skc_family);
	tuple->sport = bpf_htons(BPF_CORE_READ(common, skc_num));
	tuple->dport = BPF_CORE_READ(common, skc_dport);
	if (tuple->family == AF_INET) {
		BPF_CORE_READ_INTO(&tuple->src, common, skc_rcv_saddr);
		BPF_CORE_READ_INTO(&tuple->dst, common, skc_daddr);
	} else {
		BPF_CORE_READ_INTO(&tuple->src, common, skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&tuple->dst, common, skc_v6_daddr);
	}
}

static __always_inline void record_socket(const struct sock_common *common, __u32 isn, __u32 event)
{
	struct dt_tuple tuple = {}, none = {};
	__u32 netns = BPF_CORE_READ(common, skc_net.net, ns.inum);
	struct dt_hop *hop;

	read_socket(common, &tuple);
	/* An IPv4 address in an IPv6 socket is known to user space only. */
	if (!is_watched(netns, &tuple, &none))
		return;
	hop = reserve_hop();
	if (!hop)
		return;
	hop->netns = netns;
	hop->event = event;
	hop->isn = isn;
	hop->tuple = tuple;
	submit_hop(hop);
}

static __always_inline __u32 first_unacknowledged(const struct sock *sk)
{
	const struct tcp_sock *tcp = (const void *)sk;

	return BPF_CORE_READ(tcp, snd_una);
}

SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(dt_path_state, const struct sock *sk, int before, int after)
{
	if (before != TCP_SYN_SENT)
		return 0;
	if (after == TCP_ESTABLISHED) /* the SYN is acknowledged */
		record_socket(&sk->__sk_common, first_unacknowledged(sk) - 1, DT_HOP_ESTABLISHED);
	else if (after == TCP_CLOSE)
		record_socket(&sk->__sk_common, first_unacknowledged(sk), DT_HOP_CLOSED);
	return 0;
}

SEC("?tp_btf/tcp_retransmit_skb")
int BPF_PROG(dt_path_retransmit, const struct sock *sk, const struct sk_buff *skb)
{
	if (sk->__sk_common.skc_state == TCP_SYN_SENT)
		record_socket(&sk->__sk_common, first_unacknowledged(sk), DT_HOP_RETRANSMIT);
	return 0;
}

SEC("?tp_btf/tcp_receive_reset")
int BPF_PROG(dt_path_was_reset, const struct sock *sk)
{
	if (sk->__sk_common.skc_state == TCP_SYN_SENT)
		record_socket(&sk->__sk_common, first_unacknowledged(sk), DT_HOP_WAS_RESET);
	return 0;
}

SEC("?tp_btf/tcp_retransmit_synack")
int BPF_PROG(dt_path_synack_again, const struct sock *sk, const struct request_sock *req)
{
	const struct tcp_request_sock *tcp = (const void *)req;

	record_socket(&req->__req_common, BPF_CORE_READ(tcp, rcv_isn), DT_HOP_SYNACK_AGAIN);
	return 0;
}
