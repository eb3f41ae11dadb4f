/* What the BPF programs and the engine share: maps, their layout, and the sign of life.
 *
 * crates/io/src/steer/layout.rs mirrors every struct here; both assert the same sizes. The loader makes the maps
 * (crates/io/src/steer/maps.rs) and puts their descriptors where a program names one (object.rs), so a map is only a
 * name here. */
#ifndef SMARTWIRE_WIRE_H
#define SMARTWIRE_WIRE_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

/* Changes with every change of a layout below: a newer engine won't take over an older wire's maps. */
#define SW_ABI 8

#define SW_SLOTS 8      /* entries per bucket of the custody book */
#define SW_MAX_PORTS 32 /* ports of one wire: pair k is ports 2k (access) and 2k + 1 (core) */
#define SW_SHAPED (1u << 31)
#define SW_ALL_SHAPED (~0u)
#define SW_STEP 4000000 /* ns that a gap between two frames counts at most towards the engine's silence */
#define SW_PATIENCE 10  /* timeouts of silence after which an engine is dead, not late */
#define SW_LEFT 0x53570001u /* mark of a frame that the socket filter left to a proxy, which then did not want it */
#define SW_GLIMPSE 248  /* bytes of a frame that a listening engine gets at most */
#define SW_ANSWERED 3000000000ULL /* ns after the latest SYN for which the rest of a handshake is looked for */

enum sw_side { SW_ACCESS = 0, SW_CORE = 1 };

/* What a live engine wants of the traffic. */
enum sw_mode {
	SW_CLAIM = 0,  /* what it claims */
	SW_PASS = 1,   /* nothing: all is copper wire */
	SW_LISTEN = 2, /* nothing but copies of handshakes: all is copper wire */
};

/* One per wire, memory-mapped: the heartbeat and what all programs must know. */
struct sw_wire {
	__u32 abi;
	__u32 generation; /* of the engine that claimed the wire last; 0: none ever did */
	__u32 owner_pid;  /* 0: nobody has claimed it */
	__u32 survivors;  /* marked entries of earlier generations that are still to be answered */
	__u64 beat_ns;    /* CLOCK_MONOTONIC of the last beat */
	__u64 timeout_ns;
	__u64 opened;     /* times that it opened while claimed */
	__u64 key[2];     /* of the custody book's hash */
	__u32 bucket_mask;
	__u32 max_frame;  /* 0: no limit */
	__u32 prefix_v6;
	__u32 subscribers; /* registered in sw_subscribers */
	__u32 shaped;      /* of these, shaped; or SW_ALL_SHAPED */
	__u32 mode;        /* enum sw_mode */
	__u64 heard_beat; /* the beat since which the next two are counted */
	__u64 heard_ns;   /* when the latest frame came */
	__u64 silence_ns; /* for how long frames have come since that beat */
	__u64 open_beat;  /* the latest beat after which a frame found the wire open */
	__u64 guarded;    /* connections that a guardian has reset; no program needs it */
	__u64 syn_ns;     /* when the latest SYN came while the engine listened */
	__u32 ifindex[SW_MAX_PORTS];
};

/* One per port; a program is loaded per port. */
struct sw_port {
	__u32 peer_ifindex;
	__u32 side;
	__u32 packet_mode; /* a socket filter takes what the engine claims, so tc must drop it */
	__u32 generic_xdp; /* an XDP program runs in the stack, in front of tc */
};

/* A flow as smartwire_engine::FlowKey has it; addresses as on the wire, IPv4 mapped. */
struct sw_flow {
	__u64 access[2];
	__u64 core[2];
	__u64 ports; /* access port << 16 | core port */
	__u64 scope;
};

/* smartwire_engine::CustodyMark of one flow. */
struct sw_entry {
	struct sw_flow flow;
	__u32 rcv_nxt[2];
	__u32 snd_nxt[2];
	/* For whoever resets the silent ones: destination, then source, of a frame towards that side; the ports; tags. */
	__u8 macs[2][12];
	__u8 port[2];
	__u16 tpid[2];
	__u8 pad[2];
	__u32 resets[2];
};

/* A bucket: what a search looks at first, then the entries. A state is 0 when free, else generation << 1 | custody. */
struct sw_bucket {
	__u32 tag[SW_SLOTS];
	__u32 state[SW_SLOTS];
	struct sw_entry entry[SW_SLOTS];
};

struct sw_subscriber {
	__u64 addr[2];
	__u64 scope;
};

struct sw_foreign {
	__u64 down;
	__u64 up;
};

/* A frame that a listening engine gets a copy of. */
struct sw_glimpse {
	__u32 ifindex;
	__u32 len;
	__u8 frame[SW_GLIMPSE];
};

/* Per CPU. */
struct sw_counters {
	__u64 copper_frames[2]; /* by the side that they came from */
	__u64 copper_bytes[2];
	__u64 claimed_frames;
	__u64 claimed_bytes;
	__u64 resets;
	__u64 oversize_frames;
	__u64 no_socket_frames;
	__u64 held_back_frames;
};

_Static_assert(sizeof(struct sw_wire) == 256, "as in layout.rs");
_Static_assert(sizeof(struct sw_port) == 16, "as in layout.rs");
_Static_assert(sizeof(struct sw_entry) == 104, "as in layout.rs");
_Static_assert(sizeof(struct sw_bucket) == 896, "as in layout.rs");
_Static_assert(sizeof(struct sw_subscriber) == 24, "as in layout.rs");
_Static_assert(sizeof(struct sw_foreign) == 16, "as in layout.rs");
_Static_assert(sizeof(struct sw_glimpse) == 256, "as in layout.rs");
_Static_assert(sizeof(struct sw_counters) == 10 * 8, "as in layout.rs");

struct sw_map {
	__u8 unused;
};
#define SW_MAP(name) struct sw_map name SEC(".maps")

SW_MAP(sw_wire_map);        /* array of 1 sw_wire, mmap */
SW_MAP(sw_port_map);        /* array of 1 sw_port, one map per port */
SW_MAP(sw_book_map);        /* array of sw_bucket, mmap */
SW_MAP(sw_subscribers_map); /* hash: sw_subscriber to slot, SW_SHAPED */
SW_MAP(sw_foreign_map);     /* array of sw_foreign, mmap */
SW_MAP(sw_counters_map);    /* per-CPU array of 1 sw_counters */
SW_MAP(sw_syns_map);        /* LRU hash: sw_flow to the side that opened it, while the engine listens */
SW_MAP(sw_glimpses_map);    /* ring buffer of sw_glimpse */
SW_MAP(sw_xsk_map);         /* XSKMAP by queue, one map per port */

#define SW_ONE(map) ({ __u32 zero_ = 0; bpf_map_lookup_elem(&(map), &zero_); })

static __always_inline int sw_beat_within(const volatile struct sw_wire *w, __u64 ns)
{
	/* Signed: a beat may be stored after this program read its clock. */
	return w->owner_pid && (__s64)(bpf_ktime_get_ns() - w->beat_ns) < (__s64)ns;
}

/* Has an engine claimed the wire, and beaten within the timeout? A pause of the whole machine (a hypervisor's, say) is no
 * silence of the engine: nothing ran, so no frames came in either. Therefore what counts is the time for which frames
 * have come in since the beat, a gap between two of them a little at most; but three timeouts are too long for anybody. */
static __always_inline int sw_live(volatile struct sw_wire *w)
{
	__u64 now = bpf_ktime_get_ns(), beat = w->beat_ns, timeout = w->timeout_ns, silence = 0;
	/* Signed: a beat may be stored after this program read its clock, and another processor's frame be newer. */
	__s64 age = now - beat, gap;

	if (!w->owner_pid)
		return 0;
	if (age < (__s64)(timeout / 4))
		return 1;
	gap = age;
	if (w->heard_beat == beat) {
		gap = now - w->heard_ns;
		silence = w->silence_ns;
	}
	silence += gap < 0 ? 0 : gap > SW_STEP ? SW_STEP : gap;
	w->silence_ns = silence;
	w->heard_ns = now;
	w->heard_beat = beat;
	if (silence < timeout && age < (__s64)(3 * timeout))
		return 1;
	w->open_beat = beat;
	return 0;
}

/* May the engine whose silence opened the wire still come back? */
static __always_inline int sw_late(const volatile struct sw_wire *w)
{
	return sw_beat_within(w, w->timeout_ns * SW_PATIENCE);
}

#endif
