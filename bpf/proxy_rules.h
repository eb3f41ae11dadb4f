/* Which rule a connection meets first.
 *
 * Rules are an ordered list; each names VLANs, access prefixes, core prefixes and core ports, any of which may be absent.
 * The supervisor turns that into four tables, each of which gives a class for one field, and into one set of rules per
 * class: bit r stands where rule r does not object to this field. The first rule that none of the four objects to is
 * the answer. So the cost depends neither on the number of rules nor on that of prefixes, however they overlap.
 * (T. V. Lakshman and D. Stiliadis, "High-speed policy-based packet forwarding using efficient multi-dimensional
 * range matching", SIGCOMM 1998.) */
#ifndef SMARTWIRE_PROXY_RULES_H
#define SMARTWIRE_PROXY_RULES_H

#include "proxy.h"

#define PX_FAN 1024

struct px_set {
	__u64 word[PX_WORDS];
};

/* Ascending addresses, IPv4 mapped, in host order, and what holds from each on: in the first chunk of a table the number
 * of another chunk, in the others a class. Two steps lead to any of a million ranges. */
struct px_chunk {
	__u64 from[PX_FAN][2];
	__u32 value[PX_FAN];
};

_Static_assert(sizeof(struct px_set) == 64, "as in layout.py");
_Static_assert(sizeof(struct px_chunk) == 20 * PX_FAN, "as in layout.py");

enum { PX_PROXY_CLASS = 0 }; /* the class whose set is the rules that say "proxy" */

/* What holds at an address: of the last entry that is not above it. `zero` is 0, which the verifier must not know: else
 * it would follow every way through the search. */
static __always_inline __u32 px_at(const struct px_chunk *chunk, __u64 high, __u64 low, __u32 zero)
{
	__u32 i = zero & (PX_FAN - 1);

	for (__u32 step = PX_FAN / 2; step; step >>= 1) {
		__u32 j = (i + step) & (PX_FAN - 1);
		__u64 h = chunk->from[j][0], l = chunk->from[j][1];

		if (h < high || (h == high && l <= low))
			i = j;
	}
	return chunk->value[i & (PX_FAN - 1)];
}

static __always_inline struct px_set *px_set_of_address(void *classes, __u32 table, const __u64 *addr, __u32 zero)
{
	__u64 high = bpf_be64_to_cpu(addr[0]), low = bpf_be64_to_cpu(addr[1]);
	void *map = bpf_map_lookup_elem(&px_ranges_map, &table);
	struct px_chunk *chunk;
	__u32 at = 0;

	if (!map)
		return 0;
	chunk = bpf_map_lookup_elem(map, &at);
	if (!chunk)
		return 0;
	at = px_at(chunk, high, low, zero);
	chunk = bpf_map_lookup_elem(map, &at);
	if (!chunk)
		return 0;
	at = px_at(chunk, high, low, zero);
	return bpf_map_lookup_elem(classes, &at);
}

static __always_inline struct px_set *px_set_of_number(void *classes, void *numbers, __u32 number)
{
	__u32 *class = bpf_map_lookup_elem(numbers, &number);

	return class ? bpf_map_lookup_elem(classes, class) : 0;
}

static __always_inline __u32 px_lowest_bit(__u64 v)
{
	__u32 n = 0;

	if (!(v & 0xffffffff)) {
		n += 32;
		v >>= 32;
	}
	if (!(v & 0xffff)) {
		n += 16;
		v >>= 16;
	}
	if (!(v & 0xff)) {
		n += 8;
		v >>= 8;
	}
	if (!(v & 0xf)) {
		n += 4;
		v >>= 4;
	}
	if (!(v & 3)) {
		n += 2;
		v >>= 2;
	}
	return n + !(v & 1);
}

/* The outermost tag's VLAN, as rules know it. */
static __always_inline __u32 px_vlan(__u64 scope)
{
	return scope >> 16 ? scope >> 16 & 0xfff : scope ? scope & 0xfff : PX_UNTAGGED;
}

/* The first rule that a connection meets, PX_RULES if none; `proxy`: what that rule says. */
static __always_inline __u32 px_first_rule(const struct px_control *control, const struct px_key *key, __u64 scope,
					   __u32 generation, int *proxy)
{
	__u32 half = generation & 1, says = PX_PROXY_CLASS, zero = control->zero;
	void *classes = bpf_map_lookup_elem(&px_classes_map, &half);
	void *numbers = bpf_map_lookup_elem(&px_numbers_map, &half);
	struct px_set *access, *core, *port, *tag, *action;

	*proxy = 0;
	if (!classes || !numbers)
		return PX_RULES;
	access = px_set_of_address(classes, half * 2, key->access, zero);
	core = px_set_of_address(classes, half * 2 + 1, key->core, zero);
	port = px_set_of_number(classes, numbers, key->ports & 0xffff);
	tag = px_set_of_number(classes, numbers, PX_VLAN_BASE + px_vlan(scope));
	action = bpf_map_lookup_elem(classes, &says);
	if (!access || !core || !port || !tag || !action)
		return PX_RULES;
	for (__u32 i = 0; i < PX_WORDS; i++) {
		__u64 met = access->word[i] & core->word[i] & port->word[i] & tag->word[i];
		if (met) {
			__u32 bit = px_lowest_bit(met);
			*proxy = action->word[i] >> bit & 1;
			return i * 64 + bit;
		}
	}
	return PX_RULES;
}

/* Do the rules want this connection in the proxy? */
static __always_inline int px_wants(const struct px_control *control, const struct px_key *key, __u64 scope)
{
	int proxy;

	px_first_rule(control, key, scope, control->generation, &proxy);
	return proxy;
}

#endif
