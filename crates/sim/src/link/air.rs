//! What happens to a packet between the queue and the far end: loss, damage, copies, delay.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::link::record::{Class, Fate};
use crate::link::spec::LinkSpec;
use crate::rng::Rng;

/// A packet on its way, ordered by arrival.
#[derive(Debug)]
struct Flying<P> {
    at_ns: u64,
    order: u64,
    packet: P,
}

impl<P> PartialEq for Flying<P> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl<P> Eq for Flying<P> {}
impl<P> PartialOrd for Flying<P> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<P> Ord for Flying<P> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ns, self.order).cmp(&(other.at_ns, other.order))
    }
}

/// What the air decided.
pub(super) struct Verdict {
    pub(super) fate: Fate,
    /// Which bit to flip, a random number. One bit: two may cancel each other in a checksum.
    pub(super) flip: Option<u64>,
    pub(super) copies: u32,
    /// It is marked as having met congestion.
    pub(super) mark: bool,
}

/// Flows whose first frames are remembered; beyond it the memory starts anew.
const FIRST_LOSS_FLOWS: usize = 65_536;

/// The stage behind the queue.
#[derive(Debug)]
pub(super) struct Air<P> {
    loss_rng: Rng,
    delay_rng: Rng,
    in_burst: bool,
    first: HashMap<u64, (u32, u64)>,
    flying: BinaryHeap<Reverse<Flying<P>>>,
    order: u64,
    /// Latest arrival so far, of large and of small packets: the air does not reorder by itself.
    last_ns: [u64; 2],
}

impl<P> Air<P> {
    pub(super) fn new(seed: u64) -> Air<P> {
        Air {
            loss_rng: Rng::stream(seed, 1),
            delay_rng: Rng::stream(seed, 2),
            in_burst: false,
            first: HashMap::new(),
            flying: BinaryHeap::new(),
            order: 0,
            last_ns: [0; 2],
        }
    }

    fn first_lost(&mut self, now: u64, spec: &LinkSpec, class: Class) -> bool {
        let Some(first) = spec.first_loss else { return false };
        if class.payload == 0 {
            return false;
        }
        if self.first.len() >= FIRST_LOSS_FLOWS {
            self.first.clear();
        }
        let seen = self.first.entry(class.flow).or_insert((0, now));
        if first.after_idle_ms.is_some_and(|idle| now.saturating_sub(seen.1) as f64 > idle * 1e6) {
            seen.0 = 0;
        }
        seen.0 = seen.0.saturating_add(1);
        seen.1 = now;
        seen.0 <= first.frames
    }

    /// Decides about a packet that leaves the queue now.
    pub(super) fn judge(&mut self, now: u64, spec: &LinkSpec, class: Class) -> Verdict {
        let mut verdict = Verdict { fate: Fate::Crossed, flip: None, copies: 1, mark: false };
        if self.first_lost(now, spec, class) {
            verdict.fate = Fate::FirstLost;
            return verdict;
        }
        if let Some(b) = spec.burst_loss {
            let turn = if self.in_burst { b.leave } else { b.enter };
            if self.loss_rng.chance(turn) {
                self.in_burst = !self.in_burst;
            }
            if self.in_burst && self.loss_rng.chance(b.loss) {
                verdict.fate = Fate::BurstLost;
                return verdict;
            }
        }
        if self.loss_rng.chance(spec.loss) {
            verdict.fate = Fate::Lost;
            return verdict;
        }
        if self.loss_rng.chance(spec.duplicate) {
            verdict.copies = 2;
        }
        if self.loss_rng.chance(spec.corrupt) {
            verdict.flip = Some(self.loss_rng.bits());
        }
        verdict.mark = self.loss_rng.chance(spec.mark);
        verdict
    }

    /// Sends a packet on its way.
    pub(super) fn launch(&mut self, now: u64, spec: &LinkSpec, bytes: u32, packet: P) {
        let small = spec.overtake.is_some_and(|o| bytes <= o.small_bytes);
        let lane = usize::from(small);
        let mut at = now + (spec.delay_ms * 1e6) as u64;
        if spec.jitter_ms > 0.0 {
            at += self.delay_rng.below((spec.jitter_ms * 1e6) as u64 + 1);
        }
        if let Some(o) = spec.overtake.filter(|_| !small) {
            at += (o.air_ms * 1e6) as u64;
        }
        if spec.reorder.is_some_and(|r| self.delay_rng.chance(r.chance)) {
            at += spec.reorder.map_or(0, |r| (r.late_ms * 1e6) as u64);
        } else {
            at = at.max(self.last_ns[lane]);
            self.last_ns[lane] = at;
            if spec.overtake.is_none() {
                self.last_ns = [at; 2];
            }
        }
        self.flying.push(Reverse(Flying { at_ns: at, order: self.order, packet }));
        self.order += 1;
    }

    pub(super) fn next_event(&self) -> Option<u64> {
        self.flying.peek().map(|f| f.0.at_ns)
    }

    pub(super) fn pop_due(&mut self, now: u64) -> Option<(u64, P)> {
        if self.next_event()? > now {
            return None;
        }
        self.flying.pop().map(|f| (f.0.at_ns, f.0.packet))
    }

    pub(super) fn len(&self) -> usize {
        self.flying.len()
    }
}
