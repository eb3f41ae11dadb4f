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

struct px_set {
	__u64 word[PX_WORDS];
};

struct px_prefix {
	__u32 bits;
	__u32 addr[4];
};

_Static_assert(sizeof(struct px_set) == 64, "as in layout.py");
_Static_assert(sizeof(struct px_prefix) == 20, "as in layout.py");

enum { PX_PROXY_CLASS = 0 }; /* the class whose set is the rules that say "proxy" */

static __always_inline struct px_set *px_set_of_address(void *classes, __u32 trie, const __u64 *addr)
{
	struct px_prefix key = { .bits = 128 };
	__u32 *class;
	void *map;

	__builtin_memcpy(key.addr, addr, 16);
	map = bpf_map_lookup_elem(&px_tries_map, &trie);
	if (!map)
		return 0;
	class = bpf_map_lookup_elem(map, &key);
	return class ? bpf_map_lookup_elem(classes, class) : 0;
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

/* The first rule that a connection meets, PX_RULES if none; `proxy`: what that rule says. */
static __always_inline __u32 px_first_rule(const struct px_key *key, __u32 vlan, __u32 generation, int *proxy)
{
	__u32 half = generation & 1, zero = PX_PROXY_CLASS;
	void *classes = bpf_map_lookup_elem(&px_classes_map, &half);
	void *numbers = bpf_map_lookup_elem(&px_numbers_map, &half);
	struct px_set *access, *core, *port, *tag, *action;

	*proxy = 0;
	if (!classes || !numbers)
		return PX_RULES;
	access = px_set_of_address(classes, half * 2, key->access);
	core = px_set_of_address(classes, half * 2 + 1, key->core);
	port = px_set_of_number(classes, numbers, key->ports & 0xffff);
	tag = px_set_of_number(classes, numbers, PX_VLAN_BASE + vlan);
	action = bpf_map_lookup_elem(classes, &zero);
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

#endif
