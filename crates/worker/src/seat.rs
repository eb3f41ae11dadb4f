//! An engine with all that it needs besides frames: orders in, events and counters out, foreign traffic told.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smartwire_engine::api::{Command, Target};
use smartwire_engine::policy::Policies;
use smartwire_engine::{Engine, FlowInfo, FlowKey, Io, Now, Rx, Stats, SubscriberInfo, SubscriberKey};

use crate::events::EventRing;
use crate::foreign::Foreign;
use crate::journal::{Call, Journal};
use crate::tap::Tap;
use crate::watch::Watch;

/// How often an engine's counters are copied out.
const PUBLISH_NS: u64 = 50_000_000;
/// Most flows or subscribers in one answer: a worker that answers is not forwarding.
pub const MOST_ROWS: usize = 20_000;

/// What is asked of a running engine.
pub(crate) enum Ask {
    /// Carry out an order; the answer is how many flows it concerned.
    Order(Order, SyncSender<u32>),
    /// All flows (the first [`MOST_ROWS`]).
    Flows(SyncSender<Vec<FlowInfo>>),
    /// All subscribers (the first [`MOST_ROWS`]).
    Subscribers(SyncSender<Vec<SubscriberInfo>>),
    /// Let this tap see everything from now on, or none any more.
    Tap(Option<Tap>, SyncSender<()>),
    /// Another table of policies, as it was written down; the answer is the one that was in force.
    Policies(Arc<str>, Policies, SyncSender<Policies>),
    /// How often each policy decided, and for how many connections of each class.
    Hits(SyncSender<[Vec<u64>; 2]>),
    /// The copper wire was open.
    Opened(bool),
}

/// What an operator orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Hand back what is optimized now.
    Drain,
    /// The same, and leave new connections alone.
    Bypass,
    /// Optimize new connections again.
    Resume,
}

/// An order: what, about whom, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// What to do.
    pub verb: Verb,
    /// With whom.
    pub target: Target,
    /// The target's scope stands for itself; otherwise it is a person's target, who means every encapsulation.
    pub exact_scope: bool,
    /// After this, what is left is reset.
    pub limit: Duration,
}

/// What others may look at while the engine works.
#[derive(Default)]
pub(crate) struct Published {
    /// When this was true, CLOCK_MONOTONIC ns.
    at: AtomicU64,
    stats: Mutex<Stats>,
    drained: AtomicBool,
    nothing_to_optimize: AtomicBool,
    /// Frames kept, and most that may be.
    kept: AtomicU32,
    keepable: AtomicU32,
}

impl Published {
    pub(crate) fn stats(&self) -> Stats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When this was true, CLOCK_MONOTONIC ns.
    pub(crate) fn at(&self) -> u64 {
        self.at.load(Ordering::Acquire)
    }

    /// (frames kept, most that may be kept).
    pub(crate) fn kept(&self) -> (u32, u32) {
        (self.kept.load(Ordering::Relaxed), self.keepable.load(Ordering::Relaxed))
    }

    /// All is handed back, nothing new is taken on, and nobody looks at packets.
    pub(crate) fn nothing_to_optimize(&self) -> bool {
        self.nothing_to_optimize.load(Ordering::Acquire)
    }

    pub(crate) fn drained(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }
}

/// An engine and its desk.
pub(crate) struct Seat {
    engine: Engine,
    asks: Receiver<Ask>,
    events: Arc<Mutex<EventRing>>,
    published: Arc<Published>,
    publish_at: Now,
    foreign: Foreign,
    watch: Watch,
    /// It never optimizes.
    observes: bool,
    /// No connection of the wire is to be optimized now.
    bypassed: bool,
}

impl Seat {
    pub(crate) fn new(
        engine: Engine,
        asks: Receiver<Ask>,
        events: Arc<Mutex<EventRing>>,
        published: Arc<Published>,
        foreign: Foreign,
        journal: Option<Journal>,
        observes: bool,
    ) -> Seat {
        let watch = Watch { journal, tap: None };
        Seat { engine, asks, events, published, publish_at: Now(0), foreign, watch, observes, bypassed: false }
    }

    /// Everything that an engine does at one instant.
    pub(crate) fn step<I: Io>(&mut self, now: Now, rx: &[Rx], io: &mut I) {
        while let Ok(ask) = self.asks.try_recv() {
            self.answer(now, ask, io);
        }
        if !rx.is_empty() {
            self.watch.call(&mut self.engine, now, Call::Rx(rx), io);
        }
        for (who, down, up) in self.foreign.read(now, &self.engine) {
            self.watch.call(&mut self.engine, now, Call::Foreign(who, down, up), io);
        }
        self.watch.call(&mut self.engine, now, Call::Time, io);
        self.log_events();
        if now >= self.publish_at {
            self.publish(now, io);
            self.publish_at = now.after_ns(PUBLISH_NS);
            if let Some(tap) = &mut self.watch.tap {
                tap.flush();
            }
        }
    }

    /// The copper wire was open: forget what can't be certain any more.
    pub(crate) fn opened<I: Io>(&mut self, now: Now, late: bool, io: &mut I) {
        self.watch.call(&mut self.engine, now, Call::Opened(late), io);
    }

    /// When [`Seat::step`] must be called next, frames or not.
    pub(crate) fn next_deadline(&self) -> Option<Now> {
        [self.engine.next_deadline(), self.foreign.next()].into_iter().flatten().min()
    }

    fn answer<I: Io>(&mut self, now: Now, ask: Ask, io: &mut I) {
        // Who asked may have given up waiting.
        match ask {
            Ask::Order(order, reply) => {
                let concerned = self.obey(now, order, io);
                self.publish(now, io);
                let _ = reply.try_send(concerned);
            }
            Ask::Flows(reply) => {
                let _ = reply.try_send(self.engine.flows().take(MOST_ROWS).collect());
            }
            Ask::Subscribers(reply) => {
                let _ = reply.try_send(self.engine.subscribers().take(MOST_ROWS).collect());
            }
            Ask::Tap(tap, reply) => {
                self.watch.tap = tap;
                self.publish(now, io);
                let _ = reply.try_send(());
            }
            Ask::Policies(text, mut policies, reply) => {
                self.watch.call(&mut self.engine, now, Call::Policies(&text, &mut policies), io);
                self.foreign.shape(self.engine.policies().table().shapes());
                // Whoever asked frees the old one.
                let _ = reply.try_send(policies);
            }
            Ask::Hits(reply) => {
                let policies = self.engine.policies();
                let _ = reply.try_send([policies.hits().to_vec(), policies.of_classes().to_vec()]);
            }
            Ask::Opened(late) => self.opened(now, late, io),
        }
    }

    fn obey<I: Io>(&mut self, now: Now, order: Order, io: &mut I) -> u32 {
        let deadline = now.after_ns(u64::try_from(order.limit.as_nanos()).unwrap_or(u64::MAX));
        let mut concerned = 0;
        self.bypassed = match order.verb {
            Verb::Drain => self.bypassed,
            Verb::Bypass => self.bypassed || order.target == Target::Wire,
            Verb::Resume => false,
        };
        for target in self.meant(order) {
            let command = match order.verb {
                Verb::Drain => Command::Drain { target, deadline },
                Verb::Bypass => Command::Bypass { target, deadline },
                Verb::Resume => Command::Resume { target },
            };
            concerned += self.watch.call(&mut self.engine, now, Call::Command(command), io);
        }
        concerned
    }

    /// The targets that a person means: the same addresses in whatever encapsulation they are known, plain too.
    fn meant(&self, order: Order) -> Vec<Target> {
        let mut found = vec![order.target];
        if order.exact_scope {
            return found;
        }
        match order.target {
            Target::Wire => {}
            Target::Subscriber(s) => {
                let same = self.engine.subscribers().filter(|i| i.key.addr == s.addr && i.key.scope != s.scope);
                found.extend(same.map(|i| Target::Subscriber(i.key)));
            }
            Target::Flow(f) => {
                let same = |k: &FlowKey| FlowKey { scope: f.scope, ..*k } == f && k.scope != f.scope;
                found.extend(self.engine.flows().map(|i| i.key).filter(same).map(Target::Flow));
            }
        }
        found
    }

    fn log_events(&mut self) {
        let Some(first) = self.engine.poll_event() else { return };
        let mut ring = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        ring.push(&first);
        while let Some(event) = self.engine.poll_event() {
            ring.push(&event);
        }
    }

    fn publish<I: Io>(&self, now: Now, io: &I) {
        let (free, most) = io.frames();
        self.published.kept.store(most - free, Ordering::Relaxed);
        self.published.keepable.store(most, Ordering::Relaxed);
        self.published.stats.lock().unwrap_or_else(PoisonError::into_inner).clone_from(self.engine.stats());
        let drained = self.engine.drained();
        self.published.drained.store(drained, Ordering::Release);
        let nothing = self.observes || (drained && self.bypassed && self.watch.is_idle());
        self.published.nothing_to_optimize.store(nothing, Ordering::Release);
        self.published.at.store(now.0, Ordering::Release);
    }
}

/// The subscriber that an address belongs to.
pub fn subscriber_of(addr: std::net::Ipv6Addr, v6_prefix: u8, scope: u64) -> SubscriberKey {
    let kept = if addr.to_ipv4_mapped().is_some() { 128 } else { u32::from(v6_prefix.min(128)) };
    let mask = u128::MAX.checked_shl(128 - kept).unwrap_or(0);
    SubscriberKey { addr: std::net::Ipv6Addr::from_bits(addr.to_bits() & mask), scope }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_belongs_to_the_subscriber_of_its_prefix_and_an_ipv4_address_to_its_own() {
        let six = subscriber_of("2001:db8:7:1:2:3:4:5".parse().unwrap(), 64, 0);
        assert_eq!(six.addr, "2001:db8:7:1::".parse::<std::net::Ipv6Addr>().unwrap());
        let four = std::net::Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped();
        assert_eq!(subscriber_of(four, 64, 0).addr, four);
    }
}
