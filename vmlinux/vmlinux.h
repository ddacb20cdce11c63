/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel types that bpf/ reads, with only the members it reads. CO-RE finds each member by name
 * in the running kernel's BTF, so offsets and order here mean nothing and one file serves every
 * architecture. scripts/check-vmlinux.py proves that each member exists in a kernel.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

typedef _Bool bool;
enum { false = 0, true = 1 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* include/linux/types.h */
struct list_head {
	struct list_head *next;
};

/* include/linux/ns_common.h */
struct ns_common {
	unsigned int inum;
};

/* include/net/netns/netfilter.h */
struct netns_nf {
	struct nf_hook_entries *hooks_ipv4[5];
	struct nf_hook_entries *hooks_ipv6[5];
};

/* include/net/net_namespace.h */
struct net {
	struct ns_common ns;
	struct list_head dev_base_head;
	struct net_device *loopback_dev;
	struct netns_nf nf;
};

typedef struct {
	struct net *net;
} possible_net_t;

/* include/net/rtnetlink.h */
struct rtnl_link_ops {
	const char *kind;
};

/* include/linux/netdevice.h */
struct net_device {
	int ifindex;
	char name[16];
	struct list_head dev_list;
	const struct rtnl_link_ops *rtnl_link_ops;
	possible_net_t nd_net;
};

/* drivers/net/veth.c: the private part of a device */
struct veth_priv {
	struct net_device *peer;
};

/* include/net/sock.h */
struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
};

/* include/linux/tcp.h */
struct tcp_sock {
	__u32 snd_una;
};

/* include/net/request_sock.h */
struct request_sock {
	struct sock_common __req_common;
};

struct tcp_request_sock {
	__u32 rcv_isn;
};

/* include/net/dst.h */
struct dst_entry {
	struct net_device *dev;
};

/* include/linux/skbuff.h */
struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned long _skb_refdst;
	unsigned long _nfct;
	unsigned int len;
	int skb_iif;
	__u32 mark;
	__be16 protocol;
	__u16 network_header;
	unsigned int tail;
	unsigned char *head;
	unsigned char *data;
};

enum skb_drop_reason {
	SKB_NOT_DROPPED_YET = 0,
};

/* include/linux/nsproxy.h */
struct nsproxy {
	struct net *net_ns;
};

/* include/linux/sched.h */
struct task_struct {
	struct nsproxy *nsproxy;
};

/* include/linux/bpf.h: a map of type array or per-CPU array */
struct bpf_array {
	void *pptrs[0];
};

/* include/uapi/linux/netfilter.h */
union nf_inet_addr {
	__u32 all[4];
};

/* include/net/netfilter/nf_conntrack_tuple.h */
union nf_conntrack_man_proto {
	__be16 all;
};

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
	__u16 l3num;
};

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__be16 all;
		} u;
		__u8 protonum;
	} dst;
};

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};

/* include/net/netfilter/nf_conntrack.h */
struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
	unsigned long status;
};

/* include/linux/netfilter.h */
struct nf_hook_state {
	__u8 hook;
	__u8 pf;
	struct net_device *in;
	struct net_device *out;
	struct sock *sk;
	struct net *net;
};

typedef unsigned int nf_hookfn(void *priv, struct sk_buff *skb, const struct nf_hook_state *state);

struct nf_hook_entry {
	nf_hookfn *hook;
	void *priv;
};

struct nf_hook_entries {
	__u16 num_hook_entries;
	struct nf_hook_entry hooks[0];
};

/* include/linux/netfilter/x_tables.h */
struct xt_table_info {
	unsigned int size;
	unsigned int number;
	unsigned int stacksize;
	void ***jumpstack;
	unsigned char entries[0];
};

struct xt_table {
	struct xt_table_info *private;
	const char name[32];
};

/* include/net/netfilter/nf_queue.h */
struct nf_queue_entry {
	struct sk_buff *skb;
	unsigned int id;
	struct nf_hook_state state;
};

/* include/net/netfilter/nf_tables.h */
struct nft_table {
	char *name;
	__u64 handle;
	__u16 family : 6;
};

struct nft_rule_blob {
	unsigned long size;
	unsigned char data[0];
};

/* A rule's header, since Linux 5.17; bpf/nft_rule.bpf.h takes it apart. */
struct nft_rule_dp {
	__u64 is_last : 1;
};

struct nft_chain {
	struct nft_rule_blob *blob_gen_0;
	struct nft_rule_blob *blob_gen_1;
	struct nft_table *table;
	__u64 handle;
	char *name;
};

/* include/linux/netfilter.h */
struct nf_hook_ops {
	void *priv;
	__u8 pf;
	unsigned int hooknum;
};

struct nft_base_chain {
	struct nf_hook_ops ops;
	__u8 policy;
	struct nft_chain chain;
};

struct nft_pktinfo {
	struct sk_buff *skb;
	const struct nf_hook_state *state;
};

struct nft_verdict {
	__u32 code;
	struct nft_chain *chain;
};

struct nft_traceinfo {
	const struct nft_base_chain *basechain;
};

/*
 * Before Linux 6.4 ("netfilter: nf_tables: do not store rule in traceinfo structure", and the same
 * for pktinfo and verdict) it also held what are arguments now.
 */
struct nft_traceinfo___pre_6_4 {
	const struct nft_pktinfo *pkt;
	const struct nft_base_chain *basechain;
	const struct nft_rule_dp *rule;
	const struct nft_verdict *verdict;
};

/* The end of a chain's rules, since Linux 6.4. */
struct nft_rule_dp_last {
	struct nft_rule_blob *blob;
	const struct nft_chain *chain;
};

#pragma clang attribute pop
