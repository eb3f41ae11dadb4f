/* What a listening engine gets: a copy of each connection's SYN, SYN-ACK, and of the segment of its opener's that follows.
 * The frames themselves stay on the copper wire. Connections in encapsulations other than VLAN tags are not looked for. */
#ifndef SMARTWIRE_GLIMPSE_H
#define SMARTWIRE_GLIMPSE_H

#include "reset.h"

/* Copies the frame, whole or not at all; a tag that the kernel moved out of it is put back. */
static __always_inline void sw_copy_out(struct __sk_buff *skb)
{
	struct sw_glimpse *g;
	__u32 rest = skb->len - 12, at = skb->vlan_present ? 16 : 12;
	__be16 tag[2];

	if (skb->len < 54 || rest > SW_GLIMPSE - 16)
		return;
	g = bpf_ringbuf_reserve(&sw_glimpses_map, sizeof(*g), 0);
	if (!g)
		return;
	g->ifindex = skb->ifindex;
	g->len = at + rest;
	tag[0] = skb->vlan_proto;
	tag[1] = bpf_htons(skb->vlan_tci);
	__builtin_memcpy(g->frame + 12, tag, 4);
	if (bpf_skb_load_bytes(skb, 0, g->frame, 12) || bpf_skb_load_bytes(skb, 12, g->frame + at, rest))
		bpf_ringbuf_discard(g, BPF_RB_NO_WAKEUP);
	else
		bpf_ringbuf_submit(g, BPF_RB_NO_WAKEUP);
}

static __always_inline void sw_glimpse(struct __sk_buff *skb, volatile struct sw_wire *w, const struct sw_packet *p,
				       __u32 side)
{
	struct sw_flow f;
	__u64 now;
	__u32 *opener;
	__u8 flags;

	if (!p->tcp || p->tags > 2 || bpf_skb_load_bytes(skb, p->l4 + 13, &flags, 1))
		return;
	now = bpf_ktime_get_ns();
	if (flags & SW_SYN)
		w->syn_ns = now;
	else if (now - w->syn_ns > SW_ANSWERED)
		return;
	if (sw_flow_of(skb, p, side, &f))
		return;
	if ((flags & (SW_SYN | SW_ACK)) == SW_SYN) {
		bpf_map_update_elem(&sw_syns_map, &f, &side, BPF_ANY);
	} else if (!(flags & SW_SYN)) {
		opener = bpf_map_lookup_elem(&sw_syns_map, &f);
		if (!opener || *opener != side || skb->len > SW_GLIMPSE - 4)
			return;
		bpf_map_delete_elem(&sw_syns_map, &f);
	}
	sw_copy_out(skb);
}

#endif
