/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every map and option of the BPF side. Weak, so that each source may include them and `bpftool gen
 * object` makes one of each.
 */
#pragma once

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "droptrace/event.h"

/* Set before load. */
const volatile struct dt_config dt_config __weak = {.snaplen = 128};

/*
 * 1 while user space drains dt_records on a timer. A wake-up costs about ten times what a record
 * costs, so it is only asked for when nobody is polling, or when the ring fills faster than the
 * timer ticks.
 */
volatile __u32 dt_consumer_polls __weak;

/* Set after load; see user space's self_test.h. */
struct dt_layout dt_layout __weak;

/* Records on their way to user space. The size is set before load. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
} dt_records SEC(".maps") __weak;

/* Watched network namespaces, by inode number: enum dt_watch. User space keeps it up to date. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DT_NETNS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u8);
} dt_netns SEC(".maps") __weak;

/* Service and pod CIDRs, and what is this node's own: enum dt_watch. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, DT_CIDRS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct dt_cidr4);
	__type(value, __u8);
} dt_cidrs4 SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, DT_CIDRS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct dt_cidr6);
	__type(value, __u8);
} dt_cidrs6 SEC(".maps") __weak;

/* New connections under NAT: the answer's tuple -> the tuple before NAT (nat.bpf.c). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DT_NAT_MAX);
	__type(key, struct dt_tuple);
	__type(value, struct dt_tuple);
} dt_nat SEC(".maps") __weak;

/* Answers by the address of the packet that they answer (answers.bpf.c). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DT_ANSWERS_MAX);
	__type(key, __u64);
	__type(value, struct dt_answer);
} dt_answers SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dt_stats);
} dt_stats SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DT_CALIBRATION_WORDS);
	__type(key, __u32);
	__type(value, struct dt_calibration);
} dt_calibration SEC(".maps") __weak;

static __always_inline struct dt_stats *stats_of_this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&dt_stats, &zero);
}

static __always_inline __u64 wakeup_flags(void)
{
	if (!dt_consumer_polls)
		return BPF_RB_FORCE_WAKEUP;
	if (bpf_ringbuf_query(&dt_records, BPF_RB_AVAIL_DATA) >= dt_config.wakeup_bytes)
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}
