/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How nf_tables keeps a chain's rules: as one blob (Linux 5.17, 2c865a8a28a1). Each rule begins
 * with a 64-bit header is_last:1, dlen:12, handle:42 and dlen bytes of expressions; the end marker
 * names the chain (6.4).
 */
#pragma once

#include "vmlinux.h"

#define RULE_HEADER_SIZE 8

/* The header's padding bits are not initialised: nothing but these fields may be looked at. */
static __always_inline bool rule_is_last(__u64 header)
{
	return header & 1;
}

static __always_inline __u64 rule_size(__u64 header)
{
	return header >> 1 & 0xfff;
}

static __always_inline __u64 rule_handle(__u64 header)
{
	return header >> 13 & ((1ULL << 42) - 1);
}
