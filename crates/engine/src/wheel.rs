//! A hierarchical timer wheel: one timer per id, armed, re-armed and cancelled in place in constant time.
//!
//! Ids index a preallocated array of 12-byte nodes, linked into the lists of three levels of 256 slots. A slot of the
//! first level is one tick (2^18 ns, about 262 us), of the second 128 ticks, of the third 16,384. Levels overlap by a
//! factor of two, so that the timers of a coarse slot can move to the finer level at any time during the slot before
//! it, a few per tick: a million timers that fall due in the same seconds never stall the packets. (Varghese and Lauck,
//! SOSP'87, scheme 7, whose cascade comes all at once.) Deadlines beyond the last level (18 minutes) wait there and go
//! round again.
//!
//! A timer never fires early, and late by at most one tick.

use crate::api::Now;

/// log2 of a tick in ns.
const TICK_SHIFT: u32 = 18;
/// One tick, ns.
pub const TICK_NS: u64 = 1 << TICK_SHIFT;
/// Slots per level.
const SLOTS: usize = 256;
/// log2 of how much coarser each level is: half the slots, the overlap that lets a cascade be spread.
const GROWTH: u32 = 7;
/// Levels.
const LEVELS: usize = 3;
/// Timers moved from the second level and from the third per tick that passes, ahead of need.
const AHEAD: [u64; LEVELS - 1] = [256, 64];
/// In `prev`: the node is the first of the slot whose number the other bits give.
const HEAD: u32 = 1 << 31;

/// All zero is an unarmed timer, so that fresh pages need not be written.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Following id + 1, or 0.
    next: u32,
    /// 0 unarmed; `HEAD | slot`; or the preceding id + 1.
    prev: u32,
    /// Deadline in ticks, modulo 2^32 (13 days).
    tick: u32,
}

/// Timers by id.
#[derive(Debug)]
pub struct Wheel {
    /// `[next, prev, tick]` of [`Node`], as an array so that the allocation stays untouched zero pages.
    nodes: Vec<[u32; 3]>,
    /// First id + 1 of each slot, level after level.
    heads: [u32; SLOTS * LEVELS],
    /// Which slots are not empty.
    bits: [[u64; SLOTS / 64]; LEVELS],
    /// The tick up to which all is done, the slot of this very tick perhaps not yet.
    cur: u64,
    len: u32,
}

impl Wheel {
    /// A wheel for ids below `capacity`.
    pub fn new(capacity: u32) -> Wheel {
        assert!(capacity < HEAD - 1, "a wheel takes ids below 2^31 - 2");
        Wheel {
            nodes: vec![[0; 3]; capacity as usize],
            heads: [0; SLOTS * LEVELS],
            bits: [[0; SLOTS / 64]; LEVELS],
            cur: 0,
            len: 0,
        }
    }

    /// Asks for the node of a timer.
    pub fn prefetch(&self, id: u32) {
        smartwire_packet::csum::prefetch_slice(&self.nodes, id as usize);
    }

    /// Timers armed.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// True where none is armed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Arms, or moves, the timer of `id`. A deadline that has passed fires at the next tick.
    pub fn arm(&mut self, now: Now, id: u32, deadline: Now) {
        if self.len == 0 {
            self.cur = self.cur.max(now.0 >> TICK_SHIFT);
        }
        // Round up: never early.
        let tick = (deadline.0.saturating_add(TICK_NS - 1) >> TICK_SHIFT).clamp(self.cur + 1, self.cur + (HEAD - 1) as u64);
        let node = self.node(id);
        if node.prev != 0 {
            if node.tick == tick as u32 {
                return;
            }
            self.unlink(id);
        }
        self.place(id, tick);
    }

    /// Disarms the timer of `id`; nothing happens where it was not armed.
    pub fn cancel(&mut self, id: u32) {
        if self.is_armed(id) {
            self.unlink(id);
        }
    }

    /// True where the timer of `id` is armed.
    pub fn is_armed(&self, id: u32) -> bool {
        self.nodes[id as usize][1] != 0
    }

    /// When the timer of `id` fires: its deadline rounded up to a tick.
    pub fn deadline(&self, id: u32) -> Option<Now> {
        self.is_armed(id).then(|| Now(self.unwrap(self.node(id).tick) << TICK_SHIFT))
    }

    /// The next timer that is due, disarmed; the caller may arm it again at once. `None`: nothing more is due by `now`.
    pub fn pop(&mut self, now: Now) -> Option<u32> {
        let target = now.0 >> TICK_SHIFT;
        loop {
            let head = self.heads[self.cur as usize % SLOTS];
            if head != 0 {
                let id = head - 1;
                let tick = self.unwrap(self.node(id).tick);
                self.unlink(id);
                if tick <= self.cur {
                    return Some(id);
                }
                self.place(id, tick);
            } else if self.cur >= target {
                return None;
            } else if self.len == 0 {
                self.cur = target;
            } else {
                self.advance(target);
            }
        }
    }

    /// Calls `fire` for each timer due by `now`.
    pub fn expire(&mut self, now: Now, mut fire: impl FnMut(u32)) {
        while let Some(id) = self.pop(now) {
            fire(id);
        }
    }

    /// When to call [`Wheel::pop`] next: never later than the earliest timer fires. It may come earlier, at the start
    /// of a coarse slot that has to be refined, at most once per slot.
    pub fn next_deadline(&self) -> Option<Now> {
        if self.len == 0 {
            return None;
        }
        let mut first = u64::MAX;
        for level in 0..LEVELS {
            let shift = GROWTH * level as u32;
            let from = self.cur >> shift;
            // The current slot counts on the first level only; on the others it was emptied when it began.
            let skip = u64::from(level > 0);
            if let Some(slot) = self.next_slot(level, from + skip) {
                first = first.min(slot << shift);
            }
        }
        Some(Now(first << TICK_SHIFT))
    }

    /// Goes on to the next tick at which something may be due, at most to `target`.
    fn advance(&mut self, target: u64) {
        let boundary = ((self.cur >> GROWTH) + 1) << GROWTH;
        let due = self.next_slot(0, self.cur + 1).unwrap_or(u64::MAX);
        let stop = target.min(boundary).min(due);
        let steps = stop - self.cur;
        for level in (1..LEVELS).rev() {
            let slot = (self.cur >> (GROWTH * level as u32)) + 1;
            let begins = slot << (GROWTH * level as u32) == stop;
            let most = if begins { u64::MAX } else { steps * AHEAD[level - 1] };
            self.refine(level, slot, most);
        }
        self.cur = stop;
    }

    /// Moves timers of the slot that comes next on a coarse level to finer ones.
    fn refine(&mut self, level: usize, slot: u64, most: u64) {
        let at = level * SLOTS + slot as usize % SLOTS;
        let mut left = most;
        while self.heads[at] != 0 && left > 0 {
            let id = self.heads[at] - 1;
            let tick = self.unwrap(self.node(id).tick);
            self.unlink(id);
            self.place(id, tick);
            left -= 1;
        }
    }

    /// Links an id into the finest slot whose level reaches its tick.
    fn place(&mut self, id: u32, tick: u64) {
        let mut level = 0;
        let mut slot = tick;
        while slot - (self.cur >> (GROWTH * level as u32)) >= SLOTS as u64 {
            if level == LEVELS - 1 {
                slot = (self.cur >> (GROWTH * level as u32)) + SLOTS as u64 - 1;
                break;
            }
            level += 1;
            slot = tick >> (GROWTH * level as u32);
        }
        let bit = slot as usize % SLOTS;
        let at = level * SLOTS + bit;
        let next = self.heads[at];
        if next != 0 {
            self.nodes[next as usize - 1][1] = id + 1;
        }
        self.nodes[id as usize] = [next, HEAD | at as u32, tick as u32];
        self.heads[at] = id + 1;
        self.bits[level][bit / 64] |= 1 << (bit % 64);
        self.len += 1;
    }

    fn unlink(&mut self, id: u32) {
        let Node { next, prev, .. } = self.node(id);
        if prev & HEAD == 0 {
            self.nodes[prev as usize - 1][0] = next;
        } else {
            let at = (prev & !HEAD) as usize;
            self.heads[at] = next;
            if next == 0 {
                self.bits[at / SLOTS][at % SLOTS / 64] &= !(1 << (at % 64));
            }
        }
        if next != 0 {
            self.nodes[next as usize - 1][1] = prev;
        }
        self.nodes[id as usize][1] = 0;
        self.len -= 1;
    }

    fn node(&self, id: u32) -> Node {
        let [next, prev, tick] = self.nodes[id as usize];
        Node { next, prev, tick }
    }

    /// The full tick of a stored one: the nearest to `cur`.
    fn unwrap(&self, tick: u32) -> u64 {
        let ahead = tick.wrapping_sub(self.cur as u32) as i32;
        self.cur.saturating_add_signed(i64::from(ahead))
    }

    /// The first slot of a level that is not empty, counted from absolute slot `from` up to a round later.
    fn next_slot(&self, level: usize, from: u64) -> Option<u64> {
        let start = from as usize % SLOTS;
        for i in 0..=SLOTS / 64 {
            let word = (start / 64 + i) % (SLOTS / 64);
            let mut bits = self.bits[level][word];
            if i == 0 {
                bits &= u64::MAX << (start % 64);
            } else if i == SLOTS / 64 {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let bit = word * 64 + bits.trailing_zeros() as usize;
                return Some(from + ((bit + SLOTS - start) % SLOTS) as u64);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct Rng(u64);
    impl Rng {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }
    }

    fn tick_of(deadline: u64) -> u64 {
        deadline.div_ceil(TICK_NS)
    }

    /// Random arms, re-arms, cancels and jumps of time against a map; checks order, exactness and `next_deadline`.
    fn against_model(seed: u64, span: u64, jump: u64) {
        const IDS: u64 = 300;
        let mut rng = Rng(seed);
        let mut now = rng.next() >> 20;
        let mut wheel = Wheel::new(IDS as u32);
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        for _ in 0..20_000 {
            let id = (rng.next() % IDS) as u32;
            match rng.next() % 8 {
                0..=3 => {
                    let deadline = now + rng.next() % span;
                    // What is due but not popped yet keeps its place in time; new ones come after the present tick.
                    wheel.arm(Now(now), id, Now(deadline));
                    model.insert(id, tick_of(deadline).max((now >> TICK_SHIFT) + 1));
                }
                4 => {
                    wheel.cancel(id);
                    model.remove(&id);
                }
                _ => {
                    now += rng.next() % jump;
                    let first = model.values().min().copied();
                    match (wheel.next_deadline(), first) {
                        (None, None) => {}
                        (Some(at), Some(tick)) => assert!(at.0 >> TICK_SHIFT <= tick, "woken too late"),
                        (a, b) => panic!("{a:?} against {b:?}"),
                    }
                    let mut last = 0;
                    while let Some(id) = wheel.pop(Now(now)) {
                        let tick = model.remove(&id).expect("an armed timer");
                        assert!(tick <= now >> TICK_SHIFT, "early");
                        assert!(tick >= last, "out of order");
                        last = tick;
                    }
                    assert!(model.values().all(|&tick| tick > now >> TICK_SHIFT), "late");
                    assert_eq!(wheel.len() as usize, model.len());
                }
            }
        }
    }

    #[test]
    fn short_timers_fire_in_order_never_early_and_within_a_tick() {
        for seed in 1..6 {
            against_model(seed, 20_000_000, 3_000_000);
        }
    }

    #[test]
    fn timers_of_seconds_and_minutes_cascade_without_loss() {
        for seed in 1..6 {
            against_model(seed, 10_000_000_000, 500_000_000);
            against_model(seed, 600_000_000_000, 30_000_000_000);
        }
    }

    #[test]
    fn deadlines_beyond_the_horizon_go_round_and_fire_on_time() {
        for seed in 1..4 {
            against_model(seed, 10_000_000_000_000, 600_000_000_000);
        }
    }

    #[test]
    fn waking_at_next_deadline_alone_fires_all_in_few_wakes() {
        let mut rng = Rng(9);
        let mut wheel = Wheel::new(1000);
        let mut now = Now(5_000_000_000_000);
        for id in 0..1000 {
            wheel.arm(now, id, now.after_ns(rng.next() % 300_000_000_000));
        }
        let (mut wakes, mut fired) = (0, 0);
        while let Some(at) = wheel.next_deadline() {
            assert!(at > now || wakes == 0, "a busy loop");
            now = at;
            wakes += 1;
            wheel.expire(now, |_| fired += 1);
        }
        assert_eq!(fired, 1000);
        assert!(wakes < 2200, "{wakes} wakes for 1000 timers");
    }

    #[test]
    fn a_timer_armed_again_for_the_past_does_not_hold_the_loop() {
        let mut wheel = Wheel::new(1);
        let now = Now(10 * TICK_NS);
        wheel.arm(now, 0, Now(0));
        assert_eq!(wheel.pop(now), None);
        let later = now.after_ns(TICK_NS);
        assert_eq!(wheel.pop(later), Some(0));
        wheel.arm(later, 0, now);
        assert_eq!(wheel.pop(later), None);
        assert_eq!(wheel.deadline(0), Some(later.after_ns(TICK_NS)));
    }

    #[test]
    fn the_cascade_of_many_timers_is_spread_over_ticks() {
        // 200,000 timers in one slot of the third level, 30 s ahead: most have moved before that slot begins.
        let mut wheel = Wheel::new(200_000);
        let start = Now(16_384 * TICK_NS * 100);
        for id in 0..200_000 {
            wheel.arm(start, id, start.after_ns(7 * 16_384 * TICK_NS + u64::from(id) * 1_000));
        }
        let slot = 2 * SLOTS + 107;
        let count = |wheel: &Wheel| {
            let (mut n, mut at) = (0, wheel.heads[slot]);
            while at != 0 {
                n += 1;
                at = wheel.nodes[at as usize - 1][0];
            }
            n
        };
        assert_eq!(count(&wheel), 200_000);
        let mut now = start;
        while now.0 < start.0 + 7 * 16_384 * TICK_NS - TICK_NS {
            now = now.after_ns(TICK_NS);
            assert_eq!(wheel.pop(now), None);
        }
        assert_eq!(count(&wheel), 0);
    }
}
