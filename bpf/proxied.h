/* What a wire leaves to a proxy on the same ports: frames of the proxy's flows, ICMP errors about them, and the SYNs that
 * its rules choose. They go to tc, where the proxy's program comes first (proxy_port.bpf.c) and is the only one that
 * enters flows. It marks what was left to it and goes direct all the same (SW_LEFT), since it must come to the same
 * answer as the socket filter did before. */
#ifndef SMARTWIRE_PROXIED_H
#define SMARTWIRE_PROXIED_H

#include "proxy_rules.h"

static __always_inline int px_left_segment(void *ctx, void *flows, const struct px_control *control,
					   const struct sw_packet *p, __u32 side)
{
	struct px_flow *flow;
	struct px_key key;
	struct px_tcp t;

	if (px_load_tcp(ctx, p, &t))
		return 0;
	px_make_key(&key, p, t.ports, side == SW_ACCESS);
	flow = bpf_map_lookup_elem(flows, &key);
	if (side == SW_ACCESS && px_begins(&t))
		return flow || (px_is_open(control) && px_wants(control, &key, p->scope));
	return flow && px_scope(&flow->to[side & 1]) == p->scope;
}

/* Is this frame, which the engine would claim, one for the proxy to judge? */
static __always_inline int px_left(void *ctx, __u32 ifindex, const struct sw_packet *p)
{
	void *flows = SW_ONE(px_tables_map);
	struct px_control *control;
	struct px_key key;
	__u32 side;

	if (!flows)
		return 0;
	control = SW_ONE(px_control_map);
	if (!control || p->tags > PX_TAGS || (ifindex != control->port[SW_ACCESS] && ifindex != control->port[SW_CORE]))
		return 0;
	side = ifindex == control->port[SW_CORE];
	if (p->tcp)
		return px_left_segment(ctx, flows, control, p, side);
	if (!p->version || p->fragment || !px_is_error(ctx, p) || px_quoted(ctx, p, side, &key))
		return 0;
	return bpf_map_lookup_elem(flows, &key) != 0;
}

#endif
