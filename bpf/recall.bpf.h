/* SPDX-License-Identifier: GPL-2.0-only */
/* Engine "hook", at the drop: the note of the verdict that led to it. */
#pragma once

#include "frame.bpf.h"
#include "verdict.bpf.h"

static __always_inline bool is_in(__u64 address, const volatile struct dt_function *function)
{
	return address >= function->start && address < function->end;
}

/* Can a verdict of this kind lead to a packet's being freed here? */
static __always_inline bool verdict_leads_to(const struct dt_verdict *verdict, __u64 location)
{
	if (verdict->netfilter.kind == DT_NF_QUEUE_VERDICT)
		return verdict->queued && (is_in(location, &dt_layout.nf_queue) ||
					   is_in(location, &dt_layout.reinject));
	return verdict_is_fresh(verdict) &&
	       (is_in(location, &dt_layout.nft_do_chain) ||
		is_in(location, &dt_layout.nf_hook_slow) || is_in(location, &dt_layout.reinject));
}

/*
 * Leaves the note in the frame, for attribute_netfilter(). For each drop, also one that is not
 * recorded: what is left behind would be taken for a verdict on the next packet at this address.
 */
static __always_inline void recall_verdict(struct frame *frame, const struct sk_buff *skb,
					   __u64 net, __u64 location)
{
	__u64 key = (__u64)skb;
	struct dt_verdict *noted;

	if (!dt_layout.verdicts_known)
		return;
	frame->verdict.netfilter.kind = DT_NF_NONE;
	noted = bpf_map_lookup_elem(&dt_verdicts, &key);
	if (!noted)
		return;
	if (verdict_leads_to(noted, location) && (!net || noted->net == net))
		frame->verdict = *noted;
	bpf_map_delete_elem(&dt_verdicts, &key);
}

/* Was it a rule or a policy that dropped the packet? */
static __always_inline bool verdict_was_drop(const struct frame *frame)
{
	__u8 kind = frame->verdict.netfilter.kind;

	return dt_layout.verdicts_known && (kind == DT_NF_NFT_RULE || kind == DT_NF_NFT_POLICY);
}

/* Adds the rule that queued a packet to what is known of its end in or behind the queue. */
static __always_inline void add_queueing_rule(struct frame *frame)
{
	const struct dt_netfilter *noted = &frame->verdict.netfilter;
	struct dt_netfilter *found = &frame->found;

	if (!dt_layout.verdicts_known || noted->kind != DT_NF_QUEUE_VERDICT)
		return;
	if (found->kind != DT_NF_QUEUE_VERDICT && found->kind != DT_NF_QUEUE_FAILED)
		return;
	if (found->has_queue && found->queue != noted->queue)
		return;
	if (found->has_hook && (found->hook != noted->hook || found->pf != noted->pf))
		return;
	__u8 kind = found->kind;

	*found = *noted;
	found->kind = kind;
	frame->named_chain = frame->verdict.chain;
}
