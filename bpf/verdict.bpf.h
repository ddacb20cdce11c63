/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Engine "hook": notes of nf_tables' verdicts, between the programs that write them
 * (verdict.bpf.c) and the one that records the drop. A packet's address joins the two, and it is
 * used again at once for other packets: a note counts only if nothing can have come in between.
 */
#pragma once

#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "droptrace/event.h"

/* From the verdict to what it leads to: some microseconds, but for emulators on busy machines. */
#define VERDICT_FRESH_NS 1000000000

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DT_VERDICTS_MAX);
	__type(key, __u64);
	__type(value, struct dt_verdict);
} dt_verdicts SEC(".maps") __weak;

static __always_inline bool verdict_is_fresh(const struct dt_verdict *verdict)
{
	return bpf_ktime_get_boot_ns() - verdict->time_ns < VERDICT_FRESH_NS;
}
