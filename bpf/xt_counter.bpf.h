/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Engine "counter": which rule of ip_tables or ip6_tables drops. ipt_do_table has returned when
 * nf_hook_slow frees the packet, so no frame tells the rule any more; but the rule has just counted
 * the packet, on this CPU. Each rule that can drop is compared with what it had counted at the last
 * drop: the one that has moved by one packet of this length is it.
 *
 * That is an observation, not a guess, as long as no drop is overlooked: a rule that drops counts
 * dropped packets only. So every drop in nf_hook_slow is followed, whatever the filters say of it,
 * and whenever more than one counter has moved (two drops nested, one was not seen), nothing is
 * said.
 */
#pragma once

#include "frame.bpf.h"

#define XT_COMPARE_STEPS 32 /* divides DT_XT_RULES_MAX */

#define XT_SCRATCH XT_SCRATCH_OF_DROP
#include "xt.bpf.h"

/* 1 or 0, without a branch: the compiler would make one of a comparison. */
static __always_inline __u64 xt_is_not_zero(__u64 number)
{
	__u64 negative = -number;

	barrier_var(negative);
	return (number | negative) >> 63;
}

/*
 * Compares the counters of some of a table's rules, from one on, with those noted, and notes the
 * new ones. A function of its own: the verifier sees these few once, not all that there may be.
 */
__noinline int xt_compare_some(__u64 info, __u32 first)
{
	struct dt_xt_counts_key key = {.info = info, .cpu = bpf_get_smp_processor_id()};
	struct dt_xt_table *table = bpf_map_lookup_elem(&dt_xt_tables, &info);
	struct dt_xt_counts *counts = bpf_map_lookup_elem(&dt_xt_counts, &key);
	struct xt_scratch *scratch = xt_this_scratch();
	__u64 offset;

	if (!scratch)
		return 0;
	if (!table || !counts || counts->table != table->number) {
		scratch->unknown++; /* replaced this moment */
		return 0;
	}
	offset = xt_cpu_offset(scratch);
	for (__u32 i = 0; i < XT_COMPARE_STEPS; i++) {
		__u32 index = (first + i) & (DT_XT_RULES_MAX - 1);
		__u64 packets, bytes, moved, inexact;
		struct dt_xt_count now = {}, *old;

		barrier_var(index);
		if (index >= *(volatile __u32 *)&table->rules)
			break;
		old = &counts->rule[index];
		bpf_probe_read_kernel(&now, sizeof(now),
				      (void *)(table->rule[index].counters + offset));
		/* No branches, and sums in memory: one verifier state for each iteration. */
		packets = now.packets - old->packets;
		bytes = now.bytes - old->bytes;
		moved = xt_is_not_zero(packets | bytes);
		inexact = xt_is_not_zero((packets ^ 1) |
					 (bytes ^ *(volatile __u64 *)&scratch->length));
		*(volatile __u64 *)&scratch->moved += moved;
		*(volatile __u64 *)&scratch->exact += 1 ^ inexact;
		*(volatile __u64 *)&scratch->sum += moved * index;
		*old = now;
	}
	return 0;
}

/* The same for all rules of a table. */
__noinline int xt_compare(__u64 info)
{
	struct dt_xt_counts_key key = {.info = info, .cpu = bpf_get_smp_processor_id()};
	struct dt_xt_table *table = bpf_map_lookup_elem(&dt_xt_tables, &info);
	struct dt_xt_counts *counts = bpf_map_lookup_elem(&dt_xt_counts, &key);
	struct xt_scratch *scratch = xt_this_scratch();
	__u64 before;

	if (!scratch)
		return 0;
	if (!table || !counts || !counts->table || counts->table != table->number) {
		scratch->unknown++;
		if (counts)
			(*(volatile __u64 *)&counts->overlooked)++;
		return 0;
	}
	before = *(volatile __u64 *)&scratch->moved;
	*(volatile __u64 *)&scratch->sum = 0;
	for (__u32 first = 0; first < DT_XT_RULES_MAX; first += XT_COMPARE_STEPS) {
		if (first >= *(volatile __u32 *)&table->rules)
			break;
		xt_compare_some(info, first);
	}
	if (*(volatile __u64 *)&scratch->moved != before) {
		scratch->found_info = info;
		scratch->found_rule = *(volatile __u64 *)&scratch->sum;
	}
	return 0;
}

/*
 * The tables of ip_tables at the hook point that xt_note_hooks() has noted; only that of one entry
 * if it is known which one dropped.
 */
__noinline int xt_compare_tables(int index)
{
	struct xt_scratch *scratch = xt_this_scratch();
	__u64 entry;

	if (!scratch)
		return 0;
	scratch->moved = scratch->exact = scratch->unknown = 0;
	if (index >= 0) {
		entry = xt_hook_entry(scratch, index);
		if (entry && xt_note_table(entry))
			xt_compare(*(volatile __u64 *)&scratch->info);
		return 0;
	}
	for (__u32 i = 0; i < XT_HOOK_ENTRIES_MAX; i++) {
		entry = xt_hook_entry(scratch, i);
		if (!entry)
			break;
		if (xt_note_table(entry))
			xt_compare(*(volatile __u64 *)&scratch->info);
	}
	return 0;
}

/*
 * ip_tables keeps the rules that jumped, per CPU and without ever clearing them. As with nf_tables,
 * user space cuts off what is left over.
 */
__noinline int xt_read_path(__u64 info_address)
{
	struct xt_table_info *info = (void *)info_address;
	__u64 start, stacks, stack = 0, jump = 0;
	struct frame *frame = this_frame();
	__u32 size, depth;

	if (!frame || !bpf_core_type_exists(struct xt_table_info))
		return 0;
	start = xt_rule_at(info_address, 0);
	size = BPF_CORE_READ(info, size);
	depth = BPF_CORE_READ(info, stacksize);
	stacks = (__u64)BPF_CORE_READ(info, jumpstack);
	if (!stacks || bpf_probe_read_kernel(&stack, sizeof(stack),
					     (void *)(stacks + bpf_get_smp_processor_id() * 8)))
		return 0;
	for (__u32 i = 0; i < DT_PATH_DEPTH; i++) {
		if (i >= depth ||
		    bpf_probe_read_kernel(&jump, sizeof(jump), (void *)(stack + i * 8)))
			break;
		if (jump - start >= size)
			break;
		frame->found.path[i].next_rule = jump - start;
		frame->found.depth = i + 1;
	}
	return 0;
}

/* Is the rule that counted still the one that user space was told of? Its index, or -1. */
__noinline int xt_check_found(void)
{
	struct xt_scratch *scratch = xt_this_scratch();
	struct dt_xt_table *table;
	struct dt_xt_rule *rule;
	__u32 index;
	__u64 info;

	if (!scratch || !bpf_core_type_exists(struct xt_table_info))
		return -1;
	info = scratch->found_info;
	table = bpf_map_lookup_elem(&dt_xt_tables, &info);
	if (!table)
		return -1;
	index = scratch->found_rule & (DT_XT_RULES_MAX - 1);
	barrier_var(index);
	rule = &table->rule[index];
	if (!xt_read_rule(xt_rule_at(info, rule->offset), table->counters_offset))
		return -1;
	if (scratch->counters != rule->counters || scratch->print != rule->print)
		return -1;
	return index;
}

/* After xt_attribute(): all tables were looked at, and no rule of theirs has dropped. */
static __always_inline bool xt_nothing_moved(void)
{
	struct xt_scratch *scratch = xt_this_scratch();

	return scratch && !scratch->unknown && !scratch->moved;
}

/*
 * Fills frame->found for a packet that is dropped right now at the hook that xt_note_hooks() has
 * noted, by the entry with this index; -1: by any.
 */
static __always_inline void xt_attribute(struct frame *frame, __u32 length, int index)
{
	struct dt_netfilter *found = &frame->found;
	struct xt_scratch *scratch = xt_this_scratch();
	struct dt_xt_table *table;
	__u64 info;

	if (!scratch)
		return;
	scratch->length = length;
	xt_compare_tables(index);
	if (scratch->unknown) {
		found->kind = DT_NF_XT_UNKNOWN;
		return;
	}
	if (scratch->moved != 1 || scratch->exact != 1)
		return;
	index = xt_check_found();
	info = scratch->found_info;
	table = bpf_map_lookup_elem(&dt_xt_tables, &info);
	if (index < 0 || !table) {
		found->kind = DT_NF_XT_UNKNOWN;
		return;
	}
	index &= DT_XT_RULES_MAX - 1;
	barrier_var(index);
	found->kind = DT_NF_XT_RULE;
	found->family = found->pf;
	found->table = table->number;
	found->rule = table->rule[index].offset;
	xt_read_path(info);
}
