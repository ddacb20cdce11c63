/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Engine "entry": which function of a hook point said drop. nf_hook_slow calls what is registered
 * there one by one, and frees the packet for each of them: for conntrack, NAT, IPVS or a BPF
 * program, which have no rule, as for ip_tables. While it does, the index of the entry that it is
 * at and the list of entries are in registers that the functions between it and us have to save:
 * both are on the stack, below the anchor.
 *
 * An index is a small number that has no shape to tell it by, so its place is taken from the
 * self-test. It depends on the build and on what the kernel calls in between, which is one of two:
 * a tracepoint with one program on it calls that, with more it walks a list in a frame of its own
 * (static calls, Linux 5.10). How far the anchor is tells these apart. With anything else in
 * between, nothing is said.
 *
 * The list is replaced whole when a function comes or goes: unless the one that is registered now
 * is on the stack, it is not the one that nf_hook_slow walks, and nothing is said. Where it is, but
 * the index is not known, all functions in it are told, but for those that cannot have dropped.
 */
#pragma once

#include "frame.bpf.h"
#include "xt_counter.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dt_frame_words);
} dt_frame_words SEC(".maps") __weak;

/* For the self-test, in its namespace: the frame as it is. */
__noinline int entry_note_frame(int anchor)
{
	__u32 zero = 0;
	struct dt_frame_words *note = bpf_map_lookup_elem(&dt_frame_words, &zero);
	struct xt_scratch *scratch = xt_this_scratch();
	struct frame *frame = this_frame();

	if (!frame || !scratch || !note)
		return 0;
	note->anchor = anchor;
	note->entries = scratch->hooks;
	__builtin_memcpy(note->word, frame->words, sizeof(note->word));
	return 0;
}

/* Was this list of entries in a register of nf_hook_slow? */
__noinline int entry_is_list_on_stack(int anchor)
{
	struct xt_scratch *scratch = xt_this_scratch();

	return scratch && scratch->entries && frame_find(scratch->entries, 0) < anchor;
}

/* Index of the entry that nf_hook_slow is at, in what xt_note_hooks() has noted; -1: not known. */
__noinline int entry_index(int anchor)
{
	struct xt_scratch *scratch = xt_this_scratch();
	struct frame *frame = this_frame();
	__u64 index = ~0ULL;

	if (!frame || !scratch)
		return -1;
	for (int i = 0; i < DT_CALL_WAYS; i++)
		if (dt_layout.entry[i].anchor && dt_layout.entry[i].anchor == (__u32)anchor)
			index = frame_word(frame, dt_layout.entry[i].word);
	if (index >= scratch->hooks || index >= XT_HOOK_ENTRIES_MAX)
		return -1;
	return entry_is_list_on_stack(anchor) ? (int)index : -1;
}

/* Address of the function that is called at an entry; 0: there is none. */
static __always_inline __u64 entry_function(__u64 entry)
{
	struct nf_hook_entry hook = {};

	if (!entry || bpf_probe_read_kernel(&hook, sizeof(hook), (void *)entry))
		return 0;
	return (__u64)hook.hook;
}

__noinline int entry_is_ip_tables(__u64 function)
{
	int is = 0;

	for (int i = 0; i < DT_XT_FUNCTIONS; i++)
		is |= dt_layout.xt_functions[i] == function;
	return is;
}

/*
 * All that may have dropped the packet; without ip_tables if its counters were followed and none
 * has moved. Notes nothing if that is more than there is room for.
 */
__noinline int entry_note_candidates(int without_ip_tables)
{
	struct xt_scratch *scratch = xt_this_scratch();
	struct frame *frame = this_frame();
	__u64 count = 0;

	if (!frame || !scratch || scratch->hooks > DT_HOOK_FUNCTIONS)
		return 0;
	for (__u32 i = 0; i < DT_HOOK_FUNCTIONS; i++) {
		__u64 function = entry_function(xt_hook_entry(scratch, i));

		if (!function)
			break;
		/* Stored always, kept by counting: no branch, no second state. */
		frame->found.function[count & (DT_HOOK_FUNCTIONS - 1)] = function;
		count += 1 ^ (without_ip_tables & entry_is_ip_tables(function) & 1);
		barrier_var(count);
	}
	frame->found.functions = count;
	return 0;
}

/* Notes the function at an entry. */
__noinline int entry_note_function(int index)
{
	struct xt_scratch *scratch = xt_this_scratch();
	struct frame *frame = this_frame();

	if (!frame || !scratch)
		return 0;
	frame->found.function[0] = entry_function(xt_hook_entry(scratch, index));
	frame->found.functions = frame->found.has_function = frame->found.function[0] != 0;
	return 0;
}

/* Fills frame->found for a packet that nf_hook_slow frees right now at this hook. */
static __always_inline void entry_attribute(struct frame *frame, __u64 net, __u32 length,
					    int anchor)
{
	struct dt_netfilter *found = &frame->found;
	int index;

	if (!xt_note_hooks(net, found->pf, found->hook))
		return;
	if (dt_layout.calibrating && found->netns == dt_layout.test_netns)
		entry_note_frame(anchor);
	index = entry_index(anchor);
	if (index >= 0)
		entry_note_function(index);
	if (dt_layout.xt_known)
		xt_attribute(frame, length, index);
	if (index < 0 && found->kind == DT_NF_NONE && entry_is_list_on_stack(anchor))
		entry_note_candidates(dt_layout.xt_known && xt_nothing_moved());
}
