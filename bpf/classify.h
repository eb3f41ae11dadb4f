/* The classifier: what the engine claims.
 *
 *   TCP, whole or in fragments
 *   ICMP and ICMPv6 errors (they may quote TCP)
 *   what may carry these: MPLS and PPPoE sessions with IP in them, GTP-U, IP in IP
 *   UDP of shaped subscribers; all UDP where policies say who is shaped
 *
 * All else is wire. VLAN tags are looked through. The other encapsulations are claimed without a look inside: whose
 * packets they carry can't be counted here, so the engine sees them all. What is malformed is wire, too.
 *
 * Included by the XDP program, the socket filter and the tc program, which must agree on every frame. They reach
 * packets by copying (SW_LOAD), as only that works for all three and for frames in several buffers. */
#ifndef SMARTWIRE_CLASSIFY_H
#define SMARTWIRE_CLASSIFY_H

#include "wire.h"

#define SW_MAX_TAGS 8
#define SW_MAX_LABELS 16
#define SW_MAX_EXTENSIONS 9

enum {
	SW_ETH_IPV4 = 0x0800,
	SW_ETH_IPV6 = 0x86dd,
	SW_ETH_VLAN = 0x8100,
	SW_ETH_QINQ = 0x88a8,
	SW_ETH_QINQ_OLD = 0x9100,
	SW_ETH_MPLS = 0x8847,
	SW_ETH_MPLS_MULTICAST = 0x8848,
	SW_ETH_PPPOE = 0x8864,

	SW_HOP_BY_HOP = 0,
	SW_ICMP = 1,
	SW_IPV4 = 4,
	SW_TCP = 6,
	SW_UDP = 17,
	SW_IPV6 = 41,
	SW_ROUTING = 43,
	SW_FRAGMENT = 44,
	SW_ICMPV6 = 58,
	SW_DESTINATION = 60,

	SW_GTPU_PORT = 2152,
	SW_GPDU = 255,
};

/* What was found. Offsets are from the Ethernet destination address. */
struct sw_packet {
	__u64 src[2]; /* of the outermost IP header, IPv4 mapped; bytes as on the wire */
	__u64 dst[2];
	__u64 scope; /* smartwire_packet::Layers::scope of up to two VLAN tags; deeper ones make it wrong */
	__u32 l3;
	__u32 l4;
	__u32 end;
	__u32 tags;
	__u8 version; /* 0: no IP header directly behind the tags */
	__u8 proto;
	__u8 fragment;
	__u8 tcp; /* a whole segment with at least 20 bytes of header */
};

static __always_inline int sw_is_tag(__u16 type)
{
	return type == SW_ETH_VLAN || type == SW_ETH_QINQ || type == SW_ETH_QINQ_OLD;
}

static __always_inline void sw_add_tag(struct sw_packet *p, __u16 tci)
{
	p->scope = p->scope << 16 | 0x1000 | (tci & 0x0fff);
	p->tags++;
}

/* Is the bottom of the label stack at `off` followed by what looks like IP (RFC 4928 section 3)? */
static __always_inline int sw_mpls_carries_ip(void *ctx, __u32 off)
{
	__u8 label[4], first;

	for (int i = 0; i < SW_MAX_LABELS; i++) {
		if (SW_LOAD(ctx, off, label, 4))
			return 0;
		off += 4;
		if (label[2] & 1) {
			if (SW_LOAD(ctx, off, &first, 1))
				return 0;
			return first >> 4 == 4 || first >> 4 == 6;
		}
	}
	return 0;
}

/* RFC 2516 section 4: version 1, type 1, code 0; then the PPP protocol. */
static __always_inline int sw_pppoe_carries_ip(void *ctx, __u32 off)
{
	__be16 h[4];

	if (SW_LOAD(ctx, off, h, 8))
		return 0;
	return h[0] == bpf_htons(0x1100) && (h[3] == bpf_htons(0x0021) || h[3] == bpf_htons(0x0057));
}

static __always_inline int sw_ipv4(void *ctx, struct sw_packet *p, __u32 len)
{
	__u32 h[5], words, total, field;

	if (SW_LOAD(ctx, p->l3, h, 20))
		return -1;
	words = bpf_ntohl(h[0]);
	total = words & 0xffff;
	p->l4 = p->l3 + (words >> 24 & 0x0f) * 4;
	p->end = p->l3 + total;
	if (words >> 28 != 4 || p->l4 < p->l3 + 20 || p->end < p->l4 || p->end > len)
		return -1;
	/* More fragments, or an offset. */
	field = bpf_ntohl(h[1]) & 0x3fff;
	p->fragment = field != 0;
	p->proto = bpf_ntohl(h[2]) >> 16 & 0xff;
	p->src[0] = p->dst[0] = 0;
	p->src[1] = (__u64)h[3] << 32 | bpf_htonl(0x0000ffff);
	p->dst[1] = (__u64)h[4] << 32 | bpf_htonl(0x0000ffff);
	p->version = 4;
	return 0;
}

static __always_inline int sw_ipv6(void *ctx, struct sw_packet *p, __u32 len)
{
	__u64 h[5], first;
	__u8 x[4], later = 0;

	if (SW_LOAD(ctx, p->l3, h, 40))
		return -1;
	/* Version; payload length in bytes 4 and 5, next header in byte 6. */
	first = bpf_be64_to_cpu(h[0]);
	p->l4 = p->l3 + 40;
	p->end = p->l4 + (first >> 16 & 0xffff);
	if (first >> 60 != 6 || p->end > len)
		return -1;
	p->proto = first >> 8 & 0xff;
	p->src[0] = h[1];
	p->src[1] = h[2];
	p->dst[0] = h[3];
	p->dst[1] = h[4];
	p->version = 6;
	for (int i = 0; i < SW_MAX_EXTENSIONS; i++) {
		if (p->proto != SW_HOP_BY_HOP && p->proto != SW_ROUTING && p->proto != SW_FRAGMENT &&
		    p->proto != SW_DESTINATION)
			return 0;
		/* What follows the fragment header of a later fragment is no header. */
		if (later)
			return 0;
		if (p->l4 + 8 > p->end || SW_LOAD(ctx, p->l4, x, 4))
			return -1;
		if (p->proto == SW_FRAGMENT) {
			__u32 field = x[2] << 8 | x[3];
			/* Offset 0 and no more fragments is a whole packet (RFC 6946). */
			p->fragment = (field & 0xfff9) != 0;
			later = (field & 0xfff8) != 0;
			p->l4 += 8;
		} else {
			p->l4 += 8 + x[1] * 8;
		}
		p->proto = x[0];
	}
	return 0;
}

static __always_inline int sw_is_gtpu(void *ctx, const struct sw_packet *p)
{
	__u8 h[10];

	/* A G-PDU of version 1 (TS 29.281 section 5.1); any other message on that port is just UDP. */
	if (p->l4 + 16 > p->end || SW_LOAD(ctx, p->l4, h, 10))
		return 0;
	return (h[2] << 8 | h[3]) == SW_GTPU_PORT && (h[8] & 0xf0) == 0x30 && h[9] == SW_GPDU;
}

static __always_inline int sw_is_icmp_error(void *ctx, const struct sw_packet *p)
{
	__u8 type;

	if (p->l4 + 8 > p->end || SW_LOAD(ctx, p->l4, &type, 1))
		return 0;
	if (p->version == 6)
		return type < 128; /* RFC 4443 section 2.1 */
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/* The slot of the subscriber with this address, with SW_SHAPED; null when not registered. */
static __always_inline __u32 *sw_subscriber(const volatile struct sw_wire *w, const struct sw_packet *p,
					    const __u64 *addr)
{
	struct sw_subscriber key = { .addr = { addr[0], addr[1] }, .scope = p->scope };
	__u32 bits = w->prefix_v6;

	if (p->version == 6) {
		if (bits <= 64) {
			key.addr[1] = 0;
			if (bits < 64)
				key.addr[0] &= bpf_cpu_to_be64(bits ? ~0ULL << (64 - bits) : 0);
		} else if (bits < 128) {
			key.addr[1] &= bpf_cpu_to_be64(~0ULL << (128 - bits));
		}
	}
	return bpf_map_lookup_elem(&sw_subscribers_map, &key);
}

static __always_inline int sw_is_shaped(const volatile struct sw_wire *w, const struct sw_packet *p)
{
	__u32 *slot;

	if (!w->shaped)
		return 0;
	/* The engine's policies say who. */
	if (w->shaped == SW_ALL_SHAPED)
		return 1;
	/* Either end: the socket filter doesn't know on which side it is. */
	slot = sw_subscriber(w, p, p->dst);
	if (slot && *slot & SW_SHAPED)
		return 1;
	slot = sw_subscriber(w, p, p->src);
	return slot && *slot & SW_SHAPED;
}

/* Does the engine claim this frame of `len` bytes? `tci`: a tag that the kernel moved out of the frame, if `tagged`.
 * Fills in `p` as far as it got. */
static __always_inline int sw_classify(void *ctx, const volatile struct sw_wire *w, struct sw_packet *p, __u32 len,
				       int tagged, __u16 tci)
{
	__be16 tag[2];
	__u16 type;

	__builtin_memset(p, 0, sizeof(*p));
	if (SW_LOAD(ctx, 12, tag, 2))
		return 0;
	type = bpf_ntohs(tag[0]);
	p->l3 = 14;
	if (tagged)
		sw_add_tag(p, tci);
	for (int i = 0; i < SW_MAX_TAGS && sw_is_tag(type); i++) {
		if (SW_LOAD(ctx, p->l3, tag, 4))
			return 0;
		sw_add_tag(p, bpf_ntohs(tag[0]));
		type = bpf_ntohs(tag[1]);
		p->l3 += 4;
	}
	switch (type) {
	case SW_ETH_IPV4:
		if (sw_ipv4(ctx, p, len))
			goto malformed;
		break;
	case SW_ETH_IPV6:
		if (sw_ipv6(ctx, p, len))
			goto malformed;
		break;
	case SW_ETH_MPLS:
	case SW_ETH_MPLS_MULTICAST:
		return sw_mpls_carries_ip(ctx, p->l3);
	case SW_ETH_PPPOE:
		return sw_pppoe_carries_ip(ctx, p->l3);
	default:
		return 0;
	}
	if (p->proto == SW_TCP) {
		p->tcp = !p->fragment && p->l4 + 20 <= p->end;
		return p->tcp || p->fragment;
	}
	if (p->proto == SW_UDP)
		return (!p->fragment && sw_is_gtpu(ctx, p)) || sw_is_shaped(w, p);
	if (p->fragment)
		return 0;
	if (p->proto == SW_IPV4 || p->proto == SW_IPV6)
		return 1;
	if (p->proto == (p->version == 6 ? SW_ICMPV6 : SW_ICMP))
		return sw_is_icmp_error(ctx, p);
	return 0;
malformed:
	p->version = 0;
	return 0;
}

#endif
