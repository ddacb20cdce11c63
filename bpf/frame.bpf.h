/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel stack above the tracepoint, read once per attributed drop. While kfree_skb runs, the
 * functions that decided to drop are still on the stack, with what they decided in their saved
 * registers and locals: the rule, the hook, the queue entry.
 *
 * Verifier lessons, all paid for:
 * - A loop body in a global function (not static, scalar arguments) is verified once, and its
 *   result is unknown to the caller; inline it would be walked for each iteration and each state.
 * - BPF has no setcc: `a == b & c < d` in a loop forks states. Compare in a global function.
 * - Compare with a loop index only what is in memory: in a register, each iteration gives the value
 *   a range of its own, and thus a state of its own.
 * - An index masked with & (N - 1) wants barrier_var() behind the mask, and arrays are padded by
 * the largest constant that is added to it.
 */
#pragma once

#include "common.bpf.h"

#define NF_INET_HOOKS 6 /* NF_INET_INGRESS is the last */
#define NFPROTO_NUMPROTO 13

#define FRAME_WORDS 128 /* 1 KiB: a power of two, for masks */
#define FRAME_PAD 8
#define FRAME_POINTERS 32
#define FRAME_CHUNK_WORDS 8

/* Scratch of one attribution, per CPU; the program does not nest on a CPU. */
struct frame {
	__u64 base; /* address of words[0] */
	__u64 skb;  /* the packet, as a number */
	__u64 words[FRAME_WORDS + FRAME_PAD];
	__u64 pointers[FRAME_POINTERS]; /* that look like heap, near the call site, nearest first */
	__u64 rule;			/* address of the rule's header in its chain's blob */
	__u64 rule_header;
	__u64 at; /* where a walk over a chain's rules is, and the header that is there */
	__u64 at_header;
	__u64 chain;	   /* struct nft_chain * of the blob that was walked last */
	__u64 named_chain; /* struct nft_chain * of the rule or policy found; 0: none is */
	__u64 base_chain;  /* struct nft_chain * that nft_do_chain was called with */
	__u64 nearest;	   /* distance, in memory for the verifier's sake */
	__s32 from;	   /* bound of a search, in memory for the verifier's sake */
	__u32 pad;
	struct dt_tuple original; /* of the packet's connection, before NAT */
	struct dt_tuple reply;
	struct dt_netfilter found;
	struct dt_verdict verdict; /* of recall_verdict() */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct frame);
} dt_frames SEC(".maps") __weak;

static __always_inline struct frame *this_frame(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&dt_frames, &zero);
}

/* With 4- or 5-level paging; not text or data of the kernel image, which are above. */
static __always_inline bool is_heap_pointer(__u64 word)
{
	return (word >> 56) == 0xff && !(word & 7) && word < 0xffffffff80000000ULL;
}

/*
 * The kernel's stack pointer: r10 of a function with a frame below 64 bytes, which is never moved
 * to a private stack (Linux 6.13, a76ab5731e32). It leaves through memory, as returning it is
 * refused.
 */
__noinline int frame_note_stack_pointer(void)
{
	struct frame *frame = this_frame();
	__u64 pointer;

	if (!frame)
		return 0;
	asm volatile("%0 = r10" : "=r"(pointer));
	frame->base = pointer;
	return 1;
}

/*
 * Copies the stack; in pieces where one read would cross its end. From the calling function's frame
 * on: registers that the program itself does not use are saved there first (Linux 5.10).
 */
static __always_inline void frame_read(struct frame *frame)
{
	frame_note_stack_pointer();
	if (!bpf_probe_read_kernel(frame->words, FRAME_WORDS * 8, (void *)frame->base))
		return;
	for (int i = 0; i < FRAME_WORDS; i += FRAME_CHUNK_WORDS)
		bpf_probe_read_kernel(&frame->words[i], FRAME_CHUNK_WORDS * 8,
				      (void *)(frame->base + i * 8));
}

/*
 * Index of the return address into the function that freed the packet, -1 if it is not there. The
 * last one counts: the tracepoint's own argument array holds a copy below it.
 */
__noinline int frame_anchor(__u64 location)
{
	struct frame *frame = this_frame();

	if (!frame)
		return -1;
	for (int i = 79; i >= 0; i--)
		if (frame->words[i] == location)
			return i;
	return -1;
}

/* Index of the first word >= from that equals value; FRAME_WORDS if there is none. */
__noinline int frame_find(__u64 value, int from)
{
	struct frame *frame = this_frame();

	if (!frame)
		return FRAME_WORDS;
	*(volatile __s32 *)&frame->from = from;
	for (int i = 0; i < FRAME_WORDS; i++)
		if (frame->words[i] == value && i >= *(volatile __s32 *)&frame->from)
			return i;
	return FRAME_WORDS;
}

/* A word by an index that the verifier knows nothing of. */
static __always_inline __u64 frame_word(struct frame *frame, __u32 index)
{
	index &= FRAME_WORDS - 1;
	barrier_var(index);
	return frame->words[index];
}
