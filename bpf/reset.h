/* Answers a segment of a flow whose custody was lost with its engine: a reset to its sender, and once to the other
 * end. A crash may break such a connection; it never leaves it hanging. */
#ifndef SMARTWIRE_RESET_H
#define SMARTWIRE_RESET_H

#include "book.h"

enum { SW_FIN = 0x01, SW_SYN = 0x02, SW_RST = 0x04, SW_ACK = 0x10 };

struct sw_tcp {
	__be16 src;
	__be16 dst;
	__be32 seq;
	__be32 ack;
	__u8 offset;
	__u8 flags;
	__be16 window;
	__sum16 checksum;
	__be16 urgent;
};

/* The reset to write: addresses and ports exchanged or not, and its numbers. */
struct sw_rst {
	__u32 seq;
	__u32 ack;
	__u8 flags;
	__u8 back; /* to the sender */
};

static __always_inline __u16 sw_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static __always_inline int sw_write_ipv4(struct __sk_buff *skb, const struct sw_packet *p, int back)
{
	__u16 h[10], was[10];
	__u64 sum;

	if (bpf_skb_load_bytes(skb, p->l3, was, 20))
		return -1;
	__builtin_memcpy(h, was, 20);
	h[0] &= bpf_htons(0xff00);                 /* neither DSCP nor ECN */
	h[1] = bpf_htons(p->l4 + 20 - p->l3);
	h[2] = 0;
	h[3] = bpf_htons(0x4000);                  /* don't fragment, so the identification is free (RFC 6864) */
	h[4] = bpf_htons(64 << 8 | SW_TCP);
	if (back) {
		h[6] = was[8], h[7] = was[9];
		h[8] = was[6], h[9] = was[7];
	}
	/* RFC 1624, so that IPv4 options need no look. */
	sum = (__u16)~was[5];
#pragma unroll
	for (int i = 0; i < 10; i++)
		if (i != 5)
			sum += (__u16)~was[i] + (__u32)h[i];
	h[5] = ~sw_fold(sum);
	return bpf_skb_store_bytes(skb, p->l3, h, 20, BPF_F_RECOMPUTE_CSUM);
}

static __always_inline int sw_write_ipv6(struct __sk_buff *skb, const struct sw_packet *p, int back)
{
	__be32 first[2];

	if (bpf_skb_load_bytes(skb, p->l3, first, 8))
		return -1;
	first[0] = bpf_htonl(6u << 28);
	/* Next header stays: extension headers do, too. */
	first[1] = (first[1] & bpf_htonl(0xff00)) | bpf_htonl((p->l4 + 20 - p->l3 - 40) << 16 | 64);
	if (bpf_skb_store_bytes(skb, p->l3, first, 8, BPF_F_RECOMPUTE_CSUM))
		return -1;
	if (!back)
		return 0;
	if (bpf_skb_store_bytes(skb, p->l3 + 8, p->dst, 16, BPF_F_RECOMPUTE_CSUM))
		return -1;
	return bpf_skb_store_bytes(skb, p->l3 + 24, p->src, 16, BPF_F_RECOMPUTE_CSUM);
}

/* The pseudo-header's sum (RFC 9293 3.1, RFC 8200 8.1); addresses count the same either way round. */
static __always_inline __u64 sw_pseudo(const struct sw_packet *p)
{
	__u64 sum = bpf_htons(20) + bpf_htons(SW_TCP);

	sum += (__u32)p->src[0] + (p->src[0] >> 32) + (p->src[1] >> 32);
	sum += (__u32)p->dst[0] + (p->dst[0] >> 32) + (p->dst[1] >> 32);
	if (p->version == 6)
		sum += (__u64)(__u32)p->src[1] + (__u32)p->dst[1];
	return sum;
}

/* Leaves the checksum to whoever sends the packet, if the packet came that way: nothing in a program's view says so,
 * but the kernel applies a change that is not the pseudo-header's only to a checksum that is complete. */
static __always_inline int sw_checksum_is_partial(struct __sk_buff *skb, __u32 at, int *partial)
{
	__u16 probe = 0;

	if (bpf_skb_store_bytes(skb, at, &probe, 2, BPF_F_RECOMPUTE_CSUM) ||
	    bpf_l4_csum_replace(skb, at, 0, bpf_htons(1), 2) || bpf_skb_load_bytes(skb, at, &probe, 2))
		return -1;
	*partial = probe == 0;
	return 0;
}

/* Makes the frame the reset, in place: same link headers, extension headers and options of IP. */
static __always_inline int sw_write_reset(struct __sk_buff *skb, const struct sw_packet *p, const struct sw_tcp *was,
					  const struct sw_rst *rst)
{
	struct sw_tcp t = {};
	__u64 sum = 0;
	int partial;

	t.src = rst->back ? was->dst : was->src;
	t.dst = rst->back ? was->src : was->dst;
	t.seq = bpf_htonl(rst->seq);
	t.ack = bpf_htonl(rst->ack);
	t.offset = 5 << 4;
	t.flags = rst->flags;
	if (p->version == 6 ? sw_write_ipv6(skb, p, rst->back) : sw_write_ipv4(skb, p, rst->back))
		return -1;
	if (sw_checksum_is_partial(skb, p->l4 + 16, &partial))
		return -1;
	sum = sw_pseudo(p);
	if (partial) {
		t.checksum = sw_fold(sum);
	} else {
		sum += (__u64)t.src + t.dst + t.seq + t.ack;
		sum += bpf_htons((__u16)t.offset << 8 | t.flags);
		t.checksum = ~sw_fold(sum);
	}
	return bpf_skb_store_bytes(skb, p->l4, &t, 20, BPF_F_RECOMPUTE_CSUM);
}

/* Once, to the end that did not send this: with the numbers of the book, the way that the segment itself would take. */
static __always_inline void sw_reset_other(struct __sk_buff *skb, const struct sw_port *port,
					   const struct sw_packet *p, const struct sw_tcp *was, struct sw_entry *e,
					   struct sw_counters *count)
{
	struct sw_rst rst = { .flags = SW_RST | SW_ACK };

	/* No index by a variable: older verifiers follow only constants into the entry. */
	rst.seq = port->side ? e->rcv_nxt[0] : e->rcv_nxt[1];
	rst.ack = port->side ? e->snd_nxt[0] : e->snd_nxt[1];
	__sync_fetch_and_add(port->side ? &e->resets[0] : &e->resets[1], 1);
	if (!sw_write_reset(skb, p, was, &rst) && !bpf_clone_redirect(skb, port->peer_ifindex, 0))
		count->resets++;
}

/* Answers, and returns the tc verdict; -1: this segment passes. */
static __always_inline int sw_answer(struct __sk_buff *skb, const volatile struct sw_wire *w,
				     const struct sw_port *port, const struct sw_packet *p, __u32 place,
				     struct sw_counters *count)
{
	struct sw_rst rst = { .flags = SW_RST, .back = 1 };
	__u32 index = place / SW_SLOTS, slot = place % SW_SLOTS;
	struct sw_bucket *b = bpf_map_lookup_elem(&sw_book_map, &index);
	struct sw_entry *e;
	struct sw_tcp was;
	__u8 in[12], macs[12];
	__u32 segment;

	if (!b || bpf_skb_load_bytes(skb, p->l4, &was, 20) || bpf_skb_load_bytes(skb, 0, in, 12))
		return -1;
	e = &b->entry[slot];
	/* A reset is not answered (RFC 9293 3.10.7.1); it may be all that the other end needs. */
	if (was.flags & SW_RST)
		return -1;
	/* An engine that was only late would not forgive that its custody was given up, nor what passed behind its
	 * back: until it is taken for dead its flows lose segments, which the ends send again. */
	if (*(volatile __u32 *)&b->state[slot] >> 1 == w->generation && sw_late(w)) {
		count->held_back_frames++;
		return TC_ACT_SHOT;
	}
	/* A new connection of the same two: the old one is forgotten, and whoever has not forgotten it will be told by
	 * the other (RFC 9293 3.5.1). */
	if (was.flags & SW_SYN && !(was.flags & SW_ACK)) {
		*(volatile __u32 *)&b->state[slot] &= ~1u;
		return -1;
	}
	if (was.flags & SW_ACK) {
		rst.seq = bpf_ntohl(was.ack);
	} else {
		segment = p->end - p->l4 - (was.offset >> 4) * 4 + (was.flags & SW_FIN ? 1 : 0);
		rst.ack = bpf_ntohl(was.seq) + segment;
		rst.flags |= SW_ACK;
	}
	if (bpf_skb_change_tail(skb, p->l4 + 20, 0))
		return TC_ACT_SHOT;
	if (!(port->side ? e->resets[0] : e->resets[1]))
		sw_reset_other(skb, port, p, &was, e, count);
	__builtin_memcpy(macs, in + 6, 6);
	__builtin_memcpy(macs + 6, in, 6);
	if (sw_write_reset(skb, p, &was, &rst) || bpf_skb_store_bytes(skb, 0, macs, 12, 0))
		return TC_ACT_SHOT;
	__sync_fetch_and_add(port->side ? &e->resets[1] : &e->resets[0], 1);
	count->resets++;
	return bpf_redirect(skb->ifindex, 0);
}

#endif
