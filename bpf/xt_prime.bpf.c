// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looks at ip_tables for user space, which runs these programs with BPF_PROG_TEST_RUN. Nothing is
 * attached.
 */
#define XT_SCRATCH XT_SCRATCH_OF_PRIME
#include "xt.bpf.h"

/* What dt_xt_list found. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dt_xt_list);
} dt_xt_found SEC(".maps");

/* The number by which user space knows the table, if its last rule is still what it was. */
__noinline __u64 xt_known_number(__u64 info)
{
	struct dt_xt_table *table = bpf_map_lookup_elem(&dt_xt_tables, &info);
	struct xt_scratch *scratch = xt_this_scratch();
	struct dt_xt_rule *rule;
	__u32 index;

	if (!scratch || !table || !bpf_core_type_exists(struct xt_table_info))
		return 0;
	if (!table->rules)
		return table->number;
	index = (table->rules - 1) & (DT_XT_RULES_MAX - 1);
	barrier_var(index);
	rule = &table->rule[index];
	if (!xt_read_rule(xt_rule_at(info, rule->offset), table->counters_offset) ||
	    scratch->counters != rule->counters || scratch->print != rule->print)
		return 0;
	return table->number;
}

/* Appends the table that xt_note_table() has noted. */
__noinline int xt_append_table(__u32 pf)
{
	struct xt_scratch *scratch = xt_this_scratch();
	__u32 zero = 0, index;
	struct dt_xt_list *list = bpf_map_lookup_elem(&dt_xt_found, &zero);
	struct xt_table_info *info;
	struct xt_table *table;
	struct dt_xt_entry *entry;

	if (!scratch || !list || !bpf_core_type_exists(struct xt_table))
		return 0;
	index = list->count;
	if (index >= DT_XT_LIST_MAX)
		return 0;
	entry = &list->entry[index];
	table = (void *)scratch->table;
	info = (void *)scratch->info;
	entry->info = scratch->info;
	entry->size = BPF_CORE_READ(info, size);
	entry->number = BPF_CORE_READ(info, number);
	entry->known = xt_known_number(*(volatile __u64 *)&scratch->info);
	entry->family = pf;
	bpf_probe_read_kernel_str(entry->name, sizeof(entry->name), &table->name);
	list->count = index + 1;
	return 0;
}

__noinline int xt_list_hook(__u64 net, __u32 pf, __u32 hook)
{
	struct xt_scratch *scratch = xt_this_scratch();

	if (!scratch || !xt_note_hooks(net, pf, hook))
		return 0;
	for (__u32 i = 0; i < XT_HOOK_ENTRIES_MAX; i++) {
		__u64 entry = xt_hook_entry(scratch, i);

		if (!entry)
			break;
		if (xt_note_table(entry))
			xt_append_table(pf);
	}
	return 0;
}

/*
 * Lists the tables that the hooks of a network namespace call, once for each hook. The namespace is
 * that of the calling thread, or the one at args[0], if that is still the one numbered args[1].
 */
SEC("?raw_tp")
int dt_xt_list(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 address = ctx->args[0];
	__u32 inum = ctx->args[1], zero = 0;
	struct dt_xt_list *list = bpf_map_lookup_elem(&dt_xt_found, &zero);
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net *net = (void *)address;

	if (!list)
		return 0;
	if (!address)
		net = BPF_CORE_READ(task, nsproxy, net_ns);
	list->net = (__u64)net;
	list->netns = BPF_CORE_READ(net, ns.inum);
	list->count = 0;
	if (address && list->netns != inum)
		return 0;
	for (__u32 hook = 0; hook < NF_INET_NUMHOOKS; hook++) {
		xt_list_hook(*(volatile __u64 *)&list->net, NFPROTO_IPV4, hook);
		xt_list_hook(*(volatile __u64 *)&list->net, NFPROTO_IPV6, hook);
	}
	return 0;
}

/* Notes what a rule is and what it has counted on this CPU. */
__noinline int xt_prime_rule(__u64 info, __u32 index)
{
	struct dt_xt_counts_key key = {.info = info, .cpu = bpf_get_smp_processor_id()};
	struct dt_xt_table *table = bpf_map_lookup_elem(&dt_xt_tables, &info);
	struct dt_xt_counts *counts = bpf_map_lookup_elem(&dt_xt_counts, &key);
	struct xt_scratch *scratch = xt_this_scratch();
	struct dt_xt_rule *rule;

	index &= DT_XT_RULES_MAX - 1;
	barrier_var(index);
	if (!scratch || !table || !counts || !bpf_core_type_exists(struct xt_table_info))
		return 0;
	rule = &table->rule[index];
	if (!xt_read_rule(xt_rule_at(info, rule->offset), table->counters_offset))
		return 0;
	rule->counters = scratch->counters;
	rule->print = scratch->print;
	bpf_probe_read_kernel(&counts->rule[index], sizeof(counts->rule[index]),
			      (void *)(rule->counters + xt_cpu_offset(scratch)));
	return 0;
}

/*
 * Gets the table whose rules are at args[0], and which user space has put into both maps, ready on
 * the CPU that it runs on. Until then its counters are not looked at there: a drop that interrupts
 * this, as softirqs may, has moved one that may be noted already. Returns 1 then: do it again.
 */
SEC("?raw_tp")
int dt_xt_prime(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 member = bpf_core_field_offset(struct bpf_array, pptrs) / 8;
	struct dt_xt_counts_key key = {.cpu = bpf_get_smp_processor_id()};
	struct xt_scratch *scratch = xt_this_scratch();
	__u64 info = ctx->args[0];
	struct dt_xt_counts *counts;
	struct dt_xt_table *table;
	__u64 overlooked;

	key.info = info;
	table = bpf_map_lookup_elem(&dt_xt_tables, &info);
	counts = bpf_map_lookup_elem(&dt_xt_counts, &key);
	if (!scratch || !table || !counts)
		return 0;
	/* The verifier lets nobody look into a map; a copy is another matter. */
	bpf_probe_read_kernel(scratch->words, sizeof(scratch->words), &dt_xt_scratch);
	for (__u32 i = 0; i < XT_SCRATCHES; i++)
		dt_xt_scratch_handles[i] = scratch->words[(member + i) & (XT_SCRATCH_WORDS - 1)];
	overlooked = *(volatile __u64 *)&counts->overlooked;
	for (__u32 i = 0; i < DT_XT_RULES_MAX; i++) {
		if (i >= *(volatile __u32 *)&table->rules)
			break;
		xt_prime_rule(info, i);
	}
	*(volatile __u64 *)&counts->table = table->number;
	if (*(volatile __u64 *)&counts->overlooked == overlooked)
		return 0;
	counts->table = 0;
	return 1;
}
