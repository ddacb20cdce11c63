// SPDX-License-Identifier: GPL-2.0-only
/* The mandatory program: one record for each packet that the kernel frees as dropped. */
#include "common.bpf.h"
#include "nat.bpf.h"
#include "netfilter.bpf.h"
#include "skb.bpf.h"

char LICENSE[] SEC("license") = "GPL";

#define ANSWER_TO_DROP_NS 10000000 /* some microseconds, but for slow emulators */

/*
 * A stack costs more than the rest of the record. It is worth that where it names the netfilter
 * hook, an otherwise unnamed cause, or the process: not where a rule is known in a hook that
 * packets pass in softirq context.
 */
static __always_inline bool wants_stack(const struct dt_drop *drop, __u32 flags, __u32 reason)
{
	const struct dt_netfilter *netfilter = &drop->netfilter;

	if (dt_config.stack_always || !(flags & DT_HAS_REASON))
		return true;
	if ((netfilter->kind == DT_NF_NFT_RULE || netfilter->kind == DT_NF_NFT_POLICY ||
	     netfilter->has_function) &&
	    netfilter->has_hook && netfilter->hook <= NF_INET_FORWARD)
		return false;
	return reason == dt_config.reason_netfilter || reason == dt_config.reason_unspecified;
}

/* Takes the note of an answer to this packet, if there is one: addresses are used again at once. */
static __always_inline void recall_answer(const struct sk_buff *skb, struct dt_answer *answer)
{
	__u64 key = (__u64)skb;
	struct dt_answer *noted;

	if (!dt_config.note_answers)
		return;
	noted = bpf_map_lookup_elem(&dt_answers, &key);
	if (!noted)
		return;
	/* An older note is of an earlier packet at this address, answered but not dropped. */
	if (bpf_ktime_get_boot_ns() - noted->time_ns < ANSWER_TO_DROP_NS)
		*answer = *noted;
	bpf_map_delete_elem(&dt_answers, &key);
}

static __always_inline int record_drop(void *ctx, struct sk_buff *skb, __u64 location, __u32 reason,
				       __u32 flags)
{
	struct dt_stats *stats = stats_of_this_cpu();
	struct frame *frame = this_frame(); /* holds what the stack has no room for */
	struct dt_answer answer = {};
	struct place place = {};
	struct net_device *dev;
	struct dt_drop *drop;
	struct nf_conn *ct;
	__u8 *of_netns;
	__u32 watch; /* enum dt_watch: what the packet has to touch */
	__u32 status = 0;
	bool is_test;
	long size;

	if (!stats || !frame)
		return 0;
	if (dt_config.has_consumed && reason == dt_config.reason_consumed)
		return 0;
	stats->seen++;

	find_place(skb, &place);
	recall_verdict(frame, skb, place.net, location);
	is_test = place.netns && place.netns == dt_layout.test_netns;
	watch = dt_config.filter_cidrs ? DT_WATCH_CLUSTER : 0;
	if (dt_config.filter_netns) {
		of_netns = bpf_map_lookup_elem(&dt_netns, &place.netns);
		if (!of_netns && !is_test) {
			stats->other_netns++;
			return 0;
		}
		watch = of_netns ? *of_netns : 0;
	}
	flags |= place.flags;
	ct = conntrack_of(skb, &flags);
	follow_netfilter(frame, skb, ct, place.net, place.netns, location);
	__builtin_memset(&frame->original, 0, sizeof(frame->original));
	__builtin_memset(&frame->reply, 0, sizeof(frame->reply));
	if (ct) {
		read_tuple(&ct->tuplehash[0].tuple, &frame->original);
		read_tuple(&ct->tuplehash[1].tuple, &frame->reply);
		status = BPF_CORE_READ(ct, status);
		/* The Docker host's entry starts with what the node's NAT has left. */
		if (watch == DT_WATCH_OWN && recall_earlier_nat(&frame->original))
			status = 0;
	} else {
		recall_nat(skb, &frame->original, &frame->reply, &flags);
	}
	if (watch && !is_test && !packet_is_watched(skb, watch) &&
	    !tuple_is_watched(&frame->original, watch) && !tuple_is_watched(&frame->reply, watch)) {
		stats->other_addresses++;
		return 0;
	}

	drop = bpf_ringbuf_reserve(&dt_records, sizeof(*drop), 0);
	if (!drop) {
		stats->lost_ring_full++;
		return 0;
	}
	recall_answer(skb, &answer);
	drop->time_ns = bpf_ktime_get_boot_ns();
	drop->location = location;
	drop->flags = flags | answer.flags;
	drop->icmp_type = answer.icmp_type;
	drop->icmp_code = answer.icmp_code;
	drop->reason = reason;
	drop->cpu = bpf_get_smp_processor_id();
	drop->netns = place.netns;
	drop->sk_netns = place.sk_netns;
	drop->ifindex = 0;
	drop->iif = BPF_CORE_READ(skb, skb_iif);
	drop->mark = BPF_CORE_READ(skb, mark);
	drop->ct_status = status;
	drop->tgid = bpf_get_current_pid_tgid() >> 32;
	drop->protocol = BPF_CORE_READ(skb, protocol);
	drop->pad = 0;
	drop->original = frame->original;
	drop->reply = frame->reply;
	__builtin_memset(drop->ifname, 0, sizeof(drop->ifname));
	dev = place.dev; /* CO-RE would take place for a type of the kernel */
	if (dev) {
		drop->ifindex = BPF_CORE_READ(dev, ifindex);
		BPF_CORE_READ_STR_INTO(&drop->ifname, dev, name);
	}
	bpf_get_current_comm(drop->comm, sizeof(drop->comm));
	copy_packet(skb, drop);
	__builtin_memset(&drop->netfilter, 0, sizeof(drop->netfilter));
	attribute_netfilter(frame, &drop->netfilter, skb, place.net, place.netns, location);
	name_chain(frame, drop, watch);
	drop->stack_size = 0;
	if (wants_stack(drop, flags, reason)) {
		size = bpf_get_stack(ctx, drop->stack, sizeof(drop->stack), 0);
		if (size > 0)
			drop->stack_size = size;
	}
	stats->recorded++;
	bpf_ringbuf_submit(drop, wakeup_flags());
	return 0;
}

SEC("?tp_btf/kfree_skb")
int BPF_PROG(dt_drop, struct sk_buff *skb, void *location, enum skb_drop_reason reason)
{
	return record_drop(ctx, skb, (__u64)location, reason, DT_HAS_REASON);
}

/*
 * The tracepoint has had a reason since Linux 5.17 (c504e5c2f964, "net: skb: introduce
 * kfree_skb_reason()"); reading an argument that is not there is refused at load.
 */
SEC("?tp_btf/kfree_skb")
int BPF_PROG(dt_drop_without_reason, struct sk_buff *skb, void *location)
{
	return record_drop(ctx, skb, (__u64)location, 0, 0);
}

/*
 * Does nothing, next to the mandatory program: for the self-test, which has to know how the kernel
 * calls that one when other tracers are on the tracepoint as well.
 */
SEC("?tp_btf/kfree_skb")
int BPF_PROG(dt_company)
{
	return 0;
}
