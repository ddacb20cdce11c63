/* SPDX-License-Identifier: GPL-2.0-only */
/* The ABI of the path programs: what bpf/path.bpf.c writes and user space reads. */
#pragma once

#include "droptrace/event.h"

enum dt_hop_event {
	DT_HOP_TRANSMIT,     /* given to the device's driver */
	DT_HOP_RECEIVE,	     /* come in by the device */
	DT_HOP_RETRANSMIT,   /* the client has sent its SYN again */
	DT_HOP_SYNACK_AGAIN, /* the server has sent its SYN-ACK again */
	DT_HOP_RESET,	     /* the SYN is answered by a reset */
	DT_HOP_ICMP,	     /* the SYN is answered by an ICMP error: icmp_type, icmp_code */
	DT_HOP_WAS_RESET,    /* the client's socket has taken a reset */
	DT_HOP_ESTABLISHED,  /* the client's socket has taken the SYN-ACK */
	DT_HOP_CLOSED,	     /* the client's socket has given up */
	DT_HOP_HOOK,	     /* it has passed a hook of netfilter: hook */
};

#define DT_HOP_HAS_ORIGINAL 1

/* A SYN or its answer at a place, or what has become of a socket in state SYN_SENT. */
struct dt_hop {
	dt_u64 time_ns; /* CLOCK_BOOTTIME */
	dt_u32 netns;
	dt_u32 ifindex;		  /* 0: of a socket */
	dt_u32 isn;		  /* of the client; NAT leaves it as it is */
	dt_u32 length;		  /* of the packet, from L3; 0: of a socket */
	struct dt_tuple tuple;	  /* as the packet has it; a client's socket: from there */
	struct dt_tuple original; /* before NAT, with DT_HOP_HAS_ORIGINAL */
	char ifname[DT_NAME_LENGTH];
	dt_u8 event;	 /* enum dt_hop_event */
	dt_u8 tcp_flags; /* of the packet; 0: of a socket */
	dt_u8 flags;	 /* DT_HOP_* */
	dt_u8 icmp_type;
	dt_u8 icmp_code;
	dt_u8 ttl;
	dt_u8 hook; /* NF_INET_* */
	dt_u8 pad;
};
DT_ASSERT(sizeof(struct dt_hop) == 128, "dt_hop is part of the ABI");

struct dt_path_config {
	dt_u32 wakeup_bytes; /* user space reads on a timer: wake it when this much waits */
	dt_u8 filter_netns;  /* as in struct dt_config */
	dt_u8 filter_cidrs;
	dt_u8 pad[2];
};
DT_ASSERT(sizeof(struct dt_path_config) == 8, "dt_path_config is part of the ABI");

/* One per CPU, summed by user space. */
struct dt_path_stats {
	dt_u64 recorded;
	dt_u64 lost; /* the ring was full */
};
DT_ASSERT(sizeof(struct dt_path_stats) == 16, "dt_path_stats is part of the ABI");
