/* tc ingress of a port, in front of the copper wire, or of a trunk: chooses at its SYN whether a connection goes to the proxy, and
 * hands every later frame of it, and ICMP errors about it, to the container. What it does not want goes on to the next
 * program, the copper wire. */
#include <linux/pkt_cls.h>
#include "wire.h"
#define SW_LOAD(ctx, off, to, len) bpf_skb_load_bytes(ctx, off, to, len)
#include "proxy_rules.h"
#include "foreign.h"
#include "link.h"

#define PX_WIRE TC_ACT_UNSPEC /* on to the next program */

/* Reads the tag at `off`; 0 if there is none. */
static __always_inline int px_read_tag(struct __sk_buff *skb, __u32 off, __be16 *tpid, __u16 *tci)
{
	__be16 tag[2];

	if (bpf_skb_load_bytes(skb, off, tag, 4) || !sw_is_tag(bpf_ntohs(tag[0])))
		return 0;
	*tpid = tag[0];
	*tci = bpf_ntohs(tag[1]);
	return 1;
}

/* Reads what stands before the IP header. 0: more tags than a flow may have. The kernel moves the outermost tag out of
 * the frame. */
static __always_inline int px_read_head(struct __sk_buff *skb, struct px_head *head)
{
	__u32 off = 12;
	__be16 tpid;
	__u16 tci;

	__builtin_memset(head, 0, sizeof(*head));
	if (bpf_skb_load_bytes(skb, 0, head->macs, 12))
		return 0;
	if (skb->vlan_present) {
		head->tpid[0] = skb->vlan_proto;
		head->tci[0] = skb->vlan_tci;
	} else if (px_read_tag(skb, off, &head->tpid[0], &head->tci[0])) {
		off += 4;
	} else {
		return 1;
	}
	return !px_read_tag(skb, off, &head->tpid[1], &head->tci[1]) || !px_read_tag(skb, off + 4, &tpid, &tci);
}

static __always_inline int px_same_head(const struct px_head *a, const struct px_head *b)
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && x[4] == y[4];
}

static __always_inline struct px_way *px_way_to(__u32 container, __u32 side)
{
	__u32 at = (container & 1) * 2 + (side & 1);

	return bpf_map_lookup_elem(&px_ways_map, &at);
}

/* Into the container, without the tags. */
static __always_inline int px_hand_over(struct __sk_buff *skb, const struct sw_packet *p, const struct px_flow *flow,
					__u32 side, const struct px_head *head, struct px_counters *count)
{
	const volatile struct sw_wire *w = SW_ONE(sw_wire_map);
	struct px_way *way = px_way_to(flow->container, side);
	__u32 len = skb->len;

	if (!way)
		return TC_ACT_SHOT;
	if (w && side == SW_ACCESS)
		sw_count_foreign(w, SW_ACCESS, p, len);

	for (int i = 0; i < PX_TAGS; i++)
		if (head->tpid[i] && bpf_skb_vlan_pop(skb)) {
			count->lost++;
			return TC_ACT_SHOT;
		}
	count->in_packets++;
	count->in_bytes += len;
	return bpf_redirect_peer(way->out, 0);
}

/* The container's socket for the connection of this SYN: its state, 0 if there is none. With `port` 0, which no
 * connection has, only a listener can answer. */
static __always_inline __u32 px_socket(struct __sk_buff *skb, const struct sw_packet *p, __u32 container,
				       __u32 source, __u32 destination)
{
	struct px_way *way = px_way_to(container, SW_ACCESS);
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	__u32 state, len;

	if (!way)
		return 0;
	if (p->version == 4) {
		t.ipv4.saddr = p->src[1] >> 32;
		t.ipv4.daddr = p->dst[1] >> 32;
		t.ipv4.sport = bpf_htons(source);
		t.ipv4.dport = bpf_htons(destination);
		len = sizeof(t.ipv4);
	} else {
		__builtin_memcpy(t.ipv6.saddr, p->src, 16);
		__builtin_memcpy(t.ipv6.daddr, p->dst, 16);
		t.ipv6.sport = bpf_htons(source);
		t.ipv6.dport = bpf_htons(destination);
		len = sizeof(t.ipv6);
	}
	sk = bpf_skc_lookup_tcp(skb, &t, len, way->nsid, 0);
	if (!sk)
		return 0;
	state = sk->state;
	bpf_sk_release(sk);
	return state;
}

/* Why a new connection can't go to the proxy; null if it can. */
static __always_inline __u64 *px_obstacle(struct __sk_buff *skb, const struct sw_packet *p,
					  const struct px_control *control, struct px_counters *count)
{
	if (!px_is_open(control))
		return &count->closed;
	if (px_socket(skb, p, control->container, 0, PX_LISTENS) != BPF_TCP_LISTEN)
		return &count->no_listener;
	return 0;
}

/* As frames that leave on the other side look: on a trunk they have its VLAN. */
static __always_inline void px_cross(const struct px_place *place, __u32 side, struct px_head *head)
{
	if (place->trunk)
		head->tci[0] = (head->tci[0] & 0xf000) | place->vlan[(side & 1) ^ 1];
}

/* The MSS that a SYN names among its first options (RFC 9293 section 3.7.1); 0: none. */
static __always_inline __u16 px_mss(struct __sk_buff *skb, const struct sw_packet *p)
{
	__u32 at = p->l4 + 20;
	__u8 o[4];

	for (int i = 0; i < 4; i++) {
		if (at + 4 > p->end || bpf_skb_load_bytes(skb, at, o, 4))
			return 0;
		if (o[0] == 2 && o[1] == 4)
			return o[2] << 8 | o[3];
		if (o[0] != 1 && (!o[0] || o[1] < 2))
			return 0;
		at += o[0] == 1 ? 1 : o[1];
	}
	return 0;
}

/* Enters a new flow; whatever an earlier one with these ports left is gone with that. */
static __always_inline int px_enter(const struct px_place *place, const struct px_key *key, const struct px_head *head,
				    const struct px_tcp *t, __u16 mss, __u32 rule, __u32 generation, __u32 container)
{
	struct px_flow flow = {};

	flow.born_ns = flow.seen_ns = bpf_ktime_get_coarse_ns();
	flow.rule = rule;
	flow.generation = generation;
	flow.container = container & 1;
	flow.mss = mss;
	flow.cpu = bpf_get_smp_processor_id();
	flow.ecn = (t->flags & (PX_ECE | PX_CWR)) == (PX_ECE | PX_CWR);
	flow.to[SW_CORE] = *head;
	px_cross(place, SW_ACCESS, &flow.to[SW_CORE]);
	/* Until the other side's first frame shows its own: what answers this frame. */
	flow.to[SW_ACCESS] = *head;
	__builtin_memcpy(flow.to[SW_ACCESS].macs, head->macs + 6, 6);
	__builtin_memcpy(flow.to[SW_ACCESS].macs + 6, head->macs, 6);
	flow.from[SW_ACCESS].origin = t->seq;
	flow.from[SW_ACCESS].know_origin = 1;
	return bpf_map_update_elem(&px_flows_map, key, &flow, BPF_ANY);
}

static __always_inline void px_hit(__u32 generation, __u32 rule)
{
	__u32 at = (generation & 1) * (PX_RULES + 1) + rule;
	__u64 *hits = bpf_map_lookup_elem(&px_hits_map, &at);

	if (hits)
		++*hits;
}

/* What becomes of a connection's first packet. */
enum px_verdict {
	PX_DIRECT, /* on to the wire */
	PX_LEFT,   /* the same; the wire's socket filter thought it was for the proxy (proxied.h), and left it */
	PX_PROXY,
	PX_LATER,  /* dropped: the SYN comes again */
};

/* Has HAProxy still to close the server's connection of an earlier one of these ends? A client may use its port again
 * within less time than that takes. */
static __always_inline int px_leg_is_there(const struct px_flow *flow)
{
	if (flow->leg == PX_NO_LEG || (flow->leg == PX_LEG_ACKED && flow->from[SW_CORE].finished))
		return 0;
	return bpf_ktime_get_coarse_ns() - flow->seen_ns < 3 * PX_SECOND;
}

/* What a segment of the server tells about the container's connection to it. */
static __always_inline void px_note_leg(struct px_flow *flow, const struct px_tcp *t)
{
	if (t->flags & PX_RST)
		flow->leg = PX_NO_LEG;
	else if (flow->leg == PX_LEG_FIN && (__s32)(t->ack - flow->leg_end) >= 0)
		flow->leg = PX_LEG_ACKED;
}

/* Direct: whatever an earlier connection of these ends has left is removed. */
static __always_inline void px_go_direct(const struct px_key *key, const struct px_flow *flow, __u32 seq, __u64 *why,
					 struct px_counters *count)
{
	++*why;
	if (flow && !bpf_map_delete_elem(&px_flows_map, key))
		count->stale++;
	bpf_map_update_elem(&px_direct_map, key, &seq, BPF_ANY);
}

/* A connection's first packet from the access side. */
static __always_inline int px_decide(struct __sk_buff *skb, const struct sw_packet *p, const struct px_place *place,
				     const struct px_key *key, const struct px_tcp *t)
{
	struct px_control *control = SW_ONE(px_control_map);
	struct px_counters *count = SW_ONE(px_counters_map);
	struct px_flow *flow;
	struct px_head head;
	__u32 rule, generation, state, *before, seq;
	__u64 *why;
	int proxy, direct;

	if (!control || !count)
		return PX_DIRECT;
	seq = t->seq;
	flow = bpf_map_lookup_elem(&px_flows_map, key);
	if (flow && flow->from[SW_ACCESS].origin == seq) {
		count->repeated++;
		return PX_PROXY;
	}
	if (flow) {
		/* Alive: the container's TCP answers, as the server's would (RFC 9293 section 3.10.7.4). */
		state = px_socket(skb, p, flow->container, t->ports >> 16, t->ports & 0xffff);
		if (state && state != BPF_TCP_LISTEN && state != BPF_TCP_TIME_WAIT)
			return PX_PROXY;
		if (px_leg_is_there(flow)) {
			count->early++;
			return PX_LATER;
		}
	}
	generation = control->generation;
	rule = px_first_rule(control, key, p->scope, generation, &proxy);
	direct = flow || (proxy && px_is_open(control)) ? PX_LEFT : PX_DIRECT;
	before = bpf_map_lookup_elem(&px_direct_map, key);
	if (before && *before == seq) {
		count->repeated++;
		return direct;
	}
	px_hit(generation, rule);
	why = proxy ? px_obstacle(skb, p, control, count) : &count->no_rule;
	if (!why) {
		if (px_read_head(skb, &head) &&
		    !px_enter(place, key, &head, t, px_mss(skb, p), rule, generation, control->container)) {
			count->proxied++;
			return PX_PROXY;
		}
		why = &count->full;
	}
	px_go_direct(key, flow, seq, why, count);
	return direct;
}

/* What a segment from an end tells about its stream. */
static __always_inline void px_note(struct __sk_buff *skb, const struct sw_packet *p, struct px_flow *flow, __u32 side,
				    const struct px_tcp *t)
{
	struct px_stream *s = &flow->from[side & 1];
	__u64 now = bpf_ktime_get_coarse_ns();
	__u32 shift;
	__u16 word;

	if (!px_load_class(skb, p, &word, &shift))
		s->dscp = word >> shift & 0x3f;
	if (now - flow->seen_ns > PX_SECOND)
		flow->seen_ns = now;
	s->packets++;
	s->bytes += t->payload;
	if (t->flags & PX_SYN) {
		s->origin = t->seq;
		s->know_origin = 1;
	}
	if (t->flags & PX_FIN && s->know_origin) {
		s->fin = t->seq + t->payload - s->origin;
		s->finished = 1;
	}
}

/* On to the wire, whose socket filter has left this frame. */
static __always_inline int px_give_back(struct __sk_buff *skb)
{
	skb->mark = SW_LEFT;
	return PX_WIRE;
}

static __always_inline int px_segment(struct __sk_buff *skb, struct sw_packet *p, const struct px_place *place,
				      __u32 side, struct px_counters *count)
{
	struct px_flow *flow;
	struct px_head head;
	struct px_key key;
	struct px_tcp t;
	int first, verdict = PX_PROXY;

	if (px_load_tcp(skb, p, &t))
		return PX_WIRE;
	first = side == SW_ACCESS && px_begins(&t);
	if (p->tags > PX_TAGS) {
		count->strange += first;
		return PX_WIRE;
	}
	px_make_key(&key, p, t.ports, side == SW_ACCESS);
	if (first)
		verdict = px_decide(skb, p, place, &key, &t);
	if (verdict == PX_LATER)
		return TC_ACT_SHOT;
	if (verdict != PX_PROXY)
		return verdict == PX_LEFT ? px_give_back(skb) : PX_WIRE;
	flow = bpf_map_lookup_elem(&px_flows_map, &key);
	if (!flow)
		return PX_WIRE;
	/* The tags tell connections of equal addresses apart. Those of the side that has not been seen yet are as on the
	 * side that has. */
	if (px_scope(&flow->to[side]) != p->scope)
		return first ? px_give_back(skb) : PX_WIRE;
	if (!px_read_head(skb, &head))
		return px_give_back(skb);
	/* Frames towards the other side look as this side's do. */
	px_cross(place, side, &head);
	if (!px_same_head(&flow->to[side ^ 1], &head))
		flow->to[side ^ 1] = head;
	px_note(skb, p, flow, side, &t);
	if (side == SW_CORE)
		px_note_leg(flow, &t);
	++*(flow->cpu == (__u16)bpf_get_smp_processor_id() ? &count->own_cpu : &count->other_cpu);
	return px_hand_over(skb, p, flow, side, &head, count);
}

/* An ICMP error: is the packet that it quotes a flow's? */
static __always_inline int px_icmp(struct __sk_buff *skb, struct sw_packet *p, __u32 side, struct px_counters *count)
{
	struct px_flow *flow;
	struct px_head head;
	struct px_key key;

	if (p->tags > PX_TAGS || px_quoted(skb, p, side, &key))
		return PX_WIRE;
	flow = bpf_map_lookup_elem(&px_flows_map, &key);
	if (!flow)
		return PX_WIRE;
	if (!px_read_head(skb, &head))
		return px_give_back(skb);
	count->icmp++;
	return px_hand_over(skb, p, flow, side, &head, count);
}

/* A trunk is its own copper wire: the frame leaves by it with the other VLAN. */
static __always_inline int px_swap(struct __sk_buff *skb, const struct px_place *place, __u32 side)
{
	__be16 tpid = skb->vlan_proto;
	__u16 tci = (skb->vlan_tci & 0xf000) | place->vlan[side ^ 1];

	skb->mark = 0;
	if (bpf_skb_vlan_pop(skb) || bpf_skb_vlan_push(skb, tpid, tci))
		return TC_ACT_SHOT;
	return bpf_redirect(place->out, 0);
}

/* A frame whose first byte can't be that of an IP header has its link header (link.h); the others are looked at. */
static __always_inline int px_may_lack_link_header(struct __sk_buff *skb)
{
	__u8 first;

	if (skb->vlan_present || bpf_skb_load_bytes(skb, 0, &first, 1))
		return 0;
	return first >> 4 == 4 || first >> 4 == 6;
}

SEC("tc")
int px_port(struct __sk_buff *skb)
{
	struct px_place *place = SW_ONE(px_place_map);
	struct px_counters *count = SW_ONE(px_counters_map);
	struct sw_packet p;
	__u32 side;
	int verdict = PX_WIRE;

	if (!place || !count)
		return PX_WIRE;
	side = place->side & 1;
	if (place->trunk) {
		side = (skb->vlan_tci & 0xfff) == place->vlan[SW_CORE];
		if (!skb->vlan_present || (skb->vlan_tci & 0xfff) != place->vlan[side])
			return PX_WIRE; /* not ours */
	} else if (px_may_lack_link_header(skb) && sw_mend_link_header(skb)) {
		return PX_WIRE;
	}
	if (px_classify(skb, &p))
		verdict = p.tcp ? px_segment(skb, &p, place, side, count) : px_icmp(skb, &p, side, count);
	return verdict == PX_WIRE && place->trunk ? px_swap(skb, place, side) : verdict;
}

char sw_license[] SEC("license") = "Apache-2.0";
