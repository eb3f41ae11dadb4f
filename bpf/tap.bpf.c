/* Socket filter: an AF_PACKET socket takes what the engine claims while it lives. The tc program, which sees every
 * frame after the sockets did, decides in the same way and drops these. */
#include "wire.h"
#define SW_LOAD(ctx, off, to, len) bpf_skb_load_bytes(ctx, off, to, len)
#include "book.h"
#include "proxied.h"

static __always_inline __u32 sw_side_of(const volatile struct sw_wire *w, __u32 ifindex)
{
	for (__u32 i = 0; i < SW_MAX_PORTS; i++)
		if (w->ifindex[i] == ifindex)
			return i & 1;
	return SW_ACCESS;
}

SEC("socket")
int sw_tap(struct __sk_buff *skb)
{
	volatile struct sw_wire *w = SW_ONE(sw_wire_map);
	struct sw_packet p;
	__u32 len;

	if (!w || w->mode != SW_CLAIM || !sw_live(w))
		return 0;
	len = skb->len + (skb->vlan_present ? 4 : 0);
	if (w->max_frame && len > w->max_frame)
		return 0;
	if (!sw_classify(skb, w, &p, skb->len, skb->vlan_present, skb->vlan_tci))
		return 0;
	if (px_left(skb, skb->ifindex, &p))
		return 0;
	if (w->survivors && sw_find(skb, w, &p, sw_side_of(w, skb->ifindex), 1))
		return 0;
	return 0x40000; /* all of it */
}

char sw_license[] SEC("license") = "Apache-2.0";
