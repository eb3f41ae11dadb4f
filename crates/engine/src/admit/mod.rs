//! Half-open connections: which handshakes can be followed, and which flows are left alone, with the reason (tcp.md 2.5).
//!
//! The handshake itself is never touched: whatever [`Handshakes::on_segment`] answers, the segment is forwarded as it
//! came. The table has a fixed size; where a bucket is full a random entry gives way, which is harmless, since a flow
//! whose record is gone just stays unoptimized. A SYN flood therefore costs a flood's share of new optimized flows and
//! nothing else.

mod agree;
mod table;

#[cfg(test)]
mod tests;

pub use agree::Agreed;

use crate::api::{FlowKey, Now, Port, Side};
use crate::reason::RefuseReason;
use crate::table::Hasher;
use agree::{Hello, Record};
use smartwire_packet::tcp::{Flags, Options};
use table::Buckets;

/// How long a handshake may take. Linux gives up on a SYN after 127 s, but one that needs more than two retransmissions
/// is no longer worth following.
const EXPIRE_NS: u64 = 30_000_000_000;

/// A segment that may belong to a handshake: its checksum is verified, its IP packet is no fragment and has no options.
#[derive(Clone, Copy, Debug)]
pub struct HsSegment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: Flags,
    /// Window field, not scaled.
    pub window: u16,
    /// Payload bytes.
    pub len: u16,
    /// Options.
    pub options: Options,
}

/// What a segment meant for a handshake.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// No handshake of this flow is known; the segment does not begin one.
    Unknown,
    /// Part of a handshake, which goes on; or of a flow that was refused before.
    Watch,
    /// The flow is refused, now and for the first time: count it. It is to be forwarded untouched.
    Refuse(RefuseReason),
    /// The third ACK: both ends agree on all this. The record is gone from the table.
    Open(Agreed),
}

/// The half-open handshakes of a wire.
#[derive(Debug)]
pub struct Handshakes {
    buckets: Buckets,
    hasher: Hasher,
}

impl Handshakes {
    /// A table of at least `capacity` places; `seed` keys its hash and chooses who gives way.
    pub fn new(capacity: u32, seed: u64) -> Handshakes {
        Handshakes { buckets: Buckets::new(capacity, seed), hasher: Hasher::new(seed ^ 0x6861_6e64) }
    }

    /// Looks at a segment of a flow that has no record of its own. `key` is written from the access side as always, and
    /// `port` is where it arrived.
    pub fn on_segment(&mut self, now: Now, key: &FlowKey, port: Port, seg: &HsSegment) -> Step {
        self.buckets.sweep(now);
        if seg.flags.contains(Flags::RST) {
            self.buckets.remove(self.hasher.flow(key), key);
            return Step::Unknown;
        }
        match (seg.flags.contains(Flags::SYN), seg.flags.contains(Flags::ACK)) {
            (true, false) => self.on_syn(now, key, port, seg),
            (true, true) => self.on_syn_ack(now, key, port, seg),
            _ => self.on_other(now, key, port, seg),
        }
    }

    /// Refuses a flow: what follows of its handshake is only watched. False if it was refused already.
    fn refuse(&mut self, now: Now, key: &FlowKey, reason: RefuseReason) -> bool {
        let hash = self.hasher.flow(key);
        match self.buckets.find(now, hash, key) {
            Some(record) => record.refuse(reason),
            None => {
                let mut record = Record::begun(*key, Side::Access, now);
                record.refuse(reason);
                self.buckets.insert(now, hash, record);
                true
            }
        }
    }

    /// Handshakes remembered, refused ones included until they expire.
    pub fn len(&self) -> u32 {
        self.buckets.len()
    }
    /// True where none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Places in all.
    pub fn capacity(&self) -> u32 {
        self.buckets.capacity()
    }
    /// Handshakes forgotten so far because the table was full.
    pub fn evicted(&self) -> u64 {
        self.buckets.evicted()
    }

    fn on_syn(&mut self, now: Now, key: &FlowKey, port: Port, seg: &HsSegment) -> Step {
        let from = port.side();
        // The same SYN on the other side has its addresses the other way round in the key.
        let mirror = mirrored(key);
        let mirror_hash = self.hasher.flow(&mirror);
        if let Some(first) = self.buckets.find(now, mirror_hash, &mirror) {
            if first.is_same_syn(from.other(), seg.seq) {
                let news = first.refuse(RefuseReason::Hairpin);
                self.refuse(now, key, RefuseReason::Hairpin);
                return if news { Step::Refuse(RefuseReason::Hairpin) } else { Step::Watch };
            }
        }
        let hash = self.hasher.flow(key);
        if let Some(record) = self.buckets.find(now, hash, key) {
            // A refused flow that begins anew under the same ports is judged anew.
            if !(record.is_refused() && record.begins_anew(from, seg.seq)) {
                return record.on_repeated_syn(now, from, seg);
            }
        }
        let mut record = Record::begun(*key, from, now);
        record.syn = Hello::read(key, seg, port);
        let step = record.refuse_if(agree::odd_syn(seg));
        self.buckets.insert(now, hash, record);
        step
    }

    fn on_syn_ack(&mut self, now: Now, key: &FlowKey, port: Port, seg: &HsSegment) -> Step {
        let hash = self.hasher.flow(key);
        if let Some(record) = self.buckets.find(now, hash, key) {
            return record.on_syn_ack(now, port, seg);
        }
        // Answered on the side that asked: both directions use the same side of the wire.
        let mirror = mirrored(key);
        let mirror_hash = self.hasher.flow(&mirror);
        if let Some(record) = self.buckets.find(now, mirror_hash, &mirror) {
            if record.from == port.side() && record.syn.isn.wrapping_add(1) == seg.ack {
                return record.refuse_if(Some(RefuseReason::Hairpin));
            }
        }
        if self.refuse(now, key, RefuseReason::OneWay) {
            Step::Refuse(RefuseReason::OneWay)
        } else {
            Step::Watch
        }
    }

    fn on_other(&mut self, now: Now, key: &FlowKey, port: Port, seg: &HsSegment) -> Step {
        let hash = self.hasher.flow(key);
        let Some(record) = self.buckets.find(now, hash, key) else { return Step::Unknown };
        let step = record.on_third(now, port, seg);
        if matches!(step, Step::Open(_)) {
            self.buckets.remove(hash, key);
        }
        step
    }
}

fn mirrored(key: &FlowKey) -> FlowKey {
    FlowKey {
        access_addr: key.core_addr,
        core_addr: key.access_addr,
        access_port: key.core_port,
        core_port: key.access_port,
        scope: key.scope,
    }
}
