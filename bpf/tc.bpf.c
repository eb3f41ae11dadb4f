/* tc ingress: the copper wire. Every frame that reaches it leaves through the other port of the pair, but for those
 * that an AF_PACKET socket of a live engine took, and for the flows of a dead one. */
#include <linux/pkt_cls.h>
#include "wire.h"
#define SW_LOAD(ctx, off, to, len) bpf_skb_load_bytes(ctx, off, to, len)
#include "reset.h"
#include "glimpse.h"

/* Counts the bytes of a registered subscriber. */
static __always_inline void sw_count_foreign(const volatile struct sw_wire *w, const struct sw_port *port,
					     const struct sw_packet *p, __u32 len)
{
	__u32 *slot, index;
	struct sw_foreign *bytes;

	if (!w->subscribers || !p->version || p->tags > 2)
		return;
	slot = sw_subscriber(w, p, port->side == SW_ACCESS ? p->src : p->dst);
	if (!slot)
		return;
	index = *slot & ~SW_SHAPED;
	bytes = bpf_map_lookup_elem(&sw_foreign_map, &index);
	if (bytes)
		__sync_fetch_and_add(port->side == SW_ACCESS ? &bytes->up : &bytes->down, len);
}

/* Generic XDP in newer kernels hands on a copy of the frame without the length of its link header (mac_len is not among
 * what skb_pp_cow_data copies; seen on 6.18), and tc then begins at the IP header. The link header is still there:
 * put it back in front. Tagged frames are right, as taking the tag out sets the length. */
static __always_inline int sw_mend_link_header(struct __sk_buff *skb)
{
	__u32 link[4] = {}, data[4] = {};

	if (bpf_skb_load_bytes_relative(skb, 0, link, 14, BPF_HDR_START_MAC))
		return -1;
	if (!bpf_skb_load_bytes(skb, 0, data, 14) && link[0] == data[0] && link[1] == data[1] && link[2] == data[2] &&
	    link[3] == data[3])
		return 0;
	return bpf_skb_change_head(skb, 14, 0) || bpf_skb_store_bytes(skb, 0, link, 14, 0);
}

SEC("tc")
int sw_tc(struct __sk_buff *skb)
{
	volatile struct sw_wire *w = SW_ONE(sw_wire_map);
	struct sw_port *port = SW_ONE(sw_port_map);
	struct sw_counters *count = SW_ONE(sw_counters_map);
	struct sw_packet p;
	__u32 len, place;
	int claimed, live, verdict;

	if (!w || !port || !count || (port->generic_xdp && sw_mend_link_header(skb)))
		return TC_ACT_SHOT;
	len = skb->len + (skb->vlan_present ? 4 : 0);
	claimed = sw_classify(skb, w, &p, skb->len, skb->vlan_present, skb->vlan_tci);
	live = sw_live(w);
	place = sw_find(skb, w, &p, port->side, live);
	if (place) {
		verdict = sw_answer(skb, w, port, &p, place - 1, count);
		if (verdict >= 0)
			return verdict;
	} else if (live && w->mode == SW_LISTEN) {
		sw_glimpse(skb, w, &p, port->side);
	} else if (claimed && live && w->mode == SW_CLAIM) {
		if (w->max_frame && len > w->max_frame) {
			count->oversize_frames++;
		} else if (port->packet_mode) {
			count->claimed_frames++;
			count->claimed_bytes += len;
			return TC_ACT_STOLEN;
		} else {
			count->no_socket_frames++;
		}
	}
	sw_count_foreign(w, port, &p, len);
	count->copper_frames[port->side & 1]++;
	count->copper_bytes[port->side & 1] += len;
	return bpf_redirect(port->peer_ifindex, 0);
}

char sw_license[] SEC("license") = "Apache-2.0";
