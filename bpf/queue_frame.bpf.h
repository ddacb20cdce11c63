/* SPDX-License-Identifier: GPL-2.0-only */
/* NFQUEUE: which queue, read off the frames of nf_queue and of the listener's verdict. */
#pragma once

#include "frame.bpf.h"

#define NF_QUEUE                                                                                   \
	3 /* include/uapi/linux/netfilter.h: verdict in the low bits, queue in the upper 16 */
#define NF_VERDICT_MASK 0xff
#define NF_VERDICT_FLAGS 0x7f00 /* but for NF_VERDICT_FLAG_QUEUE_BYPASS, 0x8000 */
#define NF_DROP 0
#define NFQA_VERDICT_HDR 2 /* include/uapi/linux/netfilter/nfnetlink_queue.h */
#define NLMSG_HDRLEN 16
#define NLMSG_TYPE (-12)	   /* of a message, seen from behind its header */
#define NFQNL_VERDICT 0x0301	   /* NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT */
#define NFQNL_VERDICT_BATCH 0x0303 /* NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT_BATCH */
#define ENTRY_WORDS 80

/* include/uapi/linux/netfilter/nfnetlink.h */
struct nfgenmsg {
	__u8 nfgen_family;
	__u8 version;
	__be16 res_id; /* the queue */
};

/* Does this word point to the queue entry of the packet? */
__noinline int queue_entry_at(__u32 index, __u64 skb)
{
	struct frame *frame = this_frame();
	struct nf_queue_entry *entry;
	__u64 word;

	if (!frame)
		return 0;
	word = frame_word(frame, index);
	if (!bpf_core_type_exists(struct nf_queue_entry) || !is_heap_pointer(word) || word == skb)
		return 0;
	/* Other structures point to the packet, too, where an entry has its skb. */
	entry = (void *)word;
	return (__u64)BPF_CORE_READ(entry, skb) == skb && BPF_CORE_READ(entry, state.pf) > 0 &&
	       BPF_CORE_READ(entry, state.pf) < NFPROTO_NUMPROTO &&
	       BPF_CORE_READ(entry, state.hook) < NF_INET_HOOKS &&
	       is_heap_pointer((__u64)BPF_CORE_READ(entry, state.net));
}

__noinline int queue_find_entry(__u64 skb)
{
	for (int i = 0; i < ENTRY_WORDS; i++)
		if (queue_entry_at(i, skb))
			return i;
	return -1;
}

/* The queue in nf_queue's verdict argument, spilled near the call site; -1 if it is not there. */
__noinline int queue_of_spilled_verdict(int anchor)
{
	struct frame *frame = this_frame();

	if (!frame)
		return -1;
	for (__u32 i = 0; i < 28; i++) {
		__u64 word = frame_word(frame, anchor + 8 - i);
		/* A 32-bit argument may be in either half of the word. */
		__u32 low = word, high = word >> 32;

		if ((high & (NF_VERDICT_FLAGS | NF_VERDICT_MASK)) == NF_QUEUE && high >> 16)
			return high >> 16;
		if ((low & (NF_VERDICT_FLAGS | NF_VERDICT_MASK)) == NF_QUEUE && low >> 16)
			return low >> 16;
	}
	return -1;
}

/*
 * Is there a struct nfnl_info {net, sk, nlh, nfmsg, ...} at this word, on nfnetlink_rcv_msg's
 * stack? By its shape: the family's header follows the netlink header.
 */
__noinline int queue_info_at(__u32 index)
{
	struct frame *frame = this_frame();
	__u64 header;

	if (!frame)
		return 0;
	index &= FRAME_WORDS - 1;
	barrier_var(index);
	header = frame->words[index + 2];
	return frame->words[index + 3] == header + NLMSG_HDRLEN && (header >> 56) == 0xff &&
	       (frame->words[index + 1] >> 56) == 0xff;
}

/*
 * What a listener says of the packet with that id, from its message behind the family's header:
 * the attribute NFQA_VERDICT_HDR, among the first few. -1 if it says nothing of it.
 */
__noinline int queue_read_verdict(__u64 message, __u32 id)
{
	__u64 at = message + sizeof(struct nfgenmsg);
	__u16 type = 0;

	if (bpf_probe_read_kernel(&type, sizeof(type), (void *)(message + NLMSG_TYPE)))
		return -1;
	if (type != NFQNL_VERDICT && type != NFQNL_VERDICT_BATCH)
		return -1;
	for (int i = 0; i < 4; i++) {
		struct {
			__u16 length;
			__u16 type;
			__be32 verdict;
			__be32 id; /* in a batch, the highest one */
		} attribute = {};

		if (bpf_probe_read_kernel(&attribute, sizeof(attribute), (void *)at))
			return -1;
		if (attribute.type == NFQA_VERDICT_HDR) {
			if (type == NFQNL_VERDICT && bpf_ntohl(attribute.id) != id)
				return -1;
			return bpf_ntohl(attribute.verdict) & NF_VERDICT_MASK;
		}
		if (attribute.length < 4)
			return -1;
		at += (attribute.length + 3) & ~3;
	}
	return -1;
}

/*
 * Index of the words above; -1 if the verdict did not come by netlink (a listener that ended). An
 * earlier system call may have left such words behind, of a message that is gone: this packet's
 * message names its id.
 */
__noinline int queue_find_info(__u32 id)
{
	for (int i = 0; i < FRAME_WORDS - 4; i++) {
		struct frame *frame = this_frame();

		if (frame && queue_info_at(i) &&
		    queue_read_verdict(frame_word(frame, i + 3), id) >= 0)
			return i;
	}
	return -1;
}

__noinline int queue_is_judged(__u32 index)
{
	struct frame *frame = this_frame();
	struct nf_queue_entry *entry;

	if (!frame || !bpf_core_type_exists(struct nf_queue_entry))
		return 0;
	entry = (void *)frame_word(frame, index);
	return queue_find_info(BPF_CORE_READ(entry, id)) >= 0;
}

/* The packet's entry that a message names, before one that was freed and has not been used since.
 */
__noinline int queue_find_judged_entry(__u64 skb)
{
	for (int i = 0; i < ENTRY_WORDS; i++)
		if (queue_entry_at(i, skb) && queue_is_judged(i))
			return i;
	return queue_find_entry(skb);
}

/* A listener said drop, and we run in its system call; or it ended, and a worker cleans up. */
static __always_inline void queue_attribute_verdict(struct frame *frame, struct dt_netfilter *found,
						    __u64 skb)
{
	int entry_index = queue_find_judged_entry(skb), info_index;
	__u32 id = 0;

	found->kind = DT_NF_QUEUE_VERDICT;
	if (bpf_core_type_exists(struct nf_queue_entry) && entry_index >= 0) {
		struct nf_queue_entry *entry = (void *)frame_word(frame, entry_index);

		id = BPF_CORE_READ(entry, id);
		found->hook = BPF_CORE_READ(entry, state.hook);
		found->pf = BPF_CORE_READ(entry, state.pf);
		found->netns = BPF_CORE_READ(entry, state.net, ns.inum);
		found->has_hook = 1;
	}
	info_index = queue_find_info(id);
	if (info_index >= 0) {
		struct nfgenmsg *message = (void *)frame_word(frame, info_index + 3);
		__be16 queue = 0;

		bpf_probe_read_kernel(&queue, sizeof(queue), &message->res_id);
		found->queue = bpf_ntohs(queue);
		found->has_queue = 1;
		/* Accepted: a hook behind the queue has dropped it, in the same call. */
		if (queue_read_verdict((__u64)message, id) != NF_DROP)
			found->kind = DT_NF_NONE;
	}
}

static __always_inline void queue_attribute_failure(struct dt_netfilter *found, int anchor)
{
	int queue = queue_of_spilled_verdict(anchor);

	found->kind = DT_NF_QUEUE_FAILED;
	if (queue >= 0) {
		found->queue = queue;
		found->has_queue = 1;
	}
}
