/* XDP: hands what the engine claims to its AF_XDP socket while it lives, and leaves all else to the tc programs. */
#include "wire.h"
#define SW_LOAD(ctx, off, to, len) bpf_xdp_load_bytes(ctx, off, to, len)
#include "book.h"
#include "proxied.h"

SEC("xdp.frags")
int sw_xdp(struct xdp_md *ctx)
{
	volatile struct sw_wire *w = SW_ONE(sw_wire_map);
	struct sw_port *port = SW_ONE(sw_port_map);
	struct sw_counters *count = SW_ONE(sw_counters_map);
	struct sw_packet p;
	__u32 len;
	int verdict;

	if (!w || !port || !count || w->mode != SW_CLAIM || !sw_live(w))
		return XDP_PASS;
	len = bpf_xdp_get_buff_len(ctx);
	if (w->max_frame && len > w->max_frame)
		return XDP_PASS;
	if (!sw_classify(ctx, w, &p, len, 0, 0))
		return XDP_PASS;
	if (px_left(ctx, ctx->ingress_ifindex, &p))
		return XDP_PASS;
	if (w->survivors && sw_find(ctx, w, &p, port->side, 1))
		return XDP_PASS;
	verdict = bpf_redirect_map(&sw_xsk_map, ctx->rx_queue_index, XDP_PASS);
	if (verdict == XDP_REDIRECT) {
		count->claimed_frames++;
		count->claimed_bytes += len;
	}
	return verdict;
}

char sw_license[] SEC("license") = "Apache-2.0";
