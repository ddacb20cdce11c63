/* SPDX-License-Identifier: GPL-2.0-only */
/* Netfilter's part in a drop: which engine reads which frame. */
#pragma once

#include "frame.bpf.h"
#include "hook_entry.bpf.h"
#include "nft_frame.bpf.h"
#include "queue_frame.bpf.h"
#include "recall.bpf.h"
#include "xt_counter.bpf.h"

#define NF_INET_FORWARD 2 /* PREROUTING and LOCAL_IN are below, LOCAL_OUT and POSTROUTING above */

/* The first word of a struct nf_hook_state; its hook is an unsigned int before Linux 5.12. */
static __always_inline __u32 hook_of_word(__u64 word)
{
	return word & 0xff;
}

static __always_inline __u32 pf_of_word(__u64 word)
{
	return word >> (8 * bpf_core_field_offset(struct nf_hook_state, pf)) & 0xff;
}

/*
 * Is there a struct nf_hook_state whose net is at word index + 4? By its shape: small hook and pf,
 * devices or NULL, and behind it okfn, kernel text.
 */
__noinline int hook_state_at(__u32 index)
{
	struct frame *frame = this_frame();
	__u64 first, in, out, okfn;

	if (!frame)
		return 0;
	index &= FRAME_WORDS - 1;
	barrier_var(index);
	first = frame->words[index];
	in = frame->words[index + 1];
	out = frame->words[index + 2];
	okfn = frame->words[index + 5];
	return hook_of_word(first) < NF_INET_HOOKS && pf_of_word(first) > 0 &&
	       pf_of_word(first) < NFPROTO_NUMPROTO && okfn >= dt_layout.text_start &&
	       (!in || is_heap_pointer(in)) && (!out || is_heap_pointer(out));
}

/* Index of the first such state behind the anchor for this namespace, -1 if there is none. */
__noinline int find_hook_state(__u64 net, int from)
{
	for (int i = 0; i < 6; i++) {
		int index = frame_find(net, from + 4);

		if (index >= FRAME_WORDS)
			return -1;
		if (hook_state_at(index - 4))
			return index - 4;
		from = index - 3;
	}
	return -1;
}

static __always_inline void note_hook(struct frame *frame, struct dt_netfilter *found, __u64 net,
				      __u32 netns, int anchor)
{
	int index = find_hook_state(net, anchor);
	__u64 first;

	if (index < 0)
		return;
	first = frame_word(frame, index);
	found->hook = hook_of_word(first);
	found->pf = pf_of_word(first);
	found->netns = netns;
	found->has_hook = 1;
}

/* The hook that a packet from a queue goes on behind, which may drop it after all. */
static __always_inline __u64 note_hook_of_queue(struct frame *frame, __u64 packet)
{
	int index = queue_find_entry(packet);
	struct nf_queue_entry *entry;

	if (index < 0 || !bpf_core_type_exists(struct nf_queue_entry))
		return 0;
	entry = (void *)frame_word(frame, index);
	frame->found.hook = BPF_CORE_READ(entry, state.hook);
	frame->found.pf = BPF_CORE_READ(entry, state.pf);
	frame->found.netns = BPF_CORE_READ(entry, state.net, ns.inum);
	frame->found.has_hook = 1;
	return (__u64)BPF_CORE_READ(entry, state.net);
}

/*
 * Which function of a hook dropped the packet. Keeps up with the counters of ip_tables, for each
 * packet that its hooks may have dropped, also one that is not recorded. Leaves what it found in
 * the frame, for attribute_netfilter(). packet: struct sk_buff *; net: struct net *.
 */
__noinline int follow_hook(__u64 packet, int has_entry, __u64 net, __u32 netns, __u64 location)
{
	bool in_reinject = is_in(location, &dt_layout.reinject);
	struct sk_buff *skb = (void *)packet;
	struct frame *frame = this_frame();
	int anchor;

	if (!frame)
		return 0;
	__builtin_memset(&frame->found, 0, sizeof(frame->found));
	frame_read(frame);
	anchor = frame_anchor(location);
	if (anchor < 0)
		return 0;
	if (in_reinject) {
		net = note_hook_of_queue(frame, packet);
		if (frame->found.has_hook && xt_note_hooks(net, frame->found.pf, frame->found.hook))
			xt_attribute(frame, BPF_CORE_READ(skb, len), -1);
		return 0;
	}
	note_hook(frame, &frame->found, net, netns, anchor);
	frame->found.has_entry = has_entry;
	if (frame->found.has_hook)
		entry_attribute(frame, net, BPF_CORE_READ(skb, len), anchor);
	return 0;
}

/*
 * Finds out what netfilter did to the packet that it frees, from the frame of one of its functions
 * that we can read: frame->found. packet: struct sk_buff *; net: struct net *.
 */
__noinline int read_netfilter(__u64 packet, __u64 net, __u32 netns, __u64 location)
{
	bool in_reinject = is_in(location, &dt_layout.reinject);
	bool in_hook = is_in(location, &dt_layout.nf_hook_slow);
	struct frame *frame = this_frame();
	int anchor;

	if (!frame)
		return 0;
	if (in_hook || (in_reinject && dt_layout.xt_known && frame->found.kind != DT_NF_NONE))
		return 0; /* follow_hook() has found it */
	__builtin_memset(&frame->found, 0, sizeof(frame->found));
	frame_read(frame);
	anchor = frame_anchor(location);
	if (anchor < 0)
		return 0;
	if (in_reinject) {
		queue_attribute_verdict(frame, &frame->found, packet);
	} else {
		note_hook(frame, &frame->found, net, netns, anchor);
		if (is_in(location, &dt_layout.nft_do_chain))
			nft_attribute(frame, &frame->found, packet, location, anchor,
				      netns && netns == dt_layout.test_netns);
		else
			queue_attribute_failure(&frame->found, anchor);
	}
	add_queueing_rule(frame);
	return 0;
}

/* Global functions take scalars, and a pointer is one once it has been through memory. */
static __always_inline __u64 as_number(struct frame *frame, const struct sk_buff *packet)
{
	frame->skb = (__u64)packet;
	return *(volatile __u64 *)&frame->skb;
}

/* For each drop, also one that is not recorded. */
static __always_inline void follow_netfilter(struct frame *frame, struct sk_buff *packet,
					     const struct nf_conn *ct, __u64 net, __u32 netns,
					     __u64 location)
{
	if (!is_in(location, &dt_layout.nf_hook_slow) &&
	    !(dt_layout.xt_known && is_in(location, &dt_layout.reinject)))
		return;
	follow_hook(as_number(frame, packet), ct != NULL, net, netns, location);
}

/*
 * The names of the table and the chain that were found, for namespaces that user space may not be
 * able to enter: the Docker host's, when all namespaces are watched any other.
 */
static __always_inline void name_chain(const struct frame *frame, struct dt_drop *drop, __u32 watch)
{
	struct nft_chain *chain = (void *)frame->named_chain;

	__builtin_memset(drop->nft_table, 0, sizeof(drop->nft_table));
	__builtin_memset(drop->nft_chain, 0, sizeof(drop->nft_chain));
	if (!NFT_TYPES_KNOWN || !chain || (dt_config.filter_netns && watch != DT_WATCH_OWN))
		return;
	bpf_probe_read_kernel_str(drop->nft_table, sizeof(drop->nft_table),
				  BPF_CORE_READ(chain, table, name));
	bpf_probe_read_kernel_str(drop->nft_chain, sizeof(drop->nft_chain),
				  BPF_CORE_READ(chain, name));
}

/* Fills found if netfilter freed the packet from a frame that we can read; else leaves it empty. */
static __always_inline void attribute_netfilter(struct frame *frame, struct dt_netfilter *found,
						struct sk_buff *packet, __u64 net, __u32 netns,
						__u64 location)
{
	frame->named_chain = 0;
	if (!dt_layout.functions_known)
		return;
	if (!is_in(location, &dt_layout.nft_do_chain) && !is_in(location, &dt_layout.nf_queue) &&
	    !is_in(location, &dt_layout.reinject) && !is_in(location, &dt_layout.nf_hook_slow))
		return;
	if (verdict_was_drop(frame)) {
		*found = frame->verdict.netfilter;
		frame->named_chain = frame->verdict.chain;
		return;
	}
	read_netfilter(as_number(frame, packet), net, netns, location);
	*found = frame->found;
}
