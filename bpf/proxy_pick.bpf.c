/* sk_lookup in the container: whatever port a connection is for, one of HAProxy's listeners takes it, the one of the CPU
 * that the SYN arrived on where there is one per CPU. */
#include <linux/pkt_cls.h>
#include "wire.h"
#define SW_LOAD(ctx, off, to, len) bpf_skb_load_bytes(ctx, off, to, len)
#include "proxy.h"

#define PX_AF_INET 2

SEC("sk_lookup")
int px_pick(struct bpf_sk_lookup *ctx)
{
	struct px_control *control = SW_ONE(px_control_map);
	__u32 at, count;
	struct bpf_sock *sk;

	if (ctx->protocol != SW_TCP || !control)
		return SK_PASS;
	count = control->listeners;
	if (!count)
		return SK_PASS;
	at = bpf_get_smp_processor_id() % count * 2 + (ctx->family != PX_AF_INET);
	sk = bpf_map_lookup_elem(&px_listeners_map, &at);
	if (!sk)
		return SK_PASS;
	bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return SK_PASS;
}

char sw_license[] SEC("license") = "Apache-2.0";
