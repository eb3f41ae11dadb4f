/* tc ingress: the copper wire. Every frame that reaches it leaves through the other port of the pair, but for those
 * that an AF_PACKET socket of a live engine took, and for the flows of a dead one. A proxy's program comes before it. */
#include <linux/pkt_cls.h>
#include "wire.h"
#define SW_LOAD(ctx, off, to, len) bpf_skb_load_bytes(ctx, off, to, len)
#include "reset.h"
#include "glimpse.h"
#include "foreign.h"
#include "link.h"

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
	if (skb->mark == SW_LEFT) {
		claimed = 0;
		skb->mark = 0;
	}
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
	sw_count_foreign(w, port->side, &p, len);
	count->copper_frames[port->side & 1]++;
	count->copper_bytes[port->side & 1] += len;
	return bpf_redirect(port->peer_ifindex, 0);
}

char sw_license[] SEC("license") = "Apache-2.0";
