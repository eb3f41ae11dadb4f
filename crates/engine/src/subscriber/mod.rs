//! The subscribers: one budget of bytes in flight towards the access side for all flows of each, shared fairly.
//!
//! Radio queues are per user, so the user is the unit. [`Control`](control::Control) says how much may be in flight
//! and when it may leave, [`drr`] whose turn it is. No packet is seen here: the caller reports what its senders did.
//!
//! Flow handles are the caller's, below [`Config::max_active`]; only streams towards the access side have a place here.
//! The order of calls, for a subscriber `sub`:
//!
//! ```text
//!   admission            open(key) -> sub                      last flow gone     close(sub)
//!   ACK from the phone   on_delivered, on_lost, in_flight, then ready for flows that may send again
//!   sending              while let Next::Send { flow, bytes } = next(sub) { on_sent + in_flight, or unready(flow) }
//!                        Next::At(t): call again at t        Next::Blocked: call again after the next ACK
//! ```

mod control;
mod controls;
mod dip;
mod drr;
mod foreign;
mod meter;
pub mod oneway;
pub(crate) mod pace;
mod probe;
mod rate;
mod share;
mod shaper;
mod shaping;
mod silence;

use crate::api::{Now, SubscriberKey};
use crate::config::Config;
use crate::slab::Slab;
use crate::table::{Hasher, Table};
use control::{Control, Setting};
use controls::Controls;
use drr::{Flows, Lists};
pub use oneway::{OneWay, Split};
pub(crate) use shaper::Datagram;
use shaper::Shapers;
pub(crate) use shaping::Served;

/// Controllers looked at for being idle whenever one is needed.
const SWEEP: u32 = 8;
/// A controller that had nothing in flight for so long may be given up; its findings stay in the subscriber's record.
const IDLE_NS: u64 = 2_000_000_000;

/// What to do next for a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The flow whose turn it is may send up to so many bytes of payload, at least one segment whatever `bytes` says.
    /// Answer with [`Subscribers::on_sent`] or [`Subscribers::unready`], then ask again.
    Send {
        /// Whose turn it is.
        flow: u32,
        /// How much of it.
        bytes: u32,
    },
    /// Paced: ask again then.
    At(Now),
    /// The budget is in flight: ask again when something was delivered or lost.
    Blocked,
    /// No flow is ready.
    Idle,
}

/// What a controller is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The link's rate is not known: the flows' own windows govern.
    Start,
    /// The budget follows the delivery rate.
    Track,
    /// Others fill the queue: the budget is a share of what they have in it, or the flows' own windows govern.
    Compete,
}

/// What an acknowledgement says about the downlink.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivered {
    /// Bytes newly acknowledged or selectively acknowledged.
    pub bytes: u32,
    /// Round-trip time of the newest of them that was sent once only, ns.
    pub rtt_ns: Option<u64>,
    /// What the flow's [`OneWay`] makes of the same sample, or of one with a silence in it.
    pub split: Option<Split>,
}

/// A snapshot of one subscriber's control.
#[derive(Clone, Copy, Debug)]
pub struct Gauges {
    /// Bytes in flight over all its flows.
    pub in_flight: u64,
    /// Bytes that may be in flight; `u64::MAX`: no limit.
    pub budget: u64,
    /// Delivery rate, bytes per second.
    pub rate: u64,
    /// Least round-trip time of the last seconds, ns; 0 unknown.
    pub min_rtt_ns: u64,
    /// Latest round-trip time, ns; 0 unknown.
    pub rtt_ns: u64,
    /// Estimate of the delay of the subscriber's own queue, ns.
    pub queue_ns: u64,
    /// What the controller is doing.
    pub mode: Mode,
}

/// A subscriber, active or not.
#[derive(Debug)]
struct Record {
    key: SubscriberKey,
    lists: Lists,
    /// Handle of its controller, `u32::MAX` without.
    control: u32,
    /// Flows open.
    flows: u32,
    /// When it was heard last, and when it was heard again after a silence, ms.
    heard: u32,
    resumed: u32,
    /// Extent of reordering on the way to it, us.
    reordering_us: u32,
    /// Used since the clock hand came by last.
    used: bool,
    /// The first of its shapers, `u32::MAX` without.
    shaper: u32,
    /// Queueing delay that its budget aims for, us; 0: the wire's.
    target_us: u32,
    unpaced: bool,
}

const _: () = assert!(std::mem::size_of::<Option<Record>>() <= 200);

/// A subscriber that is not heard for so long may be in an outage, ms.
const SILENCE_MS: u32 = 500;

const NO_CONTROL: u32 = u32::MAX;
const NO_SHAPER: u32 = u32::MAX;

/// All subscribers of an engine. Allocates in [`Subscribers::new`] only.
#[derive(Debug)]
pub struct Subscribers {
    hasher: Hasher,
    index: Table,
    records: Slab<Record>,
    controls: Controls,
    flows: Flows,
    shapers: Shapers,
    set: Setting,
    record_hand: u32,
    control_hand: u32,
}

impl Subscribers {
    /// For as many subscribers and active flows as the configuration says.
    pub fn new(cfg: &Config, seed: u64) -> Subscribers {
        Subscribers {
            hasher: Hasher::new(seed ^ 0x5355_4253_4352_4942),
            index: Table::new(cfg.max_subscribers),
            records: Slab::new(cfg.max_subscribers),
            // One that has anything in flight or waiting has an active flow, so this many always suffice.
            controls: Controls::new(cfg.max_active),
            flows: Flows::new(cfg.max_active),
            shapers: Shapers::new(cfg.max_active, cfg.max_segments),
            set: Setting { target_ns: cfg.queue_target_ns, burst_per_ms: cfg.burst_bytes_per_ms, paced: true },
            record_hand: 0,
            control_hand: 0,
        }
    }

    /// The subscriber of that key, if it is known.
    pub fn find(&self, key: &SubscriberKey) -> Option<u32> {
        self.index.find(self.hasher.subscriber(key), |i| self.records[i].key == *key)
    }

    /// Asks for a subscriber's record to be brought into the caches.
    pub fn prefetch(&self, sub: u32) {
        self.records.prefetch(sub);
    }

    /// Asks for the place of a flow in its turn.
    pub fn prefetch_turn(&self, flow: u32) {
        self.flows.prefetch(flow);
    }

    /// Asks for a subscriber's controller, which its record leads to.
    pub fn prefetch_control(&self, sub: u32) {
        if let Some(record) = self.records.get(sub) {
            self.controls.prefetch(record.control);
        }
    }

    /// A flow of this subscriber begins. `None`: as many subscribers as may be have flows already; don't optimize.
    pub fn open(&mut self, key: SubscriberKey) -> Option<u32> {
        let sub = match self.find(&key) {
            Some(sub) => sub,
            None => self.enter(key)?,
        };
        let record = &mut self.records[sub];
        record.flows += 1;
        record.used = true;
        Some(sub)
    }

    /// A flow that was counted by [`Subscribers::open`] is over.
    pub fn close(&mut self, sub: u32) {
        let record = &mut self.records[sub];
        record.flows = record.flows.saturating_sub(1);
    }

    /// A packet came from the subscriber.
    #[inline]
    pub fn heard(&mut self, now: Now, sub: u32) {
        let (record, ms) = (&mut self.records[sub], (now.0 / 1_000_000) as u32);
        if ms.wrapping_sub(record.heard) >= SILENCE_MS {
            record.resumed = ms;
        }
        record.heard = ms;
    }

    /// When the subscriber was heard again after its last silence, ms.
    pub fn resumed(&self, sub: u32) -> u32 {
        self.records[sub].resumed
    }

    /// A flow found packets to the subscriber overtaken by others that were sent so much later, ns.
    pub fn learn_reordering(&mut self, sub: u32, ns: u64) {
        let record = &mut self.records[sub];
        record.reordering_us = record.reordering_us.max((ns / 1_000).min(u64::from(u32::MAX)) as u32);
    }

    /// The most that any flow found, ns; 0: no reordering was seen.
    pub fn reordering(&self, sub: u32) -> u64 {
        u64::from(self.records[sub].reordering_us) * 1_000
    }

    /// Flows of this subscriber that are open.
    pub fn flows(&self, sub: u32) -> u32 {
        self.records[sub].flows
    }

    /// The flow has something to send that its own windows let go.
    #[inline]
    pub fn ready(&mut self, now: Now, sub: u32, flow: u32) {
        self.control(now, sub);
        if !self.shapers.is_parked(flow) {
            self.flows.ready(&mut self.records[sub].lists, flow);
        }
    }

    /// The flow has nothing to send, or its own windows hold it.
    #[inline]
    pub fn unready(&mut self, sub: u32, flow: u32) {
        self.flows.unready(&mut self.records[sub].lists, flow);
    }

    /// The handle is given up: what the flow had in flight is forgotten.
    pub fn leave(&mut self, now: Now, sub: u32, flow: u32) {
        self.in_flight(now, sub, flow, 0);
        self.shapers.detach(flow);
        self.flows.remove(&mut self.records[sub].lists, flow);
    }

    /// What the flow's sender has in flight now (sent, not acknowledged, not held for lost). Call it after anything
    /// that may have changed it; the budget is measured against the sum.
    #[inline]
    pub fn in_flight(&mut self, now: Now, sub: u32, flow: u32, bytes: u32) {
        let before = self.flows.set_in_flight(flow, bytes);
        if before != bytes {
            let control = self.control(now, sub);
            control.in_flight = (control.in_flight + u64::from(bytes)).saturating_sub(u64::from(before));
        }
    }

    /// Whose turn it is, if anybody's.
    #[inline]
    pub fn next(&mut self, now: Now, sub: u32) -> Next {
        if self.records.get(sub).is_none_or(|record| record.lists.ready == 0) {
            return Next::Idle;
        }
        let set = self.setting(sub);
        let allowed = match self.control(now, sub).allowance(now, &set) {
            Ok(bytes) => bytes,
            Err(Some(at)) => return Next::At(at),
            Err(None) => return Next::Blocked,
        };
        while let Some((flow, deficit)) = self.flows.turn(&mut self.records[sub].lists) {
            let bytes = deficit.min(allowed);
            match self.shapers.allowance(now, flow) {
                None => return Next::Send { flow, bytes },
                Some(0) => self.flows.unready(&mut self.records[sub].lists, flow),
                Some(shaped) => return Next::Send { flow, bytes: bytes.min(shaped) },
            }
        }
        Next::Idle
    }

    /// The flow sent so many bytes of payload, new or again.
    #[inline]
    pub fn on_sent(&mut self, now: Now, sub: u32, flow: u32, bytes: u32) {
        self.control(now, sub).on_sent(now, bytes);
        self.flows.charge(flow, bytes);
    }

    /// The phone acknowledged something.
    pub fn on_delivered(&mut self, now: Now, sub: u32, what: &Delivered) {
        let set = self.setting(sub);
        self.control(now, sub).on_delivered(now, &set, what.bytes, what.rtt_ns, what.split);
    }

    /// So many bytes were found lost.
    pub fn on_lost(&mut self, now: Now, sub: u32, bytes: u32) {
        self.control(now, sub).on_lost(now, bytes);
    }

    /// The phone sent so many bytes of optimized payload: its uplink is in use.
    pub fn on_uplink(&mut self, now: Now, sub: u32, bytes: u32) {
        if let Some(control) = self.controls.get_mut(self.records[sub].control) {
            control.on_uplink(now, bytes);
        }
    }

    /// Traffic of a subscriber that passed beside the engine (UDP, flows not optimized): it fills the same queues.
    pub fn on_foreign(&mut self, now: Now, key: &SubscriberKey, down_bytes: u64, up_bytes: u64) {
        let control = self.find(key).map(|sub| self.records[sub].control);
        if let Some(control) = control.and_then(|handle| self.controls.get_mut(handle)) {
            control.on_foreign(now, down_bytes, up_bytes);
        }
    }

    /// True where the subscriber's own queue says that the link is full, so that a loss means congestion.
    #[inline]
    pub fn link_full(&self, sub: u32) -> bool {
        self.controls.get(self.records[sub].control).is_some_and(|control| control.link_full(&self.setting(sub)))
    }

    /// What the controller knows; `None` for a subscriber that is not receiving.
    pub fn gauges(&self, sub: u32) -> Option<Gauges> {
        let control = self.controls.get(self.records.get(sub)?.control)?;
        Some(Gauges {
            in_flight: control.in_flight,
            budget: control.budget,
            rate: control.rate,
            min_rtt_ns: control.meter.least(),
            rtt_ns: control.meter.rtt,
            queue_ns: control.meter.queue(),
            mode: control.mode,
        })
    }

    /// How many subscribers are known.
    pub fn len(&self) -> u32 {
        self.records.len()
    }

    /// True where none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All subscribers that are known: handle, key, flows open.
    pub fn iter(&self) -> impl Iterator<Item = (u32, SubscriberKey, u32)> + '_ {
        self.records.iter().map(|(sub, record)| (sub, record.key, record.flows))
    }

    /// Puts a new subscriber into the table, in place of one without flows where the table is full.
    fn enter(&mut self, key: SubscriberKey) -> Option<u32> {
        let mut looked = 0;
        while self.records.is_full() {
            if looked > 2 * self.records.end() {
                return None;
            }
            looked += 1;
            self.record_hand = (self.record_hand + 1) % self.records.end();
            let hand = self.record_hand;
            let record = &mut self.records[hand];
            if record.flows == 0 && !std::mem::take(&mut record.used) && self.shapers.are_idle(record.shaper) {
                self.forget(hand);
            }
        }
        let hash = self.hasher.subscriber(&key);
        let record = Record { key, lists: Lists::default(), control: NO_CONTROL, flows: 0, heard: 0, resumed: 0, reordering_us: 0, used: true, shaper: NO_SHAPER, target_us: 0, unpaced: false };
        let sub = self.records.insert(record).ok()?;
        if self.index.insert(hash, sub).is_err() {
            self.records.remove(sub);
            return None;
        }
        Some(sub)
    }

    fn forget(&mut self, sub: u32) {
        if let Some(mut record) = self.records.remove(sub) {
            while record.shaper != NO_SHAPER {
                self.shapers.remove(record.shaper, &mut record.shaper);
            }
            self.index.remove(self.hasher.subscriber(&record.key), sub);
            self.controls.free(record.control);
        }
    }

    fn setting(&self, sub: u32) -> Setting {
        let record = &self.records[sub];
        let target_ns = if record.target_us == 0 { self.set.target_ns } else { u64::from(record.target_us) * 1_000 };
        Setting { target_ns, paced: !record.unpaced, ..self.set }
    }

    /// The subscriber's controller, made if need be.
    #[inline]
    fn control(&mut self, now: Now, sub: u32) -> &mut Control {
        let handle = match self.records[sub].control {
            NO_CONTROL => self.make_control(now, sub),
            handle => handle,
        };
        &mut self.controls[handle]
    }

    #[inline(never)]
    fn make_control(&mut self, now: Now, sub: u32) -> u32 {
        self.sweep(now);
        let handle = self.controls.make(now, sub).unwrap_or_else(|| unreachable!("controllers for all active flows"));
        self.records[sub].control = handle;
        self.records[sub].used = true;
        handle
    }

    /// Gives up controllers that are idle: a few each time, as many as it takes where none is left.
    fn sweep(&mut self, now: Now) {
        let end = self.controls.end();
        let mut looked = 0;
        while end > 0 && (looked < SWEEP || (self.controls.is_full() && looked < SWEEP + end)) {
            looked += 1;
            self.control_hand = (self.control_hand + 1) % end;
            let hand = self.control_hand;
            let Some(control) = self.controls.get(hand) else { continue };
            let owner = control.owner;
            let quiet = control.in_flight == 0 && self.records[owner].lists.ready == 0;
            if quiet && (now.since(control.last) > IDLE_NS || looked > SWEEP) {
                self.controls.free(hand);
                self.records[owner].control = NO_CONTROL;
            }
        }
    }
}
