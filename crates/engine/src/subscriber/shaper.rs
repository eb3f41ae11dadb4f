//! Rates: the most that a subscriber gets over all its connections of one policy, and over its datagrams.
//!
//! Nothing of TCP is dropped for it. A flow whose turn it is when the bucket is empty is parked: its bytes stay in custody,
//! acknowledgements and window slow its sender down, and it goes on in the order of parking as the bucket fills. Datagrams
//! wait in a queue beside them, which is bounded by [`QUEUE_NS`] of the rate; what finds it full is dropped and counted.
//! Where both wait, both get half.
//!
//! The bucket holds `burst` bytes less a frame and may be overdrawn by one, so that in any time `t` at most
//! `burst + rate * t` leaves. Bytes are those of whole frames.

use super::drr::QUANTUM;
use crate::api::{FrameId, Now, Port};
use crate::policy::Rate;
use crate::pool::Pool;
use crate::slab::Slab;

/// Nothing.
const NONE: u32 = u32::MAX;
/// The largest frame that a bucket is overdrawn by, bytes.
const FRAME: i64 = 1514;
/// What may wait of datagrams: what the rate carries in this time, ns, but [`QUEUE_LEAST`] bytes in any case.
pub const QUEUE_NS: u64 = 200_000_000;
/// Twenty full frames.
pub const QUEUE_LEAST: u64 = 32_000;
/// Custody of a shaped flow, half of which is acknowledged ahead without delay: in that half, what its rate carries in two
/// round trips of its sender (one is under way while the other is announced) and this time; [`CUSTODY_LEAST`] bytes in any
/// case.
const CUSTODY_NS: u64 = 150_000_000;
const CUSTODY_LEAST: u64 = 64_000;
/// Shapers looked at for being idle whenever one is needed.
const SWEEP: u32 = 8;

/// A token bucket of bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    tokens: i64,
    filled: Now,
}

impl Bucket {
    fn most(rate: &Rate) -> i64 {
        i64::from(rate.burst) - FRAME
    }

    fn fill(&mut self, now: Now, rate: &Rate) {
        let passed = now.since(self.filled);
        let gained = (u128::from(passed) * u128::from(rate.bytes_per_s) / 1_000_000_000).min(1 << 40) as u64;
        if gained > 0 {
            // Counted from the time that it took, not from now: no fraction of a byte is lost.
            let took = (u128::from(gained) * 1_000_000_000 / u128::from(rate.bytes_per_s)) as u64;
            self.filled = self.filled.after_ns(took);
            self.tokens += gained as i64;
        }
        if self.tokens >= Bucket::most(rate) {
            (self.tokens, self.filled) = (Bucket::most(rate), now);
        }
    }

    /// When it is not overdrawn any more.
    fn at(&self, rate: &Rate) -> Now {
        let lack = (-self.tokens).max(1) as u64;
        let ns = u128::from(lack) * 1_000_000_000 / u128::from(rate.bytes_per_s);
        self.filled.after_ns(ns as u64 + 1)
    }
}

/// A datagram that waits.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// Its frame, which is the shaper's until it leaves.
    pub frame: FrameId,
    /// Where it is in the buffer.
    pub off: u16,
    /// How long it is.
    pub len: u16,
    /// Where it goes.
    pub port: Port,
}

#[derive(Debug)]
struct Waiting {
    datagram: Datagram,
    next: u32,
}

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting { datagram: Datagram { frame: FrameId(NONE), off: 0, len: 0, port: Port(0) }, next: NONE }
    }
}

/// A list by its ends.
#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
}

const EMPTY: Ends = Ends { first: NONE, last: NONE };

/// One rate for one subscriber.
#[derive(Debug)]
struct Shaper {
    sub: u32,
    policy: u16,
    /// The table that the policy stands in.
    table: u32,
    rate: Rate,
    bucket: Bucket,
    /// The next shaper of the same subscriber.
    next: u32,
    /// Flows that share it.
    flows: u32,
    parked: Ends,
    waiting: Ends,
    waiting_bytes: u64,
    /// By how much datagrams are ahead of flows while both wait, bytes.
    lead: i64,
}

/// What is kept per flow handle.
#[derive(Clone, Copy, Debug)]
struct Node {
    shaper: u32,
    next: u32,
    prev: u32,
    parked: bool,
}

const OUT: Node = Node { shaper: NONE, next: NONE, prev: NONE, parked: false };

/// What a rate lets go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Let {
    /// This datagram; it is no longer in the queue.
    Datagram(Datagram),
    /// This flow is parked no more.
    Flow(u32),
    /// Nothing, until then if anything waits.
    Nothing(Option<Now>),
}

/// All shapers of an engine. Allocates in [`Shapers::new`] only.
#[derive(Debug)]
pub struct Shapers {
    shapers: Slab<Shaper>,
    nodes: Vec<Node>,
    waiting: Pool<Waiting>,
    /// Number of the table in force.
    table: u32,
    hand: u32,
}

impl Shapers {
    /// For flow handles below `flows`, and so many datagrams waiting over all.
    pub fn new(flows: u32, datagrams: u32) -> Shapers {
        Shapers {
            shapers: Slab::new(flows.saturating_mul(2)),
            nodes: vec![OUT; flows as usize],
            waiting: Pool::new(datagrams),
            table: 0,
            hand: 0,
        }
    }

    /// True where nothing is shaped at all.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.shapers.is_empty()
    }

    /// Datagrams that wait.
    pub fn held(&self) -> u32 {
        self.waiting.taken()
    }

    /// There is another table of policies.
    pub fn begin_table(&mut self) {
        self.table += 1;
    }

    /// The shaper of a subscriber for a policy, whose first one is `first`; made if need be, and then the first.
    pub fn of(&mut self, now: Now, first: &mut u32, sub: u32, policy: u16, rate: Rate) -> Option<u32> {
        let mut at = *first;
        while let Some(shaper) = self.shapers.get(at) {
            if (shaper.policy, shaper.table) == (policy, self.table) {
                return Some(at);
            }
            at = shaper.next;
        }
        // Another table is no pause after which a burst may leave.
        let tokens = if *first == NONE { Bucket::most(&rate) } else { 0 };
        let shaper = Shaper {
            sub,
            policy,
            table: self.table,
            rate,
            bucket: Bucket { tokens, filled: now },
            next: *first,
            flows: 0,
            parked: EMPTY,
            waiting: EMPTY,
            waiting_bytes: 0,
            lead: 0,
        };
        *first = self.shapers.insert(shaper).ok()?;
        Some(*first)
    }

    /// A shaper that is in nobody's use and has been full for a while, and whose subscriber it is: it may be removed, and
    /// nobody will notice. Looks at a few, at all where there is no room for another.
    pub fn idle(&mut self, now: Now) -> Option<(u32, u32)> {
        let end = self.shapers.end();
        for _ in 0..if self.shapers.is_full() { end } else { SWEEP.min(end) } {
            self.hand = (self.hand + 1) % end;
            let idle = |one: &&mut Shaper| one.is_idle() && (one.table != self.table || one.is_full(now));
            if let Some(shaper) = self.shapers.get_mut(self.hand).filter(idle) {
                return Some((self.hand, shaper.sub));
            }
        }
        None
    }

    /// Removes an idle shaper from its subscriber's, the first of which is `first`.
    pub fn remove(&mut self, shaper: u32, first: &mut u32) {
        let Some(Shaper { next, .. }) = self.shapers.remove(shaper) else { return };
        if *first == shaper {
            *first = next;
        }
        let mut link = *first;
        while let Some(before) = self.shapers.get_mut(link) {
            if before.next == shaper {
                before.next = next;
            }
            link = before.next;
        }
    }

    /// The shapers of a subscriber after one of them.
    pub fn after(&self, shaper: u32) -> u32 {
        self.shapers.get(shaper).map_or(NONE, |shaper| shaper.next)
    }

    /// True where none of a subscriber's shapers is in use.
    pub fn are_idle(&self, first: u32) -> bool {
        let mut at = first;
        while let Some(shaper) = self.shapers.get(at) {
            if !shaper.is_idle() {
                return false;
            }
            at = shaper.next;
        }
        true
    }

    // ---- flows ---------------------------------------------------------------------------------------------------

    /// The flow shares this rate from now on.
    pub fn attach(&mut self, flow: u32, shaper: u32) {
        self.detach(flow);
        self.nodes[flow as usize].shaper = shaper;
        self.shapers[shaper].flows += 1;
    }

    /// The flow has no rate; true if it was parked.
    #[inline]
    pub fn detach(&mut self, flow: u32) -> bool {
        !self.is_empty() && self.take_off(flow)
    }

    fn take_off(&mut self, flow: u32) -> bool {
        let Node { shaper, parked, .. } = self.nodes[flow as usize];
        if shaper == NONE {
            return false;
        }
        self.unpark(flow);
        self.shapers[shaper].flows -= 1;
        self.nodes[flow as usize] = OUT;
        parked
    }

    /// Payload that the flow may send now; `None` without a limit, 0: it is parked.
    #[inline]
    pub fn allowance(&mut self, now: Now, flow: u32) -> Option<u32> {
        if self.is_empty() { None } else { self.allowed(now, flow) }
    }

    fn allowed(&mut self, now: Now, flow: u32) -> Option<u32> {
        let shaper = self.shapers.get_mut(self.nodes[flow as usize].shaper)?;
        shaper.bucket.fill(now, &shaper.rate);
        let contended = shaper.waiting.first != NONE && shaper.lead <= 0;
        if shaper.bucket.tokens < 0 || contended {
            self.park(flow);
            return Some(0);
        }
        // Headers, of small segments too, are charged when they leave.
        let tokens = shaper.bucket.tokens.min(1 << 30) as u32;
        let share = if shaper.waiting.first != NONE { tokens.min(QUANTUM as u32) } else { tokens };
        Some((share - share / 8).max(1))
    }

    /// A frame of the flow left.
    pub fn on_wire(&mut self, now: Now, flow: u32, bytes: u32) {
        if let Some(shaper) = self.shapers.get_mut(self.nodes[flow as usize].shaper) {
            shaper.charge(now, bytes);
            shaper.lead = (shaper.lead - i64::from(bytes)).max(-i64::from(QUANTUM));
        }
    }

    /// True where the flow waits for its rate.
    #[inline]
    pub fn is_parked(&self, flow: u32) -> bool {
        !self.is_empty() && self.nodes[flow as usize].parked
    }

    /// Custody that the flow may have: its sender's round trip is `rtt_ns`. `None` without a limit.
    pub fn custody(&self, flow: u32, rtt_ns: u64) -> Option<u32> {
        let rate = self.shapers.get(self.nodes[flow as usize].shaper)?.rate.bytes_per_s;
        let bytes = super::control::bytes_in(rate, 2 * (2 * rtt_ns + CUSTODY_NS));
        Some(bytes.clamp(CUSTODY_LEAST, 1 << 30) as u32)
    }

    fn park(&mut self, flow: u32) {
        let node = &mut self.nodes[flow as usize];
        if node.parked {
            return;
        }
        let ends = &mut self.shapers[node.shaper].parked;
        (node.parked, node.next, node.prev) = (true, NONE, ends.last);
        match std::mem::replace(&mut ends.last, flow) {
            NONE => ends.first = flow,
            before => self.nodes[before as usize].next = flow,
        }
    }

    fn unpark(&mut self, flow: u32) {
        let Node { shaper, next, prev, parked } = self.nodes[flow as usize];
        if !parked {
            return;
        }
        let ends = &mut self.shapers[shaper].parked;
        match prev {
            NONE => ends.first = next,
            _ => self.nodes[prev as usize].next = next,
        }
        match next {
            NONE => ends.last = prev,
            _ => self.nodes[next as usize].prev = prev,
        }
        self.nodes[flow as usize] = Node { shaper, ..OUT };
    }

    // ---- datagrams -----------------------------------------------------------------------------------------------

    /// A datagram may leave at once: nothing waits, and the bucket is not overdrawn. It is charged then.
    pub fn passes(&mut self, now: Now, shaper: u32, bytes: u32) -> bool {
        let shaper = &mut self.shapers[shaper];
        shaper.bucket.fill(now, &shaper.rate);
        let free = shaper.bucket.tokens >= 0 && shaper.waiting.first == NONE && shaper.parked.first == NONE;
        if free {
            shaper.charge(now, bytes);
        }
        free
    }

    /// True where there is room for a datagram more.
    pub fn has_room(&self, shaper: u32, bytes: u32) -> bool {
        let shaper = &self.shapers[shaper];
        let most = super::control::bytes_in(shaper.rate.bytes_per_s, QUEUE_NS).max(QUEUE_LEAST);
        shaper.waiting_bytes + u64::from(bytes) <= most && self.waiting.free() > 0
    }

    /// Puts a datagram for which there is room at the end of the queue.
    pub fn enqueue(&mut self, shaper: u32, datagram: Datagram) {
        let Some(place) = self.waiting.take() else { return };
        if let Some(waiting) = self.waiting.get_mut(place) {
            *waiting = Waiting { datagram, next: NONE };
        }
        let shaper = &mut self.shapers[shaper];
        shaper.waiting_bytes += u64::from(datagram.len);
        match std::mem::replace(&mut shaper.waiting.last, place) {
            NONE => {
                shaper.waiting.first = place;
                shaper.lead = 0;
            }
            before => {
                if let Some(before) = self.waiting.get_mut(before) {
                    before.next = place;
                }
            }
        }
    }

    /// Lets go what the rate allows: call it until it says that there is nothing.
    pub fn serve(&mut self, now: Now, shaper: u32) -> Let {
        let Some(one) = self.shapers.get_mut(shaper) else { return Let::Nothing(None) };
        let (flow, place) = (one.parked.first, one.waiting.first);
        if flow == NONE && place == NONE {
            return Let::Nothing(None);
        }
        one.bucket.fill(now, &one.rate);
        if one.bucket.tokens < 0 {
            return Let::Nothing(Some(one.bucket.at(&one.rate)));
        }
        if place == NONE || flow != NONE && one.lead > 0 {
            self.unpark(flow);
            return Let::Flow(flow);
        }
        let Some(Waiting { datagram, next }) = self.waiting.get(place) else { return Let::Nothing(None) };
        let (datagram, next) = (*datagram, *next);
        one.waiting.first = next;
        if next == NONE {
            one.waiting.last = NONE;
        }
        one.waiting_bytes -= u64::from(datagram.len);
        one.charge(now, u32::from(datagram.len));
        // With nobody to share with there is no debt to remember.
        one.lead = if flow == NONE { 1 } else { (one.lead + i64::from(datagram.len)).min(i64::from(QUANTUM)) };
        self.waiting.give(place);
        Let::Datagram(datagram)
    }
}

impl Shaper {
    fn is_idle(&self) -> bool {
        self.flows == 0 && self.waiting.first == NONE
    }

    fn is_full(&self, now: Now) -> bool {
        let mut bucket = self.bucket;
        bucket.fill(now, &self.rate);
        bucket.tokens == Bucket::most(&self.rate)
    }

    fn charge(&mut self, now: Now, bytes: u32) {
        self.bucket.fill(now, &self.rate);
        self.bucket.tokens -= i64::from(bytes);
    }
}
