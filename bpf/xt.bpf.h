/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ip_tables and ip6_tables, as far as both programs that look at them need to agree: which tables a
 * hook has, where a rule's counter is, and how to recognise a rule that was seen before.
 *
 * A source that includes this says which scratch is its own (XT_SCRATCH): user space may have
 * dt_xt_prime run on a CPU in the middle of a drop there. The types belong to modules that may not
 * be loaded: functions that are verified on their own ask for them first.
 */
#pragma once

#include "common.bpf.h"

#define NFPROTO_IPV4 2
#define NFPROTO_IPV6 10
#define NF_INET_NUMHOOKS 5

#define XT_SCRATCH_OF_DROP 0
#define XT_SCRATCH_OF_PRIME 1
#define XT_SCRATCHES 2

#define XT_HOOK_ENTRIES_MAX 24 /* hooks that are looked at, of each hook point */
#define XT_SCRATCH_WORDS 64    /* a power of two, for masks; struct bpf_array with its map fits */
/*
 * Words of a rule that tell it from another. A rule is followed by at least a rule header, whose
 * counters move; they begin behind this.
 */
#define XT_PRINT_WORDS 30

/* Scratch of one search, per CPU; no program nests in itself on a CPU. */
struct xt_scratch {
	__u64 self;	  /* address of this, as a number */
	__u64 table;	  /* struct xt_table * of the hook that was looked at last */
	__u64 info;	  /* its struct xt_table_info *: the rules as they are now */
	__u64 entries;	  /* struct nf_hook_entries * of a hook point */
	__u64 counters;	  /* of the rule that was read last: handle of its counter */
	__u64 print;	  /* and a number for all else that it is */
	__u64 length;	  /* what the packet adds to the bytes of the rule that drops it */
	__u64 found_info; /* the table with the counter that moved */
	__u64 found_rule; /* its index in struct dt_xt_table */
	__u64 moved;	  /* counters that moved, in all tables of the hook */
	__u64 exact;	  /* of these: by one packet of that length */
	__u64 unknown;	  /* tables whose rules user space has not told */
	__u64 sum;	  /* of the indexes that moved in one table */
	__u32 hooks;	  /* entries of a hook point, in memory for the verifier's sake */
	__u32 pad;
	__u64 words[XT_SCRATCH_WORDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, XT_SCRATCHES);
	__type(key, __u32);
	__type(value, struct xt_scratch);
} dt_xt_scratch SEC(".maps") __weak;

/* Tables by struct xt_table_info *: the kernel replaces it whole at each change of the rules. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DT_XT_TABLES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct dt_xt_table);
} dt_xt_tables SEC(".maps") __weak;

/* What their rules counted when a CPU last looked. The size is set before load. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DT_XT_TABLES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct dt_xt_counts_key);
	__type(value, struct dt_xt_counts);
} dt_xt_counts SEC(".maps") __weak;

/* Per-CPU handles of the entries of dt_xt_scratch, for xt_cpu_offset(); dt_xt_prime reads them. */
__u64 dt_xt_scratch_handles[XT_SCRATCHES] __weak;

static __always_inline struct xt_scratch *xt_this_scratch(void)
{
	__u32 index = XT_SCRATCH;

	return bpf_map_lookup_elem(&dt_xt_scratch, &index);
}

/*
 * What turns a per-CPU handle into this CPU's address. The kernel's own table of offsets is data,
 * for which not every kernel has symbols; a map of ours tells the same.
 */
static __always_inline __u64 xt_cpu_offset(struct xt_scratch *scratch)
{
	/* A pointer is a scalar once it has been through memory. */
	*(volatile __u64 *)&scratch->self = (__u64)scratch;
	return *(volatile __u64 *)&scratch->self - dt_xt_scratch_handles[XT_SCRATCH];
}

/* Does this entry of a hook point call ip_tables? Notes the table and its rules if so. */
static __noinline int xt_note_table(__u64 entry)
{
	struct xt_scratch *scratch = xt_this_scratch();
	struct nf_hook_entry hook = {};
	struct xt_table *table;
	int calls = 0;

	if (!scratch || !bpf_core_type_exists(struct xt_table))
		return 0;
	if (bpf_probe_read_kernel(&hook, sizeof(hook), (void *)entry))
		return 0;
	for (int i = 0; i < DT_XT_FUNCTIONS; i++)
		calls |= dt_layout.xt_functions[i] == (__u64)hook.hook;
	table = hook.priv;
	if (!calls || !hook.hook || !table)
		return 0;
	scratch->table = (__u64)table;
	scratch->info = (__u64)BPF_CORE_READ(table, private);
	return 1;
}

/* Notes a hook point's entries and how many there are. */
static __noinline int xt_note_hooks(__u64 net_address, __u32 pf, __u32 hook)
{
	struct xt_scratch *scratch = xt_this_scratch();
	struct net *net = (void *)net_address;
	struct nf_hook_entries *entries = NULL;

	if (!scratch || hook >= NF_INET_NUMHOOKS)
		return 0;
	if (pf == NFPROTO_IPV4)
		bpf_core_read(&entries, sizeof(entries), &net->nf.hooks_ipv4[hook]);
	else if (pf == NFPROTO_IPV6)
		bpf_core_read(&entries, sizeof(entries), &net->nf.hooks_ipv6[hook]);
	scratch->hooks = entries ? BPF_CORE_READ(entries, num_hook_entries) : 0;
	scratch->entries = (__u64)entries;
	return 1;
}

/* Address of an entry that xt_note_hooks() has noted, 0 behind the last. */
static __always_inline __u64 xt_hook_entry(struct xt_scratch *scratch, __u32 index)
{
	struct nf_hook_entries *entries = (void *)*(volatile __u64 *)&scratch->entries;

	if (index >= *(volatile __u32 *)&scratch->hooks)
		return 0;
	return (__u64)&entries->hooks[index];
}

/* Reads a rule where it lies in its table: scratch->counters and scratch->print. */
static __noinline int xt_read_rule(__u64 rule, __u32 counters_offset)
{
	struct xt_scratch *scratch = xt_this_scratch();
	__u32 index = (counters_offset >> 3) & (XT_SCRATCH_WORDS / 2 - 1);
	__u64 print = 0;

	if (!scratch)
		return 0;
	if (bpf_probe_read_kernel(scratch->words, XT_PRINT_WORDS * 8, (void *)rule))
		return 0;
	barrier_var(index);
	scratch->counters = scratch->words[index];
	/* With one possible CPU the counter is in the rule itself. */
	if (dt_config.one_cpu)
		scratch->counters = rule + counters_offset - xt_cpu_offset(scratch);
	scratch->words[index] = 0;
	scratch->words[index + 1] = 0;
	for (int i = 0; i < XT_PRINT_WORDS; i++) {
		print = (print ^ scratch->words[i]) * 0x100000001b3ULL; /* FNV-1a, by words */
		print ^= print >> 32;
	}
	scratch->print = print;
	return 1;
}

/* Address of the rule at an offset, as user space knows offsets, too. */
static __always_inline __u64 xt_rule_at(__u64 info_address, __u32 offset)
{
	struct xt_table_info *info = (void *)info_address;

	return (__u64)&info->entries[offset];
}
