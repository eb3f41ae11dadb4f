//! One direction of a link, sans-IO: the same model serves virtual time and the lab's real-time emulator.
//!
//! ```
//! use smartwire_sim::link::{Class, Link, LinkPlan, LinkSpec};
//! let spec = LinkSpec::from_json(r#"{"rate": {"mbps": 12}, "queue_bytes": 30000, "delay_ms": 25}"#).unwrap();
//! let mut link = Link::new(&LinkPlan::new(&spec).unwrap(), 7);
//! link.enqueue(0, vec![0u8; 1514], 1500, Class::default());
//! assert_eq!(link.next_event(), Some(1_000_000)); // serialised in 1 ms, then 25 ms on the air
//! assert!(link.pop_due(1_000_000).is_none());
//! assert!(link.pop_due(26_000_000).is_some());
//! ```

mod air;
mod freeze;
pub mod rate;
pub mod record;
pub mod spec;

use std::collections::VecDeque;

pub use record::{Class, Fate, Sample, Totals};
pub use spec::LinkSpec;

use crate::trace::{Trace, SLOT_BYTES};
use air::Air;
use freeze::Freezer;
use rate::Server;
use spec::Rate;

/// What a link carries.
pub trait Packet: Clone {
    /// Flips one bit that `random` chooses, behind the link-layer header (whose checksum the real world would check).
    fn flip_bit(&mut self, random: u64);

    /// Sets the congestion mark where the transport is ECN-capable (RFC 3168).
    fn mark_ce(&mut self) {}
}

impl Packet for Vec<u8> {
    fn flip_bit(&mut self, random: u64) {
        const ETHERNET: u64 = 14;
        // A second flip might undo what the first did to the checksum: no receiver could notice that.
        let damaged = crate::codec::tcp(self, true).is_some_and(|t| !t.sum_ok);
        if !damaged && self.len() as u64 > ETHERNET {
            let bit = random % ((self.len() as u64 - ETHERNET) * 8);
            self[(ETHERNET + bit / 8) as usize] ^= 1 << (bit % 8);
        }
    }

    fn mark_ce(&mut self) {
        crate::codec::mark_ce(self);
    }
}

/// A description with its trace loaded and its numbers checked: cheap to make many links from.
#[derive(Clone, Debug)]
pub struct LinkPlan {
    spec: LinkSpec,
    trace: Option<Trace>,
}

impl LinkPlan {
    /// Checks the description and reads its trace file. The error is one sentence.
    pub fn new(spec: &LinkSpec) -> Result<LinkPlan, String> {
        spec.check()?;
        let trace = match &spec.rate {
            Rate::Trace { file, .. } => Some(Trace::read(file)?),
            Rate::Slots(slots) => Some(Trace::new(slots.clone()).map_err(|e| format!("rate.slots: {e}"))?),
            _ => None,
        };
        Ok(LinkPlan { spec: spec.clone(), trace })
    }

    /// The description.
    pub fn spec(&self) -> &LinkSpec {
        &self.spec
    }

    /// Bytes that this link could carry in `(from, to]` ns, freezes left out; `None` if its rate is unlimited.
    /// `seed` as for [`Link::new`].
    pub fn capacity_bytes(&self, seed: u64, from_ns: u64, to_ns: u64) -> Option<u64> {
        let server = Server::new(&self.spec.rate, self.trace.as_ref(), self.spec.seed ^ seed);
        server.capacity_bytes(from_ns, to_ns, &Freezer::new(&self.spec))
    }
}

#[derive(Debug)]
struct Queued<P> {
    packet: P,
    bytes: u32,
    class: Class,
    enqueued_ns: u64,
    empty_wait_ns: u64,
}

/// One direction of a link.
#[derive(Debug)]
pub struct Link<P> {
    spec: LinkSpec,
    server: Server,
    freezer: Freezer,
    air: Air<P>,
    queue: VecDeque<Queued<P>>,
    queued_bytes: u64,
    /// Slotted: bytes of the head that have left already. Serialised: unused.
    head_sent: u32,
    /// Serialised: when the head will have left.
    head_done_ns: Option<u64>,
    tokens: f64,
    tokens_ns: u64,
    totals: Totals,
    samples: Option<Vec<Sample>>,
}

impl<P: Packet> Link<P> {
    /// A link at its start (time 0). Links of the same plan with other seeds differ in all that is random.
    pub fn new(plan: &LinkPlan, seed: u64) -> Link<P> {
        let seed = plan.spec.seed ^ seed;
        Link {
            server: Server::new(&plan.spec.rate, plan.trace.as_ref(), seed),
            freezer: Freezer::new(&plan.spec),
            air: Air::new(seed),
            queue: VecDeque::new(),
            queued_bytes: 0,
            head_sent: 0,
            head_done_ns: None,
            tokens: plan.spec.policer.map_or(0.0, |p| p.bucket_bytes as f64),
            tokens_ns: 0,
            totals: Totals::default(),
            samples: None,
            spec: plan.spec.clone(),
        }
    }

    /// Keeps a [`Sample`] of every packet from now on.
    pub fn record(&mut self) {
        self.samples.get_or_insert_with(Vec::new);
    }

    /// Takes the samples recorded since the last call.
    pub fn take_samples(&mut self) -> Vec<Sample> {
        self.samples.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// A packet of `bytes` IP bytes comes in at `now`. Returns what became of it so far: `Crossed` means accepted.
    pub fn enqueue(&mut self, now: u64, packet: P, bytes: u32, class: Class) -> Fate {
        self.serve(now);
        let fate = self.admit(now, bytes);
        let mut queued = Queued { packet, bytes, class, enqueued_ns: now, empty_wait_ns: 0 };
        if fate != Fate::Crossed {
            self.account(now, &queued, fate);
            return fate;
        }
        queued.empty_wait_ns = self.server.finish(now, bytes, &mut self.freezer) - now;
        if self.queue.is_empty() {
            self.server.skip_past(now);
        }
        self.queued_bytes += u64::from(bytes);
        self.totals.peak_queue_bytes = self.totals.peak_queue_bytes.max(self.queued_bytes);
        let place = self.place(now, bytes);
        self.queue.insert(place, queued);
        self.start_head(now);
        // What needs no service leaves at once.
        self.serve(now);
        Fate::Crossed
    }

    /// When something happens next: a packet leaves the queue or arrives at the far end.
    pub fn next_event(&mut self) -> Option<u64> {
        let service = self.next_service();
        match (service, self.air.next_event()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The next packet that has arrived by `now`, with its arrival time; call until `None`.
    pub fn pop_due(&mut self, now: u64) -> Option<(u64, P)> {
        self.serve(now);
        self.air.pop_due(now)
    }

    /// Serves nothing from `now` for `length_ns`.
    pub fn freeze(&mut self, now: u64, length_ns: u64) {
        self.serve(now);
        self.freezer.add(now, now + length_ns);
        self.restart_head(now);
    }

    /// From now on nothing above `mtu` bytes enters.
    pub fn set_mtu(&mut self, mtu: u32) {
        self.spec.mtu = Some(mtu);
    }

    /// Ends every fault: loss, damage, copies, reordering, freezes, MTU. Queue, rate, policer and delay stay.
    pub fn heal(&mut self, now: u64) {
        self.serve(now);
        self.freezer.heal(now);
        let spec = &mut self.spec;
        (spec.loss, spec.duplicate, spec.corrupt, spec.mark) = (0.0, 0.0, 0.0, 0.0);
        (spec.burst_loss, spec.reorder, spec.first_loss, spec.mtu, spec.overtake) = (None, None, None, None, None);
        self.restart_head(now);
    }

    /// Bytes and packets in the queue.
    pub fn backlog(&self) -> (u64, usize) {
        (self.queued_bytes, self.queue.len())
    }

    /// Packets between queue and far end.
    pub fn flying(&self) -> usize {
        self.air.len()
    }

    /// Totals since the start.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The description in force.
    pub fn spec(&self) -> &LinkSpec {
        &self.spec
    }

    fn admit(&mut self, now: u64, bytes: u32) -> Fate {
        if self.spec.mtu.is_some_and(|mtu| bytes > mtu) {
            return Fate::TooBig;
        }
        let queue_full = self.spec.queue_bytes.is_some_and(|most| self.queued_bytes + u64::from(bytes) > most);
        if let Some(p) = self.spec.policer {
            let earned = (now - self.tokens_ns) as f64 * p.mbps / 8e3;
            self.tokens = (self.tokens + earned).min(p.bucket_bytes as f64);
            self.tokens_ns = now;
            if self.tokens < f64::from(bytes) {
                return Fate::Policed;
            }
            self.tokens -= f64::from(bytes);
        }
        if queue_full && !self.queue.is_empty() {
            return Fate::QueueFull;
        }
        Fate::Crossed
    }

    /// Where in the queue a packet goes: at the end, or in front of large packets that it may pass.
    fn place(&self, now: u64, bytes: u32) -> usize {
        let mut place = self.queue.len();
        let Some(o) = self.spec.overtake.filter(|o| bytes <= o.small_bytes) else { return place };
        // The head is being sent already.
        let first = usize::from(self.head_sent > 0 || self.head_done_ns.is_some());
        let mut passed = 0;
        while place > first && passed < o.segments {
            let ahead = &self.queue[place - 1];
            if ahead.bytes <= o.small_bytes || (now - ahead.enqueued_ns) as f64 > o.within_ms * 1e6 {
                break;
            }
            place -= 1;
            passed += 1;
        }
        place
    }

    fn start_head(&mut self, now: u64) {
        if self.head_done_ns.is_none() && !self.server.is_slotted() {
            if let Some(head) = self.queue.front() {
                self.head_done_ns = Some(self.server.finish(now, head.bytes, &mut self.freezer));
            }
        }
    }

    /// Freezes changed: the head's remaining time is worked out anew (it starts over, which costs one packet's time).
    fn restart_head(&mut self, now: u64) {
        self.head_done_ns = None;
        self.start_head(now);
    }

    fn next_service(&mut self) -> Option<u64> {
        if self.queue.is_empty() {
            return None;
        }
        if self.server.is_slotted() {
            return Some(self.server.next_slot(&mut self.freezer));
        }
        self.head_done_ns
    }

    /// Lets everything leave the queue that leaves by `now`.
    fn serve(&mut self, now: u64) {
        while let Some(at) = self.next_service().filter(|&at| at <= now) {
            if self.server.is_slotted() {
                self.server.use_slot();
                self.serve_slot(at);
            } else {
                self.head_done_ns = None;
                self.leave(at);
                self.start_head(at);
            }
        }
    }

    /// One slot: as many packets, and parts of packets, as fit in its bytes. What finds no packet is lost.
    fn serve_slot(&mut self, at: u64) {
        let mut left = SLOT_BYTES;
        while left > 0 {
            let Some(head) = self.queue.front() else { return };
            let need = head.bytes - self.head_sent;
            if need > left {
                self.head_sent += left;
                return;
            }
            left -= need;
            self.head_sent = 0;
            self.leave(at);
        }
    }

    fn leave(&mut self, at: u64) {
        let Some(mut queued) = self.queue.pop_front() else { return };
        self.queued_bytes -= u64::from(queued.bytes);
        let verdict = self.air.judge(at, &self.spec, queued.class);
        self.account(at, &queued, verdict.fate);
        if verdict.fate != Fate::Crossed {
            return;
        }
        if verdict.mark {
            queued.packet.mark_ce();
        }
        self.totals.duplicated += u64::from(verdict.copies - 1);
        for _ in 1..verdict.copies {
            self.air.launch(at, &self.spec, queued.bytes, queued.packet.clone());
        }
        self.totals.corrupted += u64::from(verdict.flip.is_some());
        if let Some(random) = verdict.flip {
            queued.packet.flip_bit(random);
        }
        self.air.launch(at, &self.spec, queued.bytes, queued.packet);
    }

    fn account(&mut self, at: u64, queued: &Queued<P>, fate: Fate) {
        let (packets, bytes) = &mut self.totals.by_fate[fate as usize];
        *packets += 1;
        *bytes += u64::from(queued.bytes);
        if let Some(samples) = &mut self.samples {
            samples.push(Sample {
                enqueued_ns: queued.enqueued_ns,
                left_ns: at,
                empty_wait_ns: queued.empty_wait_ns,
                bytes: queued.bytes,
                class: queued.class,
                fate,
            });
        }
    }
}

#[cfg(test)]
mod tests;
