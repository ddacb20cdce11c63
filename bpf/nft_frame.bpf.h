/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Engine "frame": which nf_tables rule drops, read off nft_do_chain's live frame. Where that
 * function frees the packet itself (NF_DROP_REASON, Linux 6.7, e0d4593140b0, and stable series that
 * have it), its locals are on the stack at kfree_skb: the rule, its last expression, the next rule,
 * the base chain, the jump stack. Which registers hold them differs per build, so pointers are not
 * taken from fixed slots but recognised by how they relate to each other.
 */
#pragma once

#include "frame.bpf.h"
#include "nft_walk.bpf.h"

/*
 * nf_tables may be a module, and its types are unknown until it is loaded (before Linux 5.11,
 * always). Every function that reads them asks first: global functions are verified one by one,
 * called or not.
 */
#define NFT_TYPES_KNOWN                                                                            \
	(bpf_core_type_exists(struct nft_chain) && bpf_core_type_exists(struct nft_table) &&       \
	 bpf_core_type_exists(struct nft_rule_blob) &&                                             \
	 bpf_core_type_exists(struct nft_base_chain))

#define NF_DROP 0
#define NFPROTO_NETDEV 5

#define NEAR_CALL_SITE                                                                             \
	20 /* words of callee-saved registers and locals next to the return address */
#define BASE_CHAIN_ABOVE 4 /* locals above the call site that may hold the base chain */
#define CANDIDATES 16

__noinline int frame_is_candidate(__u64 word, __u64 skb)
{
	return is_heap_pointer(word) && word != skb;
}

/* Gathers the heap pointers near the call site. Returns how many. */
__noinline int frame_collect_pointers(__u64 skb, int anchor)
{
	struct frame *frame = this_frame();
	__u64 count = 0;

	if (!frame)
		return 0;
	__builtin_memset(frame->pointers, 0, sizeof(frame->pointers));
	for (__u32 i = 0; i < NEAR_CALL_SITE; i++) {
		__u64 word = frame_word(frame, anchor + 2 - i);

		/* Stored always, kept by counting: no branch, no second state. */
		frame->pointers[count & (FRAME_POINTERS - 1)] = word;
		count += frame_is_candidate(word, skb) & 1;
		barrier_var(count);
	}
	frame->pointers[count & (FRAME_POINTERS - 1)] = 0;
	return count;
}

/* How many of the candidates lie in (start, end]. */
__noinline int frame_count_between(__u64 start, __u64 end)
{
	struct frame *frame = this_frame();
	__u64 count = 0;

	if (!frame)
		return 0;
	for (int i = 0; i < CANDIDATES; i++) {
		__u64 pointer = frame->pointers[i];

		count += ((start - pointer) >> 63) & (1 ^ ((end - pointer) >> 63));
	}
	return count;
}

/*
 * First way: a candidate is a rule's header if two others, the expression and the next rule, lie
 * inside what its length spans.
 */
__noinline int nft_find_rule_by_header(void)
{
	struct frame *frame = this_frame();

	if (!frame)
		return 0;
	frame->rule = 0;
	for (int i = 0; i < CANDIDATES; i++) {
		__u64 rule = frame->pointers[i], header = 0;

		if (!rule)
			break;
		if (bpf_probe_read_kernel(&header, sizeof(header), (void *)rule) ||
		    rule_is_last(header))
			continue;
		if (!rule_size(header) || (rule_size(header) & 7) || !rule_handle(header))
			continue;
		if (frame_count_between(rule, rule + RULE_HEADER_SIZE + rule_size(header)) < 2)
			continue;
		nft_note_chain(rule);
		if (frame->chain) {
			frame->rule = rule;
			frame->rule_header = header;
			return 1;
		}
	}
	return 0;
}

/* Distance from the nearest candidate below pointer, at most 4096; 0 if there is none. */
__noinline int frame_distance_below(__u64 pointer)
{
	struct frame *frame = this_frame();
	__u64 nearest = 4096;

	if (!frame)
		return 0;
	for (int i = 0; i < CANDIDATES; i++) {
		__u64 distance = pointer - frame->pointers[i];

		if (distance - 1 < nearest) /* 0 < distance <= nearest */
			*(volatile __u64 *)&frame->nearest = nearest = distance;
	}
	return nearest < 4096 ? nearest : 0;
}

/*
 * Second way, for builds that keep the rule itself elsewhere: a candidate is the next rule (or the
 * end marker) if its chain's blob has a rule that ends there, and another candidate, the
 * expression, lies inside that rule.
 */
__noinline int nft_find_rule_by_next(void)
{
	struct frame *frame = this_frame();

	if (!frame || !NFT_TYPES_KNOWN)
		return 0;
	for (int i = 0; i < CANDIDATES; i++) {
		__u64 next = frame->pointers[i], header = 0, blob_0, blob_1;
		__u32 data = bpf_core_field_offset(struct nft_rule_blob, data);
		struct nft_chain *chain;
		int distance;

		if (!next)
			break;
		if (bpf_probe_read_kernel(&header, sizeof(header), (void *)next))
			continue;
		if (!rule_is_last(header) && (!rule_size(header) || (rule_size(header) & 7)))
			continue;
		distance = frame_distance_below(next);
		nft_note_chain(next);
		if (!distance || !frame->chain)
			continue;
		chain = (void *)frame->chain;
		blob_0 = (__u64)BPF_CORE_READ(chain, blob_gen_0);
		blob_1 = (__u64)BPF_CORE_READ(chain, blob_gen_1);
		if (nft_walk(blob_0 + data, next) != NFT_WALK_FOUND &&
		    (blob_1 == blob_0 || nft_walk(blob_1 + data, next) != NFT_WALK_FOUND))
			continue;
		frame->rule = frame->at;
		frame->rule_header = frame->at_header;
		if (frame->rule < next - (__u32)distance)
			return 1;
	}
	return 0;
}

static __always_inline void nft_describe_chain(struct nft_chain *chain, struct dt_netfilter *found)
{
	struct nft_table *table = BPF_CORE_READ(chain, table);

	found->chain = BPF_CORE_READ(chain, handle);
	found->table = BPF_CORE_READ(table, handle);
	found->family = BPF_CORE_READ_BITFIELD_PROBED(table, family);
}

static __always_inline struct nft_base_chain *nft_base_of(__u64 chain)
{
	return (void *)chain - bpf_core_field_offset(struct nft_base_chain, chain);
}

/*
 * Is this the chain that nft_do_chain was called with? The hook that calls it names it in turn,
 * which nothing but a base chain can pass for; but an earlier call at this or at another hook may
 * have left its own on the stack. A chain whose policy drops ends the way of the packet, so of
 * these there is none before.
 */
__noinline int nft_base_chain_fits(__u64 word, __u32 policy)
{
	struct frame *frame = this_frame();
	struct nft_base_chain *base;
	struct nft_chain *chain = (void *)word;

	if (!frame || !NFT_TYPES_KNOWN || !is_heap_pointer(word))
		return 0;
	base = nft_base_of(word);
	if ((__u64)BPF_CORE_READ(base, ops.priv) != word)
		return 0;
	/* What is registered for the family inet at ingress has another number there. */
	if (frame->found.has_hook && frame->found.pf != NFPROTO_NETDEV &&
	    BPF_CORE_READ(base, ops.hooknum) != frame->found.hook)
		return 0;
	if (policy)
		return BPF_CORE_READ(base, policy) == NF_DROP;
	return BPF_CORE_READ(chain, table, handle) == frame->found.table;
}

/*
 * Notes the base chain, which is among the saved registers or the locals next to the call site.
 * Where it is depends on more than the build: the tracing of nf_tables (its static key) moves it.
 */
__noinline int nft_find_base_chain(int anchor, __u32 policy)
{
	struct frame *frame = this_frame();

	if (!frame)
		return 0;
	*(volatile __u64 *)&frame->base_chain = 0;
	for (__u32 i = 0; i < NEAR_CALL_SITE; i++) {
		__u64 word = frame_word(frame, anchor + BASE_CHAIN_ABOVE - i);
		__u64 known = *(volatile __u64 *)&frame->base_chain;

		if (word == known || !nft_base_chain_fits(word, policy))
			continue;
		if (known) { /* more than one: nobody knows */
			frame->base_chain = 0;
			return 0;
		}
		*(volatile __u64 *)&frame->base_chain = word;
	}
	return frame->base_chain != 0;
}

/* The hook is the base chain's; what is registered for "inet" runs for IPv4 and IPv6. */
static __always_inline void nft_note_hook(__u64 base, struct dt_netfilter *found)
{
	struct nft_base_chain *chain = nft_base_of(base);

	found->hook = BPF_CORE_READ(chain, ops.hooknum);
	found->pf = BPF_CORE_READ(chain, ops.pf);
	found->has_hook = 1;
}

/*
 * The jump stack holds, per jump, the rule behind it. It is never cleared: what follows the current
 * depth is left over from earlier, and user space, which knows where rules jump to, cuts it off.
 */
__noinline int nft_read_path(int anchor)
{
	struct frame *frame = this_frame();

	if (!frame || !NFT_TYPES_KNOWN)
		return 0;
	for (__u32 i = 0; i < DT_PATH_DEPTH; i++) {
		__u64 rule = frame_word(frame, anchor + dt_layout.jumpstack + i), header = 0;
		struct nft_chain *chain;

		if (!is_heap_pointer(rule) ||
		    bpf_probe_read_kernel(&header, sizeof(header), (void *)rule))
			break;
		nft_note_chain(rule);
		if (!frame->chain)
			break;
		chain = (void *)frame->chain;
		frame->found.path[i].chain = BPF_CORE_READ(chain, handle);
		frame->found.path[i].next_rule = rule_is_last(header) ? 0 : rule_handle(header);
		frame->found.depth = i + 1;
	}
	return 0;
}

/* For the self-test: what would this word of the frame be? */
__noinline int nft_calibrate_word(int anchor, __u32 index)
{
	struct dt_calibration *note = bpf_map_lookup_elem(&dt_calibration, &index);
	struct frame *frame = this_frame();
	struct nft_chain *chain;
	const char *name;
	__u64 word, header;

	if (!frame || !note || !NFT_TYPES_KNOWN)
		return 0;
	__builtin_memset(note, 0, sizeof(*note));
	word = frame_word(frame, anchor + index);
	if (!is_heap_pointer(word) || bpf_probe_read_kernel(&header, sizeof(header), (void *)word))
		return 0;
	nft_note_chain(word);
	chain = (void *)frame->chain;
	if (!chain)
		return 0;
	name = BPF_CORE_READ(chain, name);
	bpf_probe_read_kernel_str(note->chain_of_rule, sizeof(note->chain_of_rule), name);
	return 0;
}

__noinline int nft_calibrate(int anchor)
{
	for (__u32 i = 0; i < DT_CALIBRATION_WORDS; i++)
		nft_calibrate_word(anchor, i);
	return 0;
}

/* Fills found for a packet that nft_do_chain frees right now. */
static __always_inline void nft_attribute(struct frame *frame, struct dt_netfilter *found,
					  __u64 skb, __u64 location, int anchor, bool is_test)
{
	if (!NFT_TYPES_KNOWN)
		return;
	if (dt_layout.calibrating && is_test)
		nft_calibrate(anchor);
	if (!dt_layout.frame_known)
		return;
	if (location == dt_layout.policy_site) {
		if (!nft_find_base_chain(anchor, 1))
			return;
		frame->named_chain = frame->base_chain;
		nft_describe_chain((void *)frame->base_chain, found);
		nft_note_hook(frame->base_chain, found);
		found->kind = DT_NF_NFT_POLICY;
		return;
	}
	if (!frame_collect_pointers(skb, anchor) ||
	    (!nft_find_rule_by_header() && !nft_find_rule_by_next()))
		return;
	found->rule = rule_handle(frame->rule_header);
	frame->named_chain = frame->chain;
	nft_describe_chain((void *)frame->chain, found); /* both ways have noted it */
	if (nft_find_base_chain(anchor, 0))
		nft_note_hook(frame->base_chain, found);
	found->kind = DT_NF_NFT_RULE;
	nft_read_path(anchor);
}
