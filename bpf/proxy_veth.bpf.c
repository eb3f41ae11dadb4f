/* tc ingress of the host's end of a container's veth: what the container sends. A flow's segment gets the Ethernet header
 * and tags that its receiver's own router uses, and leaves through the port. Anything else is dropped: the container has
 * no address and nothing to say. */
#include <linux/pkt_cls.h>
#include "wire.h"
#define SW_LOAD(ctx, off, to, len) bpf_skb_load_bytes(ctx, off, to, len)
#include "proxy.h"
#include "foreign.h"

#define PX_FLAGS_AT 12 /* of the 16 bits with header length and flags in a TCP header */
#define PX_CHECKSUM_AT 16
#define PX_IP_CHECKSUM_AT 10

/* May this FIN leave? HAProxy in TCP mode closes towards one end when the other end has closed, and then every byte of
 * that end has gone before. If it closes for another reason (it was killed, the server refused or reset the connection,
 * a timeout), the receiver would take the FIN for the end of what it was sent. */
static __always_inline int px_complete(const struct px_stream *s, const struct px_tcp *t)
{
	return s->finished && s->know_ours && t->seq + t->payload - s->ours == s->fin;
}

/* A server is asked for ECN where the client has asked for it (RFC 3168 section 6.1.1). */
static __always_inline int px_no_ecn(struct __sk_buff *skb, const struct sw_packet *p)
{
	__be16 old, new;

	if (bpf_skb_load_bytes(skb, p->l4 + PX_FLAGS_AT, &old, 2))
		return -1;
	new = old & ~bpf_htons(PX_ECE | PX_CWR);
	return bpf_l4_csum_replace(skb, p->l4 + PX_CHECKSUM_AT, old, new, 2) ||
	       bpf_skb_store_bytes(skb, p->l4 + PX_FLAGS_AT, &new, 2, 0);
}

/* Towards the server the client's MSS, if it is the smaller one: its segments then fit the client's path as they are. */
static __always_inline int px_write_mss(struct __sk_buff *skb, const struct sw_packet *p, __u16 mss)
{
	__u32 at = p->l4 + 20;
	__be16 new = bpf_htons(mss);
	__be16 own[2];

	/* Linux has it first. */
	if (!mss || bpf_skb_load_bytes(skb, at, own, 4) || own[0] != bpf_htons(0x0204) || bpf_ntohs(own[1]) <= mss)
		return 0;
	return bpf_l4_csum_replace(skb, p->l4 + PX_CHECKSUM_AT, own[1], new, 2) ||
	       bpf_skb_store_bytes(skb, at + 2, &new, 2, 0);
}

/* Takes the FIN off a segment, or makes a reset of a lone one: at this sequence number the receiver accepts it if it has
 * all bytes before (RFC 5961 section 3.2); if not, it asks for them, and the FIN comes again. */
static __always_inline int px_no_fin(struct __sk_buff *skb, const struct sw_packet *p, const struct px_tcp *t,
				     struct px_counters *count)
{
	__be16 old, new;

	if (bpf_skb_load_bytes(skb, p->l4 + PX_FLAGS_AT, &old, 2))
		return -1;
	new = old & ~bpf_htons(PX_FIN);
	if (!t->payload) {
		new |= bpf_htons(PX_RST);
		count->resets++;
	}
	return bpf_l4_csum_replace(skb, p->l4 + PX_CHECKSUM_AT, old, new, 2) ||
	       bpf_skb_store_bytes(skb, p->l4 + PX_FLAGS_AT, &new, 2, 0);
}

/* The code point of the other end's frames; ECN is between this end and the container. */
static __always_inline int px_write_dscp(struct __sk_buff *skb, const struct sw_packet *p, __u8 dscp)
{
	__u32 shift;
	__be16 old, new;
	__u16 word;

	if (px_load_class(skb, p, &word, &shift))
		return -1;
	if ((word >> shift & 0x3f) == dscp)
		return 0;
	old = bpf_htons(word);
	new = bpf_htons((word & ~(0x3f << shift)) | dscp << shift);
	if (p->version == 4 && bpf_l3_csum_replace(skb, p->l3 + PX_IP_CHECKSUM_AT, old, new, 2))
		return -1;
	return bpf_skb_store_bytes(skb, p->l3, &new, 2, 0);
}

static __always_inline int px_write_head(struct __sk_buff *skb, const struct px_head *head)
{
	if (bpf_skb_store_bytes(skb, 0, head->macs, 12, 0))
		return -1;
	if (head->tpid[1] && bpf_skb_vlan_push(skb, head->tpid[1], head->tci[1]))
		return -1;
	if (head->tpid[0] && bpf_skb_vlan_push(skb, head->tpid[0], head->tci[0]))
		return -1;
	return 0;
}

/* What a segment of the container's to a server tells about its connection there. */
static __always_inline void px_note_leg(struct px_flow *flow, const struct px_tcp *t)
{
	if (t->flags & PX_RST) {
		flow->leg = PX_NO_LEG;
	} else if (t->flags & PX_SYN) {
		flow->leg = PX_LEG_OPEN;
	} else if (t->flags & PX_FIN && flow->leg == PX_LEG_OPEN) {
		flow->leg = PX_LEG_FIN;
		flow->leg_end = t->seq + t->payload + 1;
	}
}

SEC("tc")
int px_veth(struct __sk_buff *skb)
{
	struct px_place *place = SW_ONE(px_place_map);
	struct px_control *control = SW_ONE(px_control_map);
	struct px_counters *count = SW_ONE(px_counters_map);
	const volatile struct sw_wire *w = SW_ONE(sw_wire_map);
	struct px_stream *stream;
	struct px_flow *flow;
	struct sw_packet p;
	struct px_head head;
	struct px_key key;
	struct px_tcp t;
	__u32 side, len = skb->len;

	if (!place || !control || !count)
		return TC_ACT_SHOT;
	side = place->side & 1;
	px_classify(skb, &p);
	if (!p.tcp || px_load_tcp(skb, &p, &t))
		goto keep_in;
	px_make_key(&key, &p, t.ports, side == SW_CORE);
	flow = bpf_map_lookup_elem(&px_flows_map, &key);
	if (!flow || flow->container != place->container)
		goto keep_in;
	head = flow->to[side];
	stream = &flow->from[side ^ 1];
	if (t.flags & PX_SYN) {
		stream->ours = t.seq;
		stream->know_ours = 1;
	}
	if (side == SW_CORE)
		px_note_leg(flow, &t);
	if (t.flags & PX_FIN && control->exact && !px_complete(stream, &t) && px_no_fin(skb, &p, &t, count))
		goto lost;
	if (px_begins(&t) && (px_write_mss(skb, &p, flow->mss) || (!flow->ecn && px_no_ecn(skb, &p))))
		goto lost;
	if (px_write_dscp(skb, &p, stream->dscp) || px_write_head(skb, &head))
		goto lost;
	p.scope = px_scope(&head);
	p.tags = (head.tpid[0] != 0) + (head.tpid[1] != 0);
	if (w && side == SW_ACCESS)
		sw_count_foreign(w, SW_CORE, &p, len);
	count->out_packets++;
	count->out_bytes += len;
	return bpf_redirect(place->out, 0);
keep_in:
	count->kept_in++;
	return TC_ACT_SHOT;
lost:
	count->lost++;
	return TC_ACT_SHOT;
}

char sw_license[] SEC("license") = "Apache-2.0";
