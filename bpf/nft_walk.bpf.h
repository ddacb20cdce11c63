/* SPDX-License-Identifier: GPL-2.0-only */
/* Along a chain's rules in memory: to the end of one, and to the marker behind the last. */
#pragma once

#include "frame.bpf.h"
#include "nft_rule.bpf.h"

#define CHAIN_RULES_MAX 1024
#define WALK_STEPS 32

/* What a walk over a chain's rules has come to. */
enum nft_walk {
	NFT_WALK_ON,
	NFT_WALK_FAILED, /* no memory there, or no end within CHAIN_RULES_MAX */
	NFT_WALK_LAST,	 /* the end marker is at frame->at */
	NFT_WALK_FOUND,	 /* the rule at frame->at ends there */
};

/* Some steps from frame->at on, as a function of its own: the verifier sees them once. */
__noinline int nft_walk_some(__u64 end)
{
	struct frame *frame = this_frame();

	if (!frame)
		return NFT_WALK_FAILED;
	for (int i = 0; i < WALK_STEPS; i++) {
		__u64 rule = *(volatile __u64 *)&frame->at, header = 0, next;

		if (bpf_probe_read_kernel(&header, sizeof(header), (void *)rule))
			return NFT_WALK_FAILED;
		frame->at_header = header;
		if (rule_is_last(header))
			return NFT_WALK_LAST;
		next = rule + RULE_HEADER_SIZE + rule_size(header);
		if (next == end)
			return NFT_WALK_FOUND;
		*(volatile __u64 *)&frame->at = next;
	}
	return NFT_WALK_ON;
}

/* From a rule's header to the rule that ends at this address or to the end marker. */
__noinline int nft_walk(__u64 rule, __u64 end)
{
	struct frame *frame = this_frame();

	if (!frame)
		return NFT_WALK_FAILED;
	frame->at = rule;
	for (int i = 0; i < CHAIN_RULES_MAX / WALK_STEPS; i++) {
		int walk = nft_walk_some(end);

		if (walk != NFT_WALK_ON)
			return walk;
	}
	return NFT_WALK_FAILED;
}

/* Does a blob hold this rule, and end at this marker? */
static __always_inline bool nft_blob_fits(struct nft_rule_blob *blob, __u64 rule, __u64 end)
{
	__u64 data = (__u64)blob + bpf_core_field_offset(struct nft_rule_blob, data);

	return blob && rule >= data && end == data + BPF_CORE_READ(blob, size);
}

/*
 * Notes the chain that the end marker of a rule's blob names (Linux >= 6.4); 0 if this is no rule:
 * the blob is one of the chain's two, or the marker names it because it is about to be freed.
 */
__noinline int nft_note_chain(__u64 rule)
{
	struct frame *frame = this_frame();
	struct nft_rule_dp_last *last;
	struct nft_chain *chain;
	__u64 end;

	if (!frame)
		return 0;
	frame->chain = 0;
	if (nft_walk(rule, 0) != NFT_WALK_LAST || !bpf_core_type_exists(struct nft_rule_dp_last))
		return 0;
	end = frame->at;
	last = (void *)end;
	chain = (void *)BPF_CORE_READ(last, chain);
	if (nft_blob_fits(BPF_CORE_READ(chain, blob_gen_0), rule, end) ||
	    nft_blob_fits(BPF_CORE_READ(chain, blob_gen_1), rule, end) ||
	    nft_blob_fits(BPF_CORE_READ(last, blob), rule, end))
		frame->chain = (__u64)chain;
	return 0;
}
