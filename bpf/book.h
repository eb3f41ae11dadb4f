/* The custody book: flows for which an engine has acknowledged what the other end does not have yet.
 *
 * A hash table with two buckets per flow, written by the engine through memory and read here when no engine lives, and
 * for the flows of an earlier engine. crates/io/src/steer/book.rs is the other half. */
#ifndef SMARTWIRE_BOOK_H
#define SMARTWIRE_BOOK_H

#include "classify.h"

#define SW_ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))
#define SW_SIPROUND                                                            \
	do {                                                                   \
		v0 += v1; v1 = SW_ROTL(v1, 13); v1 ^= v0; v0 = SW_ROTL(v0, 32); \
		v2 += v3; v3 = SW_ROTL(v3, 16); v3 ^= v2;                      \
		v0 += v3; v3 = SW_ROTL(v3, 21); v3 ^= v0;                      \
		v2 += v1; v1 = SW_ROTL(v1, 17); v1 ^= v2; v2 = SW_ROTL(v2, 32); \
	} while (0)
#define SW_SIPWORD(m) do { v3 ^= (m); SW_SIPROUND; v0 ^= (m); } while (0)

/* SipHash-1-3 of the six words of a flow. */
static __always_inline __u64 sw_hash(const volatile struct sw_wire *w, const struct sw_flow *f)
{
	__u64 k0 = w->key[0], k1 = w->key[1];
	__u64 v0 = k0 ^ 0x736f6d6570736575ULL, v1 = k1 ^ 0x646f72616e646f6dULL;
	__u64 v2 = k0 ^ 0x6c7967656e657261ULL, v3 = k1 ^ 0x7465646279746573ULL;

	SW_SIPWORD(f->access[0]);
	SW_SIPWORD(f->access[1]);
	SW_SIPWORD(f->core[0]);
	SW_SIPWORD(f->core[1]);
	SW_SIPWORD(f->ports);
	SW_SIPWORD(f->scope);
	SW_SIPWORD(48ULL << 56);
	v2 ^= 0xff;
	SW_SIPROUND;
	SW_SIPROUND;
	SW_SIPROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}

static __always_inline __u32 sw_tag_of(__u64 hash)
{
	return (__u32)(hash >> 20) | 1;
}

static __always_inline int sw_same_flow(const struct sw_flow *a, const struct sw_flow *b)
{
	return a->access[0] == b->access[0] && a->access[1] == b->access[1] && a->core[0] == b->core[0] &&
	       a->core[1] == b->core[1] && a->ports == b->ports && a->scope == b->scope;
}

/* The place of the flow in bucket `index`, plus one; 0: not there, or nobody's business now. */
static __always_inline __u32 sw_search(__u32 index, __u32 tag, const struct sw_flow *f, __u32 spare_generation)
{
	struct sw_bucket *b = bpf_map_lookup_elem(&sw_book_map, &index);

	if (!b)
		return 0;
#pragma unroll
	for (int i = 0; i < SW_SLOTS; i++) {
		__u32 state = *(volatile __u32 *)&b->state[i];

		if (b->tag[i] == tag && state & 1 && state >> 1 != spare_generation &&
		    sw_same_flow(&b->entry[i].flow, f))
			return index * SW_SLOTS + i + 1;
	}
	return 0;
}

/* The flow of a TCP segment that arrived from `side`. */
static __always_inline int sw_flow_of(void *ctx, const struct sw_packet *p, __u32 side, struct sw_flow *f)
{
	__be16 port[2];

	if (SW_LOAD(ctx, p->l4, port, 4))
		return -1;
	if (side == SW_ACCESS) {
		f->access[0] = p->src[0], f->access[1] = p->src[1];
		f->core[0] = p->dst[0], f->core[1] = p->dst[1];
		f->ports = (__u32)bpf_ntohs(port[0]) << 16 | bpf_ntohs(port[1]);
	} else {
		f->access[0] = p->dst[0], f->access[1] = p->dst[1];
		f->core[0] = p->src[0], f->core[1] = p->src[1];
		f->ports = (__u32)bpf_ntohs(port[1]) << 16 | bpf_ntohs(port[0]);
	}
	f->scope = p->scope;
	return 0;
}

/* Finds the marked entry of a TCP segment that arrived from `side`: its place plus one, or 0. While an engine lives its
 * own entries are left alone. */
static __always_inline __u32 sw_find(void *ctx, const volatile struct sw_wire *w, const struct sw_packet *p,
				     __u32 side, int live)
{
	struct sw_flow f;
	__u32 spare, found, mask = w->bucket_mask;
	__u64 hash;

	if (!p->tcp || p->tags > 2 || !w->generation || (live && !w->survivors))
		return 0;
	if (sw_flow_of(ctx, p, side, &f))
		return 0;
	hash = sw_hash(w, &f);
	/* No state has generation 0xffffffff: nothing is spared. */
	spare = live ? w->generation : 0xffffffff;
	found = sw_search((__u32)hash & mask, sw_tag_of(hash), &f, spare);
	if (!found)
		found = sw_search((__u32)(hash >> 32) & mask, sw_tag_of(hash), &f, spare);
	return found;
}

#endif
