// SPDX-License-Identifier: GPL-2.0-only
/*
 * Notes which nf_tables rule or policy drops or queues a packet, at the verdict, for kernels where
 * nft_do_chain has returned by the time the packet is freed. An object of its own, loaded only
 * where the frame does not tell: these programs cost every packet that passes nf_tables.
 *
 * __nft_trace_packet is called at each rule that matched, each jump, each end of a chain and each
 * verdict, while nft_trace_enabled is on: a static key, held by a rule of user space's that no
 * packet visits. It returns at once, as no packet is marked for tracing.
 *
 * Rules and chains are pointers as long as the packet is on its way (it walks under RCU), and are
 * only read if it ends badly.
 */
#include "vmlinux.h"

#include <linux/ptrace.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "nft_rule.bpf.h"
#include "verdict.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* include/uapi/linux/netfilter.h; a queue's number is in the upper 16 bits of its verdict. */
#define NF_DROP 0
#define NF_QUEUE 3
#define NF_VERDICT_MASK 0xff

/* include/uapi/linux/netfilter/nf_tables.h */
#define NFT_CONTINUE (-1)
#define NFT_JUMP (-3)
#define NFT_GOTO (-4)
#define NFT_RETURN (-5)
#define NFT_TRACETYPE_POLICY 1
#define NFT_TRACETYPE_RETURN 2

#define WALKS 4	      /* under way on a CPU at a time; a power of two */
#define WALK_STEPS 16 /* NFT_JUMP_STACK_SIZE, which bounds jumps and gotos alike */

struct walk_step {
	__u64 chain; /* struct nft_chain * that the packet left */
	__u64 rule;  /* its rule that jumped or went elsewhere */
	__u64 is_goto;
};

/* A packet's way through the chains of one base chain. */
struct walk {
	__u64 skb;   /* 0: this one is unused */
	__u64 info;  /* struct nft_traceinfo * on nft_do_chain's stack: tells two walks apart */
	__u64 chain; /* struct nft_chain * where the packet is */
	__u64 rule;  /* of the call: a number once it has been through memory, for the verifier */
	__u32 depth; /* used of step; above WALK_STEPS it is not known how it came here */
	__u32 pad;
	struct walk_step step[WALK_STEPS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WALKS);
	__type(key, __u32);
	__type(value, struct walk);
} dt_walks SEC(".maps");

/* What the function was called with, of all kernels. */
struct call {
	const struct nft_pktinfo *pkt;
	const struct nft_base_chain *base;
	const struct nft_verdict *verdict;
	__u64 info;
	__u64 chain; /* 0: not among the arguments (since Linux 6.4) */
	__u64 rule;
	__u32 type; /* NFT_TRACETYPE_* */
};

static __always_inline __u64 header_of(__u64 rule)
{
	__u64 header = 0;

	bpf_probe_read_kernel(&header, sizeof(header), (void *)rule);
	return header;
}

static __always_inline __u64 chain_of_base(const struct nft_base_chain *base)
{
	return (__u64)base + bpf_core_field_offset(struct nft_base_chain, chain);
}

static __always_inline struct walk *walk_at(__u32 index)
{
	return bpf_map_lookup_elem(&dt_walks, &index);
}

/*
 * The walk of this packet on this CPU, where another may have come in between: a softirq's packets,
 * or the ICMP error that a rule sends before its verdict. What is not known here begins anew in the
 * base chain. That may be in the middle of a walk that began on another CPU: user space holds each
 * step to the rules.
 */
static __always_inline struct walk *walk_of(const struct call *call)
{
	const struct nft_pktinfo *pkt = call->pkt;
	__u64 skb = (__u64)BPF_CORE_READ(pkt, skb);
	__u32 unused = skb >> 8 & (WALKS - 1);
	struct walk *walk;

	for (__u32 i = 0; i < WALKS; i++) {
		walk = walk_at(i);
		if (!walk)
			return NULL;
		if (walk->skb == skb && walk->info == call->info)
			return walk;
		if (!walk->skb)
			unused = i;
	}
	walk = walk_at(unused);
	if (!walk)
		return NULL;
	walk->skb = skb;
	walk->info = call->info;
	walk->chain = chain_of_base(call->base);
	walk->depth = 0;
	return walk;
}

static __always_inline void walk_on(struct walk *walk, const struct call *call, bool is_goto)
{
	const struct nft_verdict *verdict = call->verdict;
	__u32 depth = walk->depth;

	/* It came here by a jump that was not seen. */
	if (call->chain && call->chain != walk->chain)
		depth = WALK_STEPS;
	if (depth < WALK_STEPS) {
		struct walk_step *step = &walk->step[depth & (WALK_STEPS - 1)];

		step->chain = walk->chain;
		step->rule = walk->rule;
		step->is_goto = is_goto;
	}
	walk->depth = depth + 1;
	walk->chain = (__u64)BPF_CORE_READ(verdict, chain);
}

/* Back behind the last jump; what was gone to does not return to where it came from. */
static __always_inline void walk_back(struct walk *walk)
{
	for (int i = 0; i < WALK_STEPS; i++) {
		__u32 depth = walk->depth;
		struct walk_step *step;

		if (!depth)
			return;
		walk->depth = --depth;
		step = &walk->step[depth & (WALK_STEPS - 1)];
		walk->chain = step->chain;
		if (!step->is_goto)
			return;
	}
}

static __always_inline bool blob_has(const struct nft_rule_blob *blob, __u64 rule)
{
	__u64 data = (__u64)blob + bpf_core_field_offset(struct nft_rule_blob, data);

	return blob && rule >= data && rule - data < BPF_CORE_READ(blob, size);
}

static __always_inline bool chain_has(__u64 address, __u64 rule)
{
	const struct nft_chain *chain = (void *)address;

	return blob_has(BPF_CORE_READ(chain, blob_gen_0), rule) ||
	       blob_has(BPF_CORE_READ(chain, blob_gen_1), rule);
}

static __always_inline __u64 handle_of_chain(__u64 address)
{
	const struct nft_chain *chain = (void *)address;

	return BPF_CORE_READ(chain, handle);
}

static __always_inline void note_path(struct dt_netfilter *found, const struct walk *walk)
{
	if (walk->depth > DT_PATH_DEPTH)
		return;
	for (__u32 i = 0; i < DT_PATH_DEPTH; i++) {
		if (i >= walk->depth)
			break;
		found->path[i].chain = handle_of_chain(walk->step[i].chain);
		found->path[i].next_rule = rule_handle(header_of(walk->step[i].rule));
		found->depth = i + 1;
	}
}

static __always_inline void note_place(struct dt_verdict *verdict, const struct call *call)
{
	/* CO-RE would take struct call for a type of the kernel: its pointers are copied first. */
	const struct nft_base_chain *base = call->base;
	const struct nft_pktinfo *pkt = call->pkt;
	const struct nf_hook_state *state = BPF_CORE_READ(pkt, state);
	const struct nft_table *table = BPF_CORE_READ(base, chain.table);
	struct dt_netfilter *found = &verdict->netfilter;

	verdict->time_ns = bpf_ktime_get_boot_ns();
	verdict->net = (__u64)BPF_CORE_READ(state, net);
	found->netns = BPF_CORE_READ(state, net, ns.inum);
	found->hook = BPF_CORE_READ(state, hook);
	found->pf = BPF_CORE_READ(state, pf);
	found->has_hook = 1;
	found->table = BPF_CORE_READ(table, handle);
	found->family = BPF_CORE_READ_BITFIELD_PROBED(table, family);
	found->from_hook = 1;
}

/* A rule's handle is unique in its table; where the chain is not certain it is left to user space.
 */
static __always_inline void note_rule(const struct walk *walk, const struct call *call, __u32 code)
{
	struct dt_verdict verdict = {};
	struct dt_netfilter *found = &verdict.netfilter;
	__u64 rule = *(volatile __u64 *)&walk->rule, chain = call->chain, skb = walk->skb;
	bool is_here;

	note_place(&verdict, call);
	found->kind = DT_NF_NFT_RULE;
	if ((code & NF_VERDICT_MASK) == NF_QUEUE) {
		found->kind = DT_NF_QUEUE_VERDICT;
		found->queue = code >> 16;
		found->has_queue = 1;
	}
	found->rule = rule_handle(header_of(rule));
	is_here = chain ? chain == walk->chain : chain_has(walk->chain, rule);
	if (!chain && is_here)
		chain = walk->chain;
	verdict.chain = chain;
	if (chain)
		found->chain = handle_of_chain(chain);
	if (is_here)
		note_path(found, walk);
	bpf_map_update_elem(&dt_verdicts, &skb, &verdict, BPF_ANY);
}

static __always_inline void note_policy(const struct walk *walk, const struct call *call)
{
	struct dt_verdict verdict = {};
	__u64 skb = walk->skb;

	note_place(&verdict, call);
	verdict.chain = chain_of_base(call->base);
	verdict.netfilter.kind = DT_NF_NFT_POLICY;
	verdict.netfilter.chain = handle_of_chain(chain_of_base(call->base));
	bpf_map_update_elem(&dt_verdicts, &skb, &verdict, BPF_ANY);
}

static __always_inline int on_call(const struct call *call)
{
	const struct nft_verdict *verdict = call->verdict;
	const struct nft_base_chain *base = call->base;
	__s32 code = BPF_CORE_READ(verdict, code);
	struct walk *walk;

	/* By far the most calls: a rule matched and went on. */
	if (code == NFT_CONTINUE && call->type != NFT_TRACETYPE_POLICY &&
	    call->type != NFT_TRACETYPE_RETURN && !rule_is_last(header_of(call->rule)))
		return 0;
	walk = walk_of(call);
	if (!walk)
		return 0;
	*(volatile __u64 *)&walk->rule = call->rule;
	if (call->type == NFT_TRACETYPE_POLICY) {
		if (BPF_CORE_READ(base, policy) == NF_DROP)
			note_policy(walk, call);
		walk->skb = 0;
	} else if (code == NFT_JUMP || code == NFT_GOTO) {
		walk_on(walk, call, code == NFT_GOTO);
	} else if (code == NFT_CONTINUE || code == NFT_RETURN) {
		/* Some kernels call the end of a chain a rule. It is the end marker then. */
		walk_back(walk);
	} else {
		if ((code & NF_VERDICT_MASK) == NF_DROP || (code & NF_VERDICT_MASK) == NF_QUEUE)
			note_rule(walk, call, code);
		/* With any verdict the walk ends: the next packet may have this one's address. */
		walk->skb = 0;
	}
	return 0;
}

/* Since Linux 6.4. */
static __always_inline int on_arguments(const struct nft_pktinfo *pkt,
					const struct nft_verdict *verdict, __u64 rule,
					const struct nft_traceinfo *info, __u32 type)
{
	struct call call = {
		.pkt = pkt,
		.base = BPF_CORE_READ(info, basechain),
		.verdict = verdict,
		.info = (__u64)info,
		.rule = rule,
		.type = type,
	};

	return on_call(&call);
}

static __always_inline int on_arguments_pre_6_4(const struct nft_traceinfo___pre_6_4 *info,
						__u64 chain, __u32 type)
{
	struct call call = {
		.pkt = BPF_CORE_READ(info, pkt),
		.base = BPF_CORE_READ(info, basechain),
		.verdict = BPF_CORE_READ(info, verdict),
		.info = (__u64)info,
		.chain = chain,
		.rule = (__u64)BPF_CORE_READ(info, rule),
		.type = type,
	};

	return on_call(&call);
}

SEC("?fentry/__nft_trace_packet")
int BPF_PROG(dt_verdict_fentry, const struct nft_pktinfo *pkt, const struct nft_verdict *verdict,
	     __u64 rule, const struct nft_traceinfo *info, __u32 type)
{
	return on_arguments(pkt, verdict, rule, info, type);
}

SEC("?kprobe/__nft_trace_packet")
int BPF_KPROBE(dt_verdict_kprobe, const struct nft_pktinfo *pkt, const struct nft_verdict *verdict,
	       __u64 rule, const struct nft_traceinfo *info, __u32 type)
{
	return on_arguments(pkt, verdict, rule, info, type);
}

SEC("?fentry/__nft_trace_packet")
int BPF_PROG(dt_verdict_fentry_pre_6_4, const struct nft_traceinfo___pre_6_4 *info, __u64 chain,
	     __u32 type)
{
	return on_arguments_pre_6_4(info, chain, type);
}

SEC("?kprobe/__nft_trace_packet")
int BPF_KPROBE(dt_verdict_kprobe_pre_6_4, const struct nft_traceinfo___pre_6_4 *info, __u64 chain,
	       __u32 type)
{
	return on_arguments_pre_6_4(info, chain, type);
}

/*
 * A packet enters its queue, where it may wait for long. Only the note of the verdict that led here
 * may wait with it: what ip_tables or a listener queues has none, and any other note is of an
 * earlier packet at this address.
 */
static __always_inline int on_queue(__u64 skb)
{
	struct dt_verdict *verdict = bpf_map_lookup_elem(&dt_verdicts, &skb);

	if (!verdict)
		return 0;
	if (verdict->netfilter.kind == DT_NF_QUEUE_VERDICT && !verdict->queued &&
	    verdict_is_fresh(verdict))
		verdict->queued = 1;
	else
		bpf_map_delete_elem(&dt_verdicts, &skb);
	return 0;
}

SEC("?fentry/nf_queue")
int BPF_PROG(dt_queued_fentry, __u64 skb)
{
	return on_queue(skb);
}

SEC("?kprobe/nf_queue")
int BPF_KPROBE(dt_queued_kprobe, __u64 skb)
{
	return on_queue(skb);
}
