/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel <-> user ABI: what bpf/ writes and userspace/ reads, and nothing else.
 * Compiled as BPF C and as C++, so a field means the same on both sides.
 *
 * Byte order: numbers are host order unless the field says "network order".
 */
#pragma once

#ifdef __cplusplus
#include <cstddef>
#include <cstdint>
using dt_u8 = std::uint8_t;
using dt_u16 = std::uint16_t;
using dt_u32 = std::uint32_t;
using dt_u64 = std::uint64_t;
#define DT_ASSERT(condition, message) static_assert(condition, message)
#define DT_OFFSET(type, field) offsetof(type, field)
#else
typedef __u8 dt_u8;
typedef __u16 dt_u16;
typedef __u32 dt_u32;
typedef __u64 dt_u64;
#define DT_ASSERT(condition, message) _Static_assert(condition, message)
#define DT_OFFSET(type, field) __builtin_offsetof(type, field)
#endif

#define DT_NAME_LENGTH 16 /* IFNAMSIZ and TASK_COMM_LEN */
#define DT_STACK_DEPTH 24 /* enough to reach the system call above ip_output and nf_hook_slow */
#define DT_SNAPLEN_MAX 256
#define DT_CIDRS_MAX 256 /* per address family */
#define DT_NETNS_MAX 16384
#define DT_NAT_MAX 4096
#define DT_ANSWERS_MAX 1024
#define DT_VERDICTS_MAX 8192 /* packets that wait in an NFQUEUE, in the first place */

/* Which fields of a record hold a value. */
enum dt_flags {
	DT_HAS_REASON = 1 << 0, /* the kernel gave a reason (Linux >= 5.17) */
	DT_HAS_CONNTRACK = 1 << 1,
	DT_CONNTRACK_REPLY = 1 << 2, /* the packet travels in the reply direction */
	DT_HAS_DEVICE = 1 << 3,
	DT_NETNS_FROM_SOCKET = 1 << 4,
	DT_NETNS_FROM_ROUTE = 1 << 5,
	DT_ANSWERED_ICMP = 1 << 6, /* an ICMP error was sent for the packet: icmp_type, icmp_code */
	DT_ANSWERED_RESET = 1 << 7, /* a TCP reset was sent for the packet */
};

/* A conntrack tuple, as struct nf_conntrack_tuple holds it. Addresses and ports in network order.
 */
struct dt_tuple {
	dt_u8 src[16]; /* IPv4: the first 4 bytes */
	dt_u8 dst[16];
	dt_u16 sport; /* ICMP: the query id */
	dt_u16 dport; /* ICMP: type and code */
	dt_u8 family; /* NFPROTO_IPV4 = 2, NFPROTO_IPV6 = 10 */
	dt_u8 protocol;
	dt_u16 pad;
};
DT_ASSERT(sizeof(struct dt_tuple) == 40, "dt_tuple is part of the ABI");

/* What netfilter's part in a drop is known to be. */
enum dt_nf_kind {
	DT_NF_NONE,	     /* not asked, or the frame was not understood */
	DT_NF_NFT_RULE,	     /* table, chain, rule */
	DT_NF_NFT_POLICY,    /* table, chain: the base chain's policy */
	DT_NF_QUEUE_VERDICT, /* queue: its listener said drop */
	DT_NF_QUEUE_FAILED,  /* queue: nobody listens, or it is full */
	DT_NF_XT_RULE,	     /* table: number in struct dt_xt_table; rule: offset in the table */
	DT_NF_XT_UNKNOWN,    /* ip_tables has changed: user space has yet to read it again */
};

#define DT_NFT_NAME_LENGTH 32 /* iptables has 28 at most */
#define DT_HOOK_FUNCTIONS 8   /* that are told apart where it is not known which one dropped */
#define DT_PATH_DEPTH 8	      /* half of NFT_JUMP_STACK_SIZE: deeper than any rule set seen */

/* A jump: where the packet would have gone on, had the rule not dropped it. Handles of nf_tables.
 */
struct dt_nf_step {
	dt_u64 chain;
	dt_u64 next_rule; /* the rule behind the jump; 0: the jump was the chain's last rule.
			     from_hook: the rule that jumped or went to the next chain.
			     DT_NF_XT_RULE: offset of the rule that jumped; chain is not used */
};

/*
 * Netfilter's part in a drop, in numbers: handles are unique in their table and never repeat.
 * Names are user space's business.
 */
struct dt_netfilter {
	dt_u64 table;
	dt_u64 chain;
	dt_u64 rule;
	struct dt_nf_step path[DT_PATH_DEPTH]; /* base chain first; entries behind depth are 0 */
	dt_u32 netns;			       /* of the hook; 0: not known */
	dt_u16 queue;
	dt_u8 kind;   /* enum dt_nf_kind */
	dt_u8 family; /* NFPROTO_* of the table */
	dt_u8 hook;   /* NF_INET_* or NF_NETDEV_*, valid if has_hook */
	dt_u8 pf;     /* NFPROTO_* of the hook */
	dt_u8 has_hook;
	dt_u8 depth; /* entries of path that look like jumps; stale ones may follow the real ones */
	dt_u8 has_queue;
	dt_u8 functions;    /* used of function: one of these dropped the packet; 0: not known */
	dt_u8 has_function; /* function[0] is it */
	dt_u8 has_entry;    /* the packet had a conntrack entry; only with functions */
	dt_u8 from_hook; /* noted at the verdict. A kind of queue then has the rule that queued */
	dt_u8 pad[7];
	dt_u64 function[DT_HOOK_FUNCTIONS]; /* addresses, of what nf_hook_slow calls at the hook */
};
DT_ASSERT(sizeof(struct dt_netfilter) == 240, "dt_netfilter is part of the ABI");

/* One dropped packet. */
struct dt_drop {
	dt_u64 time_ns;	 /* CLOCK_BOOTTIME */
	dt_u64 location; /* return address of the caller that freed the packet */
	dt_u64 stack[DT_STACK_DEPTH];
	dt_u32 stack_size; /* bytes used of stack; 0: not taken */
	dt_u32 flags;	   /* enum dt_flags */
	dt_u32 reason; /* enum skb_drop_reason of the running kernel; upper 16 bits: subsystem */
	dt_u32 cpu;
	dt_u32 netns;	 /* inode number; 0: not known */
	dt_u32 sk_netns; /* of the socket, if the packet had one */
	dt_u32 ifindex;	 /* of skb->dev, in netns */
	dt_u32 iif;	 /* skb->skb_iif: where the packet came in, in netns */
	dt_u32 mark;
	dt_u32 length;	  /* bytes of the whole packet, from L3 */
	dt_u32 ct_status; /* IPS_* bits */
	dt_u32 tgid;	  /* current task, initial PID namespace; unrelated in softirq context */
	dt_u16 protocol;  /* skb->protocol, network order */
	dt_u16 snapped;	  /* bytes used of packet */
	dt_u8 icmp_type;  /* of the answer */
	dt_u8 icmp_code;
	dt_u16 pad;
	struct dt_tuple original; /* before NAT */
	struct dt_tuple reply;	  /* what the answer looks like after NAT */
	char ifname[DT_NAME_LENGTH];
	char comm[DT_NAME_LENGTH];
	char nft_table[DT_NFT_NAME_LENGTH]; /* of the rule or policy, where user space may not be */
	char nft_chain[DT_NFT_NAME_LENGTH]; /* able to ask; cut where longer, else empty */
	struct dt_netfilter netfilter;
	dt_u8 packet[DT_SNAPLEN_MAX]; /* from the network header on */
};
DT_ASSERT(sizeof(struct dt_drop) == 936, "dt_drop is part of the ABI");
DT_ASSERT(DT_OFFSET(struct dt_drop, original) % 8 == 0, "tuples are aligned");

/* An answer that was sent for a packet that is about to be dropped. */
struct dt_answer {
	dt_u64 time_ns; /* CLOCK_BOOTTIME */
	dt_u32 flags;	/* DT_ANSWERED_* */
	dt_u8 icmp_type;
	dt_u8 icmp_code;
	dt_u16 pad;
};
DT_ASSERT(sizeof(struct dt_answer) == 16, "dt_answer is part of the ABI");

/*
 * What nf_tables decided on a packet, noted when it did, for kernels where nft_do_chain has
 * returned by the time the packet is freed.
 */
struct dt_verdict {
	dt_u64 time_ns; /* CLOCK_BOOTTIME */
	dt_u64 net;	/* struct net * of the hook */
	dt_u64 chain;	/* struct nft_chain * of the rule or policy; 0: not known */
	dt_u32 queued;	/* 1: nf_queue has taken the packet, and no other note was before */
	dt_u32 pad;
	struct dt_netfilter netfilter; /* DT_NF_QUEUE_VERDICT: the verdict was to queue it */
};
DT_ASSERT(sizeof(struct dt_verdict) == 272, "dt_verdict is part of the ABI");

/* Options fixed at load, so that the verifier prunes what is off. */
struct dt_config {
	dt_u32 snaplen;		   /* 64..DT_SNAPLEN_MAX */
	dt_u8 filter_netns;	   /* 1: only namespaces in the map dt_netns */
	dt_u8 filter_cidrs;	   /* 1: in namespaces that are not in it, only cluster packets */
	dt_u8 stack_always;	   /* 1: a stack for each drop, not only where it tells something */
	dt_u8 has_consumed;	   /* 1: reason_consumed is valid */
	dt_u32 reason_consumed;	   /* SKB_CONSUMED: not a drop */
	dt_u32 reason_netfilter;   /* NETFILTER_DROP */
	dt_u32 reason_unspecified; /* NOT_SPECIFIED */
	dt_u32 wakeup_bytes;	   /* while user space polls: wake it when this much waits */
	dt_u8 note_nat;		   /* 1: dt_note_nat is attached, dt_nat is worth a look */
	dt_u8 note_answers;	   /* 1: programs that fill dt_answers are attached */
	dt_u8 one_cpu;		   /* 1: only one is possible, and nothing is kept per CPU */
	dt_u8 pad;
};
DT_ASSERT(sizeof(struct dt_config) == 28, "dt_config is part of the ABI");

/* Addresses of a kernel function, from its first byte to behind its last. */
struct dt_function {
	dt_u64 start;
	dt_u64 end;
};

#define DT_CALL_WAYS 2 /* how a tracepoint calls a program: by itself, or among others */

/* Where nf_hook_slow's index of the entry that it calls is on the stack; see hook_entry.bpf.h. */
struct dt_entry_place {
	dt_u32 anchor; /* if the anchor is this word of the frame: 0: not known */
	dt_u32 word;
};

#define DT_XT_FUNCTIONS 12 /* hook functions of ip_tables and ip6_tables, of all kernels */

/*
 * Where this kernel keeps what it knows while it drops. Written by user space after load: the
 * functions from kallsyms, the rest by the self-test (tests of frames in a namespace of our own).
 */
struct dt_layout {
	struct dt_function nft_do_chain;
	struct dt_function nf_queue;
	struct dt_function reinject; /* nfqnl_reinject or nf_reinject */
	struct dt_function nf_hook_slow;
	dt_u64 xt_functions[DT_XT_FUNCTIONS]; /* addresses; 0: this kernel does not have it */
	struct dt_entry_place entry[DT_CALL_WAYS];
	dt_u64 text_start;
	dt_u64 policy_site;    /* return address of a policy's drop in nft_do_chain; 0: not known */
	dt_u32 jumpstack;      /* words from the anchor to jumpstack[0] */
	dt_u32 test_netns;     /* the self-test's namespace: its drops pass all filters */
	dt_u8 functions_known; /* the functions are set: queues can be read */
	dt_u8 frame_known;     /* the self-test has understood nft_do_chain's frame */
	dt_u8 calibrating;     /* note the frame in dt_calibration or dt_frame_words */
	dt_u8 xt_known;	       /* there are tables in dt_xt_tables */
	dt_u8 verdicts_known;  /* programs that fill dt_verdicts are attached */
	dt_u8 pad[3];
};
DT_ASSERT(sizeof(struct dt_layout) == 208, "dt_layout is part of the ABI");

#define DT_CALIBRATION_WORDS 48

/* What a word of nft_do_chain's frame would be, for the self-test to compare with what it set up.
 */
struct dt_calibration {
	char chain_of_rule[DT_NAME_LENGTH]; /* the chain whose blob the word points into */
};

#define DT_FRAME_WORDS 80 /* as far as an anchor may be */

/* The stack when nf_hook_slow frees a packet, from the programs' own frames on. */
struct dt_frame_words {
	dt_u32 anchor;	/* which word is the return address into nf_hook_slow */
	dt_u32 entries; /* of the hook point */
	dt_u64 word[DT_FRAME_WORDS];
};
DT_ASSERT(sizeof(struct dt_frame_words) == 648, "dt_frame_words is part of the ABI");

#define DT_XT_TABLES_MAX 256 /* in all namespaces, with those that were just replaced */
#define DT_XT_RULES_MAX 512  /* of a table that can drop: a power of two */
#define DT_XT_NAME_LENGTH 32 /* XT_TABLE_MAXNAMELEN */

/* A rule of ip_tables that can drop: a verdict, a policy, a target that rejects. */
struct dt_xt_rule {
	dt_u64 counters; /* handle of its counter, per CPU. This and print are set by dt_xt_prime */
	dt_u64 print;	 /* a number for what it matches and does */
	dt_u32 offset;	 /* from the start of the table's rules */
	dt_u32 pad;
};

/* A table of ip_tables, from one change of its rules to the next. */
struct dt_xt_table {
	dt_u64 number;		/* that user space gave it; never repeats */
	dt_u32 rules;		/* used of rule; what does not fit is never named */
	dt_u32 counters_offset; /* of struct xt_counters in struct ipt_entry or ip6t_entry */
	struct dt_xt_rule rule[DT_XT_RULES_MAX];
};
DT_ASSERT(sizeof(struct dt_xt_table) == 12304, "dt_xt_table is part of the ABI");

struct dt_xt_counts_key {
	dt_u64 info;
	dt_u32 cpu;
	dt_u32 pad;
};

/* struct xt_counters of the kernel. */
struct dt_xt_count {
	dt_u64 packets;
	dt_u64 bytes;
};

/* What the rules of a table had counted when a CPU last looked. */
struct dt_xt_counts {
	dt_u64 table;	   /* its number; 0: this CPU has not looked yet */
	dt_u64 overlooked; /* drops that came before it had */
	struct dt_xt_count rule[DT_XT_RULES_MAX];
};
DT_ASSERT(sizeof(struct dt_xt_counts) == 8208, "dt_xt_counts is part of the ABI");

/* A table as a hook point of a namespace calls it. */
struct dt_xt_entry {
	dt_u64 info; /* struct xt_table_info *: another one after each change of the rules */
	dt_u32 size;
	dt_u32 number;
	dt_u64 known;  /* the number of the struct dt_xt_table that fits; 0: there is none */
	dt_u32 family; /* NFPROTO_IPV4 or NFPROTO_IPV6 */
	dt_u32 pad;
	char name[DT_XT_NAME_LENGTH];
};

#define DT_XT_LIST_MAX 32 /* raw, mangle, filter and security: 26 at most */

/* The result of dt_xt_list. */
struct dt_xt_list {
	dt_u64 net;   /* struct net * of the namespace */
	dt_u32 netns; /* its number; another one than asked for: it is gone */
	dt_u32 count;
	struct dt_xt_entry entry[DT_XT_LIST_MAX];
};
DT_ASSERT(sizeof(struct dt_xt_list) == 2064, "dt_xt_list is part of the ABI");

/* Counters the programs keep, one per CPU, summed by user space. */
struct dt_stats {
	dt_u64 seen;		/* kfree_skb calls that are drops, whole kernel */
	dt_u64 other_netns;	/* passed over: not a watched namespace */
	dt_u64 other_addresses; /* passed over: no watched CIDR */
	dt_u64 recorded;
	dt_u64 lost_ring_full;
};
DT_ASSERT(sizeof(struct dt_stats) == 40, "dt_stats is part of the ABI");

/* The other end of a veth: the result of dt_find_peer. */
struct dt_peer {
	dt_u32 netns;	/* 0: there is none */
	dt_u32 ifindex; /* in that namespace */
	char ifname[DT_NAME_LENGTH];
};
DT_ASSERT(sizeof(struct dt_peer) == 24, "dt_peer is part of the ABI");

/*
 * Which packets are watched. The value of a namespace says which addresses a packet has to touch
 * there, 0: none; the value of a CIDR which of these its addresses are.
 */
enum dt_watch {
	DT_WATCH_CLUSTER = 1 << 0, /* services and pods */
	DT_WATCH_OWN = 1 << 1,	   /* this node's own pods, and the node */
};

/* Keys of the longest-prefix-match maps; addr in network order. */
struct dt_cidr4 {
	dt_u32 prefix_length;
	dt_u8 addr[4];
};
struct dt_cidr6 {
	dt_u32 prefix_length;
	dt_u8 addr[16];
};
DT_ASSERT(sizeof(struct dt_cidr4) == 8 && sizeof(struct dt_cidr6) == 20, "LPM keys are packed");
