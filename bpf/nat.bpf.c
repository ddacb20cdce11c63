// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a connection was before NAT, noted while its packets still know: crossing a veth wipes
 * skb->_nfct (skb_scrub_packet), and an attempt that the pod resets is deleted from conntrack
 * before user space could ask. A packet that is transmitted has been through all of NAT.
 */
#include "common.bpf.h"
#include "skb.bpf.h"

SEC("?tp_btf/net_dev_start_xmit")
int BPF_PROG(dt_note_nat, const struct sk_buff *skb)
{
	struct dt_tuple original = {}, reply = {};
	unsigned long nfct = skb->_nfct;
	struct nf_conn *ct = (void *)(nfct & NFCT_PTRMASK);

	/* All other packets leave here: of a connection, only what comes before the first answer.
	 */
	if ((nfct & NFCT_INFOMASK) != IP_CT_NEW || !ct)
		return 0;
	if (!(BPF_CORE_READ(ct, status) & IPS_NAT_MASK))
		return 0;
	read_tuple(&ct->tuplehash[0].tuple, &original);
	read_tuple(&ct->tuplehash[1].tuple, &reply);
	bpf_map_update_elem(&dt_nat, &reply, &original, BPF_ANY);
	return 0;
}
