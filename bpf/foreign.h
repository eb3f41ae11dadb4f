/* Bytes that fill a subscriber's radio queue and that the engine does not see: counted for it here, by whoever forwards
 * them. */
#ifndef SMARTWIRE_FOREIGN_H
#define SMARTWIRE_FOREIGN_H

#include "classify.h"

/* Counts the bytes of a registered subscriber, in a frame from `side`. */
static __always_inline void sw_count_foreign(const volatile struct sw_wire *w, __u32 side, const struct sw_packet *p,
					     __u32 len)
{
	__u32 *slot, index;
	struct sw_foreign *bytes;

	if (!w->subscribers || !p->version || p->tags > 2)
		return;
	slot = sw_subscriber(w, p, side == SW_ACCESS ? p->src : p->dst);
	if (!slot)
		return;
	index = *slot & ~SW_SHAPED;
	bytes = bpf_map_lookup_elem(&sw_foreign_map, &index);
	if (bytes)
		__sync_fetch_and_add(side == SW_ACCESS ? &bytes->up : &bytes->down, len);
}

#endif
