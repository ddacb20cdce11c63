// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refused is not the same as dropped: a packet that was answered, by an ICMP error or a TCP reset,
 * is freed with the same reason in the same place as one that died in silence. Both tracepoints
 * carry the offending packet, and it is freed right after, so its address joins the two.
 */
#include "common.bpf.h"

#define ICMP_REDIRECT 5

static __always_inline void note_answer(const struct sk_buff *skb, struct dt_answer *answer)
{
	__u64 key = (__u64)skb;

	if (!skb)
		return;
	answer->time_ns = bpf_ktime_get_boot_ns();
	bpf_map_update_elem(&dt_answers, &key, answer, BPF_ANY);
}

/* Since Linux 6.10. */
SEC("?tp_btf/icmp_send")
int BPF_PROG(dt_note_icmp, const struct sk_buff *skb, int type, int code)
{
	struct dt_answer answer = {
		.flags = DT_ANSWERED_ICMP,
		.icmp_type = type,
		.icmp_code = code,
	};

	if (type != ICMP_REDIRECT) /* the packet goes on */
		note_answer(skb, &answer);
	return 0;
}

SEC("?tp_btf/tcp_send_reset")
int BPF_PROG(dt_note_reset, const struct sock *sk, const struct sk_buff *skb)
{
	struct dt_answer answer = {.flags = DT_ANSWERED_RESET};

	note_answer(skb, &answer);
	return 0;
}
