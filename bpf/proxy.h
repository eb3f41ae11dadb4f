/* What the proxy's programs share: the flows that a proxy carries, the rules that choose them, and their counters.
 *
 *             port ── proxy_port ── a flow's frame ──► container (HAProxy)
 *                        │ else
 *                        ▼
 *                       tc: the copper wire
 *
 *   container ── proxy_veth ── a flow's frame, with its Ethernet header and tags ──► port
 *                        │ else: dropped, whatever it is
 *
 * A flow is known by its addresses and ports, access side first, whichever way its frame goes: at a port the side of
 * arrival says which end is which, at a veth the side that the veth faces. Only a SYN from the access side makes one.
 *
 * python/smartwire/proxy/layout.py mirrors every struct here. */
#ifndef SMARTWIRE_PROXY_H
#define SMARTWIRE_PROXY_H

#include "classify.h"

#define PX_TAGS 2       /* VLAN tags that a flow may have */
#define PX_RULES 512    /* rules of a set */
#define PX_WORDS (PX_RULES / 64)
#define PX_LISTENS 1     /* HAProxy's port in the container (proxy/haproxy.py) */
#define PX_UNTAGGED 4096
#define PX_VLAN_BASE 65536 /* where VLANs begin in a table of ports and VLANs */
#define PX_SECOND 1000000000ULL

/* Bits of the TCP header's 14th byte. */
enum { PX_FIN = 1, PX_SYN = 2, PX_RST = 4, PX_ACK = 16, PX_ECE = 64, PX_CWR = 128 };

/* One, written by the supervisor alone. */
struct px_control {
	__u64 beat_ns;    /* CLOCK_MONOTONIC: HAProxy was found well */
	__u64 timeout_ns; /* without a beat for so long, new connections go direct */
	__u32 open;       /* 0: new connections go direct */
	__u32 exact;      /* a FIN leaves only where the other end's FIN is: HAProxy passes bytes and nothing else */
	__u32 generation; /* of the rules; its lowest bit chooses their maps */
	__u32 listeners;  /* of HAProxy's, of each IP version */
	__u32 port[2];    /* the ports' interfaces, by side */
	__u32 zero;       /* 0, which the verifier does not know */
	__u32 container;  /* the one to which new connections go */
};

/* Where a program is; one per program instance. */
struct px_place {
	__u32 side;      /* of a port or veth; of a trunk the tag says it */
	__u32 out;       /* veth: the port; trunk: the trunk itself */
	__u32 container; /* veth: whose */
	__u32 trunk;     /* one port is both: the outermost tag has one of two VLANs, by side */
	__u32 vlan[2];
};

/* The way into a container; an upgrade has two for a while. */
struct px_way {
	__u32 out;  /* host end of the veth */
	__s32 nsid; /* the container, as this namespace numbers it */
};

struct px_key {
	__u64 access[2];
	__u64 core[2];
	__u32 ports; /* access port << 16 | core port */
	__u32 pad;
};

/* What stands before the IP header of a frame. */
struct px_head {
	__u8 macs[12];
	__be16 tpid[PX_TAGS]; /* outermost first; 0: no more tags */
	__u16 tci[PX_TAGS];
	__u32 pad;
};

/* Bytes from one end to the other. `ours` counts as the container does towards the receiver. */
struct px_stream {
	__u32 origin; /* sequence number of the sender's SYN */
	__u32 ours;   /* of the container's own */
	__u32 fin;    /* place of the sender's FIN in its stream */
	__u8 know_origin;
	__u8 know_ours;
	__u8 finished;
	__u8 dscp; /* of the sender's latest frame (RFC 2474) */
	__u64 packets;
	__u64 bytes;
};

/* The container's connection to the server. As long as it is there, no other one can have its addresses and ports. */
enum px_leg { PX_NO_LEG, PX_LEG_OPEN, PX_LEG_FIN, PX_LEG_ACKED };

struct px_flow {
	__u64 born_ns;
	__u64 seen_ns; /* within a second */
	__u32 rule;
	__u32 generation;
	__u16 container;
	__u16 mss; /* that the access side's SYN names; 0: none */
	__u8 ecn; /* the access side asked for ECN (RFC 3168 section 6.1.1) */
	__u8 leg; /* enum px_leg */
	__u16 cpu; /* on which the SYN arrived */
	__u32 leg_end; /* what acknowledges the container's FIN towards the core */
	__u32 pad;
	struct px_head to[2];     /* by the side where the frame leaves */
	struct px_stream from[2]; /* by the side of the sender */
};

/* Per CPU. */
struct px_counters {
	__u64 proxied;      /* connections that went to the proxy */
	__u64 no_rule;      /* that no rule wanted in the proxy; went direct, as the next five */
	__u64 no_listener;  /* HAProxy was not there */
	__u64 closed;       /* it was, but takes no more: drained, overloaded or silent */
	__u64 full;         /* the table of flows was full */
	__u64 strange;      /* more than two VLAN tags */
	__u64 repeated;     /* SYNs that came again and went where the first went */
	__u64 stale;        /* left-over flows that a direct SYN removed */
	__u64 in_packets;   /* to the container */
	__u64 in_bytes;
	__u64 out_packets;  /* from it */
	__u64 out_bytes;
	__u64 icmp;         /* ICMP errors about a flow, to the container */
	__u64 kept_in;      /* frames of the container that are no flow's: dropped */
	__u64 resets;       /* FINs behind which bytes would have been missing: turned into resets */
	__u64 lost;         /* frames that could not be handed over */
	__u64 own_cpu;      /* frames that arrived on the CPU of their connection's SYN */
	__u64 other_cpu;    /* that did not */
	__u64 early;        /* SYNs dropped as the earlier connection of these ends was not quite over */
};

_Static_assert(sizeof(struct px_control) == 48, "as in layout.py");
_Static_assert(sizeof(struct px_place) == 24, "as in layout.py");
_Static_assert(sizeof(struct px_way) == 8, "as in layout.py");
_Static_assert(sizeof(struct px_key) == 40, "as in layout.py");
_Static_assert(sizeof(struct px_head) == 24, "as in layout.py");
_Static_assert(sizeof(struct px_stream) == 32, "as in layout.py");
_Static_assert(sizeof(struct px_flow) == 152, "as in layout.py");
_Static_assert(sizeof(struct px_counters) == 19 * 8, "as in layout.py");

/* These belong to the wire, whose programs ask them too (proxied.h); a proxy fills them. */
SW_MAP(px_control_map);  /* array of 1 px_control */
SW_MAP(px_ranges_map);   /* outer array of arrays of px_chunk, from address to class: [generation & 1][access, core] */
SW_MAP(px_numbers_map);  /* outer array of arrays from port, and from VLAN, to class: [generation & 1] */
SW_MAP(px_classes_map);  /* outer array of arrays from class to px_set: [generation & 1] */
SW_MAP(px_tables_map);   /* outer array of 1: px_flows_map, where there is a proxy */
/* These to the proxy. */
SW_MAP(px_place_map);    /* array of 1 px_place, one map per program */
SW_MAP(px_ways_map);     /* array of 4 px_way: [container][side] */
SW_MAP(px_flows_map);    /* hash: px_key to px_flow. Never LRU: a forgotten flow's packets would reach the other end. */
SW_MAP(px_direct_map);   /* LRU hash: px_key to the SYN's sequence number, of connections that went direct */
SW_MAP(px_counters_map); /* per-CPU array of 1 px_counters */
SW_MAP(px_hits_map);     /* per-CPU array of u64: connections per rule, [generation & 1][PX_RULES + 1] */
SW_MAP(px_listeners_map); /* SOCKMAP: HAProxy's listeners, IPv4 and IPv6 in turn */

static __always_inline void px_make_key(struct px_key *key, const struct sw_packet *p, __u32 ports, int from_access)
{
	__builtin_memset(key, 0, sizeof(*key));
	if (from_access) {
		key->access[0] = p->src[0];
		key->access[1] = p->src[1];
		key->core[0] = p->dst[0];
		key->core[1] = p->dst[1];
		key->ports = ports;
	} else {
		key->access[0] = p->dst[0];
		key->access[1] = p->dst[1];
		key->core[0] = p->src[0];
		key->core[1] = p->src[1];
		key->ports = ports << 16 | ports >> 16;
	}
}

/* The TCP header's first 20 bytes, in host order. */
struct px_tcp {
	__u32 ports; /* source << 16 | destination */
	__u32 seq;
	__u32 ack;
	__u32 payload;
	__u8 flags;
};

static __always_inline int px_load_tcp(void *ctx, const struct sw_packet *p, struct px_tcp *t)
{
	__be32 h[4];
	__u32 word, header;

	if (SW_LOAD(ctx, p->l4, h, sizeof(h)))
		return -1;
	word = bpf_ntohl(h[3]);
	header = p->l4 + (word >> 28) * 4;
	if (header < p->l4 + 20 || header > p->end)
		return -1;
	t->ports = bpf_ntohl(h[0]);
	t->seq = bpf_ntohl(h[1]);
	t->ack = bpf_ntohl(h[2]);
	t->payload = p->end - header;
	t->flags = word >> 16;
	return 0;
}

/* The 16 bits of an IP header that the traffic class is in, in host order, and where in them it begins. */
static __always_inline int px_load_class(struct __sk_buff *skb, const struct sw_packet *p, __u16 *word, __u32 *shift)
{
	__be16 raw;

	if (bpf_skb_load_bytes(skb, p->l3, &raw, 2))
		return -1;
	*word = bpf_ntohs(raw);
	*shift = p->version == 4 ? 2 : 6; /* ECN and, in IPv6, four bits of the flow label are behind the code point */
	return 0;
}

static __always_inline int px_is_error(void *ctx, const struct sw_packet *p)
{
	return p->proto == (p->version == 6 ? SW_ICMPV6 : SW_ICMP) && sw_is_icmp_error(ctx, p);
}

/* The flow of the TCP segment that an ICMP error from `side` quotes: it was on its way to where the error comes from. */
static __always_inline int px_quoted(void *ctx, const struct sw_packet *p, __u32 side, struct px_key *key)
{
	__u32 at = p->l4 + 8, words[5], ports;
	struct sw_packet quoted = {};
	__u64 h[5];

	if (p->version == 4) {
		if (SW_LOAD(ctx, at, words, 20))
			return -1;
		if ((bpf_ntohl(words[2]) >> 16 & 0xff) != SW_TCP || bpf_ntohl(words[1]) & 0x1fff)
			return -1;
		quoted.src[1] = (__u64)words[3] << 32 | bpf_htonl(0x0000ffff);
		quoted.dst[1] = (__u64)words[4] << 32 | bpf_htonl(0x0000ffff);
		at += (bpf_ntohl(words[0]) >> 24 & 0x0f) * 4;
	} else {
		if (SW_LOAD(ctx, at, h, 40) || (bpf_be64_to_cpu(h[0]) >> 8 & 0xff) != SW_TCP)
			return -1;
		quoted.src[0] = h[1];
		quoted.src[1] = h[2];
		quoted.dst[0] = h[3];
		quoted.dst[1] = h[4];
		at += 40;
	}
	if (SW_LOAD(ctx, at, &ports, 4))
		return -1;
	px_make_key(key, &quoted, bpf_ntohl(ports), side == SW_CORE);
	return 0;
}

/* What struct sw_packet calls the tags of a frame. */
static __always_inline __u64 px_scope(const struct px_head *head)
{
	__u64 scope = 0;

	if (head->tpid[0])
		scope = 0x1000 | (head->tci[0] & 0x0fff);
	if (head->tpid[1])
		scope = scope << 16 | 0x1000 | (head->tci[1] & 0x0fff);
	return scope;
}

static __always_inline int px_is_open(const struct px_control *control)
{
	return control->open && (__s64)(bpf_ktime_get_ns() - control->beat_ns) < (__s64)control->timeout_ns;
}

/* Does this segment begin a connection? */
static __always_inline int px_begins(const struct px_tcp *t)
{
	return (t->flags & (PX_SYN | PX_ACK | PX_RST | PX_FIN)) == PX_SYN;
}

/* Finds TCP and ICMP errors as the classifier of the wire does, behind tags alone: what is in a tunnel is not the
 * proxy's. */
static __always_inline int px_classify(struct __sk_buff *skb, struct sw_packet *p)
{
	__be16 tag[2];
	__u16 type;

	__builtin_memset(p, 0, sizeof(*p));
	if (bpf_skb_load_bytes(skb, 12, tag, 2))
		return 0;
	type = bpf_ntohs(tag[0]);
	p->l3 = 14;
	if (skb->vlan_present)
		sw_add_tag(p, skb->vlan_tci);
	for (int i = 0; i < PX_TAGS && sw_is_tag(type); i++) {
		if (bpf_skb_load_bytes(skb, p->l3, tag, 4))
			return 0;
		sw_add_tag(p, bpf_ntohs(tag[0]));
		type = bpf_ntohs(tag[1]);
		p->l3 += 4;
	}
	if (type == SW_ETH_IPV4 ? sw_ipv4(skb, p, skb->len) : type == SW_ETH_IPV6 ? sw_ipv6(skb, p, skb->len) : 1)
		return 0;
	if (p->fragment)
		return 0;
	if (p->proto == SW_TCP)
		return p->tcp = p->l4 + 20 <= p->end;
	return px_is_error(skb, p);
}

#endif
