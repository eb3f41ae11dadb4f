//! Several workers: one thread owns the ports and spreads frames over engines by subscriber, so that one receive queue
//! is enough and a subscriber's budget is never divided.
//!
//! ```text
//!                       ┌─ frames, done ─► engine 1 ─┐
//!   ports ◄─► I/O thread┤                            ├─ sends, free frames ─► I/O thread
//!                       └─ frames, done ─► engine 2 ─┘
//! ```
//! Each engine has a ledger of its own; a frame is in exactly one of them at a time.

use std::net::Ipv6Addr;
use std::sync::atomic::{fence, AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::Arc;
use std::time::Duration;

use smartwire_engine::{FrameId, Now, Rx, Side};
use smartwire_io::driver::Driver;
use smartwire_io::spsc::{Receiver, Sender};
use smartwire_io::stand::Outlet;
use smartwire_io::steer::{Beat, Steer};
use smartwire_io::sys::{self, Interest, PollSet, Wake};
use smartwire_io::IoError;
use smartwire_packet::{icmp, outer_vlan, parse, proto};

use crate::hand::{FromHand, Hand, ToHand};
use crate::house::House;
use crate::passing::Passing;
use crate::pulse::{Promise, Pulse};
use crate::seat::{subscriber_of, Ask, Seat};
use crate::single::{Leaving, Sleeper, BATCH, NAP_NS};

/// What may wait for an engine, or from one.
pub(crate) const QUEUE: usize = 8192;

/// A sleeper's bell: rung only while it sleeps.
pub(crate) struct Bell {
    asleep: AtomicBool,
    pub wake: Arc<Wake>,
}

impl Bell {
    pub(crate) fn new() -> Result<Bell, IoError> {
        Ok(Bell { asleep: AtomicBool::new(false), wake: Arc::new(Wake::new()?) })
    }

    /// After putting something into the sleeper's queue.
    pub(crate) fn ring(&self) {
        // With the fence in `lie_down`: either the sleeper sees what was queued, or we see that it sleeps.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.wake.wake();
        }
    }

    /// Before looking at the queues for a last time.
    fn lie_down(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

/// An engine as the I/O thread sees it.
pub(crate) struct Lane {
    pub to: Sender<ToHand>,
    pub from: Receiver<FromHand>,
    pub bell: Arc<Bell>,
    pub asks: mpsc::Sender<Ask>,
    /// Free frames that it asked for.
    pub wants: usize,
    /// Completions for which its queue had no room yet.
    pub owed: Vec<FrameId>,
}

/// The thread that owns the ports.
pub(crate) struct Spreader {
    pub driver: Driver,
    pub lanes: Vec<Lane>,
    pub house: House,
    pub pulse: Pulse,
    pub promise: Promise,
    pub steer: Arc<Steer>,
    pub passing: Passing,
    pub bell: Arc<Bell>,
    pub stop: Arc<AtomicBool>,
    /// Tells the engines' threads to end.
    pub end: Arc<AtomicBool>,
    pub subscriber_v6_prefix: u8,
    pub subscriber_by_vlan: bool,
    /// Frames for which an engine's queue had no room.
    pub dropped: Arc<AtomicU64>,
}

impl Spreader {
    /// Works until told to stop; then opens the wire, delivers what is on its way, and ends the engines' threads.
    ///
    /// # Errors
    /// The wire can't go on; the sentence says why. It is open then.
    pub(crate) fn run(mut self) -> Result<(), IoError> {
        sys::be_punctual();
        let result = self.work();
        self.pulse.release();
        self.end.store(true, Ordering::Release);
        self.lanes.iter().for_each(|l| l.bell.wake.wake());
        result
    }

    fn work(&mut self) -> Result<(), IoError> {
        let mut sleeper = Sleeper::new(&self.driver, &self.bell.wake);
        let mut rx = Vec::with_capacity(BATCH);
        while !self.stop.load(Ordering::Acquire) {
            let now = Now(sys::clock_ns());
            self.promise.back_in(now.0, 0);
            match self.pulse.check(now.0) {
                Beat::Alive => {}
                Beat::Opened { for_ns, late } => {
                    self.house.opened(for_ns, &self.pulse.why());
                    // An engine whose thread is gone has said why.
                    self.lanes.iter().for_each(|l| drop(l.asks.send(Ask::Opened(late))));
                }
                Beat::Lost => return Err(IoError::new(crate::single::LOST)),
            }
            if !self.turn(now, &mut rx)? {
                self.bell.lie_down();
                if self.lanes.iter_mut().all(|l| l.from.is_empty()) {
                    sleeper.sleep(now, self.house.next(), &self.driver, &self.promise)?;
                }
                self.bell.get_up();
            }
        }
        self.leave(&mut rx)
    }

    /// One turn; false if there was nothing to do.
    fn turn(&mut self, now: Now, rx: &mut Vec<Rx>) -> Result<bool, IoError> {
        rx.clear();
        self.driver.recv(rx, BATCH)?;
        self.driver.overhear(&self.steer, rx, BATCH);
        let mut busy = !rx.is_empty();
        for frame in rx.drain(..) {
            self.spread(frame);
        }
        self.settle();
        for i in 0..self.lanes.len() {
            busy |= self.collect(i);
        }
        self.driver.flush()?;
        self.passing.turn(now.0, self.house.nothing_to_optimize(), busy || self.driver.unsent())?;
        self.house.keep(now, &mut self.driver)?;
        Ok(busy)
    }

    /// Gives a frame to the engine of its subscriber.
    fn spread(&mut self, rx: Rx) {
        let range = usize::from(rx.off)..usize::from(rx.off) + usize::from(rx.len);
        let frame = &self.driver.frames.bytes(rx.frame)[range];
        let index = match outer_vlan(frame) {
            vlan if vlan > 0 && self.subscriber_by_vlan => choose(Some(u128::from(vlan).into()), 128, self.lanes.len()),
            _ => choose(access_address(frame, rx.port.side()), self.subscriber_v6_prefix, self.lanes.len()),
        };
        let lane = &mut self.lanes[index];
        // Room for the completions that it is owed comes first.
        if lane.to.room() <= lane.owed.len() {
            self.driver.frames.release(rx.frame);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let given = self.driver.frames.give(rx.frame, index as u8 + 1);
        let _ = lane.to.push(ToHand::Frame(given, rx));
    }

    /// Tells the engines which transmissions are over, and keeps them in free frames.
    fn settle(&mut self) {
        for (thread, frame) in self.driver.frames.completed_away() {
            if let Some(lane) = self.lanes.get_mut(usize::from(thread).wrapping_sub(1)) {
                lane.owed.push(frame);
            }
        }
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            while let Some(frame) = lane.owed.pop() {
                if let Err(ToHand::Done(frame)) = lane.to.push(ToHand::Done(frame)) {
                    lane.owed.push(frame);
                    break;
                }
            }
            while lane.wants > 0 && lane.to.room() > 0 {
                let Some(frame) = self.driver.frames.alloc() else { break };
                let given = self.driver.frames.give(frame, i as u8 + 1);
                let _ = lane.to.push(ToHand::Spare(given));
                lane.wants -= 1;
            }
            lane.bell.ring();
        }
    }

    /// Takes what an engine wants sent, and what it gives back.
    fn collect(&mut self, index: usize) -> bool {
        let lane = &mut self.lanes[index];
        for n in 0..BATCH * 2 {
            match lane.from.pop() {
                Some(FromHand::Send(port, tx)) => {
                    if !self.driver.out.queue(port, tx) {
                        lane.owed.push(tx.frame);
                    }
                }
                Some(FromHand::Back(given)) => {
                    let frame = self.driver.frames.take(given);
                    self.driver.frames.release(frame);
                }
                Some(FromHand::Want(more)) => lane.wants += more,
                None => return n > 0,
            }
        }
        true
    }

    fn leave(&mut self, rx: &mut Vec<Rx>) -> Result<(), IoError> {
        self.pulse.release();
        let mut leaving = Leaving::begin(sys::clock_ns());
        loop {
            let now = Now(sys::clock_ns());
            let busy = self.turn(now, rx)? || self.driver.unsent();
            if leaving.over(now.0, busy) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.steer.detach_xdp().map_err(crate::open::steer_error)?;
        self.house.write(Now(sys::clock_ns()), &mut self.driver);
        Ok(())
    }
}

/// The address of the endpoint on the access side, as far as the frame tells.
fn access_address(frame: &[u8], from: Side) -> Option<Ipv6Addr> {
    let layers = parse(frame).ok()?;
    if matches!(layers.proto, proto::ICMP | proto::ICMPV6) {
        // An error belongs to whoever sent or was to receive the packet that it quotes.
        if let Some(e) = icmp::error(frame, &layers) {
            return Some(if from == Side::Access { e.quoted.dst } else { e.quoted.src });
        }
    }
    Some(if from == Side::Access { layers.src(frame) } else { layers.dst(frame) })
}

/// Which of `count` engines a subscriber belongs to; what is nobody's goes to the first.
fn choose(who: Option<Ipv6Addr>, v6_prefix: u8, count: usize) -> usize {
    let Some(addr) = who else { return 0 };
    let bits = subscriber_of(addr, v6_prefix, 0).addr.to_bits();
    // Fibonacci hashing: neighbouring addresses spread evenly.
    let mixed = ((bits >> 64) as u64 ^ (bits as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((u128::from(mixed) * count as u128) >> 64) as usize
}

/// An engine's thread.
pub(crate) struct Worker {
    pub hand: Hand,
    pub seat: Seat,
    pub promise: Promise,
    pub bell: Arc<Bell>,
    pub io_bell: Arc<Bell>,
    pub end: Arc<AtomicBool>,
}

impl Worker {
    /// Works until told to end.
    pub(crate) fn run(mut self) -> Result<(), IoError> {
        sys::be_punctual();
        let mut set = PollSet::new(&[Interest::readable(self.bell.wake.fd())]);
        let mut rx = Vec::with_capacity(BATCH);
        while !self.end.load(Ordering::Acquire) {
            rx.clear();
            let any = self.hand.receive(&mut rx, BATCH);
            let now = Now(sys::clock_ns());
            self.promise.back_in(now.0, 0);
            self.seat.step(now, &rx, &mut self.hand.stand);
            self.hand.balance();
            if self.hand.has_sent() {
                self.io_bell.ring();
            }
            if cfg!(debug_assertions) {
                self.hand.stand.frames.audit()?;
            }
            if !any {
                self.sleep(now, &mut set)?;
            }
        }
        Ok(())
    }

    fn sleep(&mut self, now: Now, set: &mut PollSet) -> Result<(), IoError> {
        let ns = self.seat.next_deadline().map_or(NAP_NS, |d| d.since(now).min(NAP_NS));
        self.bell.lie_down();
        if ns > 0 && self.hand.idle() {
            self.promise.back_in(now.0, ns);
            set.wait(Some(Duration::from_nanos(ns)))?;
            if set.readable(0) {
                self.bell.wake.clear();
            }
        }
        self.bell.get_up();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smartwire_packet::build::Packet;

    #[test]
    fn both_directions_of_a_connection_and_all_of_an_ipv6_prefix_go_to_one_engine() {
        let (a, c) = ("2001:db8:7::2".parse().unwrap(), "2001:db8:ff::1".parse().unwrap());
        let up = Packet::new().ipv6(a, c).tcp(40000, 443).build();
        let down = Packet::new().vlan(7).ipv6(c, a).tcp(443, 40000).build();
        assert_eq!(access_address(&up, Side::Access), Some(a));
        assert_eq!(access_address(&down, Side::Core), Some(a));
        let other = "2001:db8:7::3".parse().unwrap();
        for count in 1..9 {
            assert_eq!(choose(Some(a), 64, count), choose(Some(other), 64, count));
        }
    }

    #[test]
    fn subscribers_spread_evenly_over_engines() {
        let mut counts = [0; 4];
        for i in 0..4000u32 {
            let addr = std::net::Ipv4Addr::from_bits(0x0a00_0000 + i).to_ipv6_mapped();
            counts[choose(Some(addr), 64, 4)] += 1;
        }
        assert!(counts.iter().all(|&n| (800..1200).contains(&n)), "{counts:?}");
    }
}
