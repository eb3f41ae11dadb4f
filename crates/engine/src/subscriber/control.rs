//! How many bytes may be in flight towards one subscriber.
//!
//! What the link delivers in the least round trip keeps it busy; a little more, worth [`Setting::target_ns`] of queue,
//! covers the time that it takes to notice that the rate has risen. So the budget is the delivery rate times their sum.
//! It bounds itself: less is delivered, less may be sent.
//!
//! The rule starves whoever waits behind something that it does not control, since a delay that does not shrink with the
//! budget makes it smaller each round. Therefore the way back is measured apart and covered in full ([`Meter::up`]);
//! dips tell a longer path from a queue ([`Dip`]); and where others fill the queue, the budget follows what they have in
//! it ([`Share`]), or gives way if nobody tells how much that is ([`Mode::Compete`]); and behind a way back that the phone
//! itself has filled without a clock that says so, what the link carried before is taken to go on.
//!
//! While nothing is acknowledged the budget goes on for a while as far as the way back is likely to be what has stopped
//! ([`Silence`]); afterwards the rate from before is believed the less, the longer that was.

use super::dip::{Dip, Found};
use super::foreign::Foreign;
use super::meter::{self, Meter};
use super::oneway::Split;
use super::pace::{Pace, Pacer};
use super::probe::Probe;
use super::rate;
use super::share::Share;
use super::silence::Silence;
use super::Mode;
use crate::api::Now;

const MS: u64 = 1_000_000;
/// Bytes that are always allowed.
const LEAST: u64 = 4 * 1448;
/// Queues that end the start: so many round trips in a row above half of the target.
const START_SAMPLES: u32 = 8;
/// The rate is taken over this, or over the time since the link became busy where that is shorter, but not over less
/// than `RATE_LEAST_NS`.
const RATE_NS: u64 = 70 * MS;
const RATE_LEAST_NS: u64 = 40 * MS;
/// Where the least round trip is shorter than this, pauses of our own thread are longer than what the rate is taken over
/// at the start: there the highest rate of the last such period and of the one before says what the link carries.
const NEAR_NS: u64 = 4 * MS;
const PEAK_NS: u64 = 500 * MS;
/// With nothing in flight for so long nobody knows any more what the link carries, ns.
const IDLE_NS: u64 = 200 * MS;
/// A way back that is longer by more than this is long, ns.
const LATE_NS: u64 = 100 * MS;
/// What is in hand behind a long way back, at most, ns: more would fill the queue towards the phone.
const LATE_MOST_NS: u64 = 400 * MS;
/// Of the time lost in outages the queue grows by one part of so many, and by so many targets at most.
const OUTAGES_PART: u64 = 24;
const OUTAGES_MOST: u64 = 3;
/// A rate that fills less than this in a round trip is too low for a dip to show anything, bytes.
const DIP_LEAST: u64 = 16 * 1448;
/// Most that may leave beyond a round trip's worth where nothing waits, in targets.
const RISE: u64 = 3;
/// A dip is made when the round trip has not been near its least for so long, ns.
const DIP_EVERY_NS: u64 = 8_000 * MS;
/// A queue longer than wanted for so long, beside two round trips, wants a dip to tell whose it is, ns.
const DOUBT_NS: u64 = 500 * MS;
/// A round trip that does not fall is taken for a longer path; and for others' queue if it has grown again, so many
/// times, without having been shorter in between.
const LONGER_TIMES: u32 = 2;
/// A rate that swings less than this within a tenth of a second is steady, 1/256.
const STEADY: u64 = 32;
/// A queue that is long by far for so long, beside a round trip, is that of others who are known to send, ns.
const OTHERS_NS: u64 = 100 * MS;
/// Behind a full way back nobody can tell a queue of our own apart: a sixteenth of the round trip is not covered, and so
/// much of what the link seems to carry less than before is believed every so often, ns.
const BEHIND_PART: u64 = 16;
const BEHIND_EVERY_NS: u64 = 1_000 * MS;
/// Others who send less than this do not fill a queue, bytes per second; nor does a phone that sends less than that.
const OTHERS_LEAST: u64 = 12_500;
const UPLINK_LEAST: u64 = 50_000;

/// The controller of a subscriber that is receiving.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Control {
    /// Whose it is.
    pub(super) owner: u32,
    pub(super) mode: Mode,
    pub(super) in_flight: u64,
    pub(super) budget: u64,
    pub(super) rate: u64,
    /// Highest rate at the start of this period and of the one before.
    peak: [u64; 2],
    peak_began: Now,
    pub(super) last: Now,
    pacer: Pacer,
    dip: Dip,
    /// The budget is not below this until then: after a dip.
    hold: u64,
    hold_until: Now,
    /// The budget when the queue was last no longer than wanted, if the link was steady then.
    undoubted: u64,
    /// What a dip found to be the least where it did not come down to what was known, ns, and how often since the round
    /// trip was last shorter.
    longer: u64,
    longer_times: u32,
    probe: Probe,
    silence: Silence,
    pub(super) meter: Meter,
    // What ordinary packets do not need comes after the history in it.
    share: Share,
    /// The rate that the link had before the phone filled the way back; and when it was looked at last.
    carries: u64,
    looked: Now,
    /// Others are known to send: they compete until they are known not to.
    told: bool,
    /// What passes beside the engine towards the phone, and all that the phone sends.
    foreign: Foreign,
    uplink: Foreign,
}

/// What the controller is set to.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Queueing delay aimed at, ns.
    pub target_ns: u64,
    /// Bytes that may leave in a millisecond at any rate.
    pub burst_per_ms: u32,
    /// What leaves is spread over the round trip.
    pub paced: bool,
}

/// Bytes that `rate` bytes per second make in `ns`, to the microsecond: 64 bits hold 100 Gbit/s over 1000 s.
pub(super) fn bytes_in(rate: u64, ns: u64) -> u64 {
    rate.saturating_mul(ns / 1_000) / 1_000_000
}

impl Default for Control {
    fn default() -> Control {
        Control::new(Now(0))
    }
}

/// What an ordinary packet needs comes first: all up to the history, of which it is a bucket or two.
pub(super) const FRONT: usize = std::mem::offset_of!(Control, meter) + meter::FRONT;

impl Control {
    /// A controller that knows nothing yet.
    pub fn new(now: Now) -> Control {
        Control {
            owner: u32::MAX,
            in_flight: 0,
            budget: u64::MAX,
            rate: 0,
            peak: [0; 2],
            peak_began: now,
            mode: Mode::Start,
            meter: Meter::new(now),
            last: now,
            foreign: Foreign::new(now),
            uplink: Foreign::new(now),
            told: false,
            pacer: Pacer::default(),
            dip: Dip::None,
            hold: 0,
            hold_until: now,
            undoubted: 0,
            longer: 0,
            longer_times: 0,
            probe: Probe::new(now),
            share: Share::new(now),
            carries: 0,
            looked: now,
            silence: Silence::new(now),
        }
    }

    /// Bytes reached the phone.
    pub fn on_delivered(&mut self, now: Now, set: &Setting, bytes: u32, rtt: Option<u64>, split: Option<Split>) {
        self.last = now;
        self.silence.heard(now, split);
        let split = split.filter(|_| rtt.is_some());
        let whole = set;
        let set = &Setting { target_ns: self.target(set), ..*set };
        self.meter.delivered(now, bytes, rtt, split, (self.in_flight, self.rate), set.target_ns);
        if rtt.is_some() {
            self.dip.sample(now, self.meter.rtt);
            self.probe.sample(self.meter.rtt);
            if self.meter.rtt < self.longer - self.longer / 8 {
                self.longer_times = 0;
            }
        }
        match self.mode {
            Mode::Start => self.start(now, whole),
            Mode::Track => self.track(now, set),
            Mode::Compete => self.compete(now, set),
        }
    }

    /// After a pause: what little was delivered since the link was last full says nothing about what it carries.
    fn start_again(&mut self) {
        self.mode = Mode::Start;
        self.budget = u64::MAX;
        self.dip = Dip::None;
    }

    /// Until a queue appears the flows' own windows govern: they double each round trip.
    fn start(&mut self, now: Now, set: &Setting) {
        self.rate = self.meter.rate(self.meter.least() + 8 * MS);
        if now.since(self.peak_began) > PEAK_NS {
            self.peak = [0, self.peak[0]];
            self.peak_began = now;
        }
        self.peak[0] = self.peak[0].max(self.rate);
        if self.meter.busy_samples() < START_SAMPLES || self.meter.queue() <= set.target_ns / 2 {
            return;
        }
        self.mode = Mode::Track;
        self.share.alone(now);
        // Since the queue appeared the link has delivered all that it can; before, what was sent.
        self.rate = self.meter.rate(self.meter.busy_for().max(RATE_LEAST_NS));
        self.hold_for(now, self.wanted(set.target_ns), self.meter.least() + set.target_ns);
        self.track(now, set);
    }

    fn track(&mut self, now: Now, set: &Setting) {
        let least = self.meter.least();
        let busy = self.meter.is_busy();
        // Behind a long way back everything is known late: slower, and with more in hand.
        let late = (self.meter.up().saturating_sub(LATE_NS) / 2).min(LATE_MOST_NS);
        let window = RATE_NS.max(least / 4 * 3) + late;
        let longest = window.min(least + set.target_ns + late).max(RATE_LEAST_NS);
        self.rate = self.meter.rate(if busy { self.meter.busy_for().clamp(RATE_LEAST_NS, longest) } else { window });
        // Where nothing waits, as much again may leave each round trip. After a dip nothing waits for another reason.
        let rise = !busy && now > self.hold_until.after_ns(least);
        let ahead = if rise { least.clamp(set.target_ns, RISE * set.target_ns) } else { set.target_ns };
        self.budget = self.wanted(ahead + late);
        if now < self.hold_until {
            self.budget = self.budget.max(self.hold);
        }
        if self.others_fill(now) {
            return self.give_way(now, true);
        }
        self.look(now, set);
    }

    /// The queue aimed at, ns: short where the rate is steady, longer where it swings, and longer by far where the link
    /// goes out time and again: what waits in it then is there when it comes back.
    fn target(&self, set: &Setting) -> u64 {
        let tenth = set.target_ns / 10;
        let swings = (4 * tenth + 25 * tenth * self.meter.swing() / 256).min(9 * tenth);
        swings + (self.meter.outages() / OUTAGES_PART).min(OUTAGES_MOST * set.target_ns)
    }

    fn wanted(&self, ahead: u64) -> u64 {
        bytes_in(self.rate, self.meter.least() + self.meter.up() + ahead).max(LEAST)
    }

    fn hold_for(&mut self, now: Now, budget: u64, ns: u64) {
        self.hold = budget;
        self.hold_until = now.after_ns(ns);
    }

    /// Makes a dip when one is due.
    fn look(&mut self, now: Now, set: &Setting) {
        if self.dip == Dip::None {
            if self.meter.long_since.is_none() {
                self.undoubted = if self.meter.swing() < STEADY { self.budget } else { 0 };
            }
            let since = |t: Option<Now>| t.is_some_and(|t| now.since(t) > DOUBT_NS + 2 * self.meter.rtt);
            // On a steady link the budget has no reason to shrink at all.
            let shrunk = self.budget < self.undoubted / 4 * 3;
            let doubt = since(self.meter.far_since) || shrunk && since(self.meter.long_since);
            let due = doubt || now.since(self.meter.near_least) > DIP_EVERY_NS;
            if !due || bytes_in(self.rate, self.meter.least()) < DIP_LEAST {
                return;
            }
            self.dip = Dip::first(&self.meter);
            self.hold = self.budget;
        }
        match self.dip.step(now, &self.meter, self.rate, self.in_flight) {
            Some(Found::Known(ns)) => self.found(now, set, ns),
            Some(Found::Longer(ns)) => {
                self.longer = ns;
                self.longer_times += 1;
                if self.longer_times < LONGER_TIMES || self.foreign.is_told() {
                    // The delay that was not ours has made the budget smaller and smaller: back to what it was, and
                    // as much more as the path is longer.
                    let least = self.meter.least().max(MS);
                    let before = u128::from(self.undoubted) * u128::from(ns) / u128::from(least);
                    self.hold = self.hold.max(before.min(1 << 40) as u64);
                    self.found(now, set, ns);
                } else {
                    self.probe = Probe::new(now);
                    self.give_way(now, false);
                }
            }
            Some(Found::Slower) => self.meter.forget_doubt(now),
            None => {}
        }
        if let Some(budget) = self.dip.budget(&self.meter, self.rate, self.hold) {
            self.budget = budget;
        }
    }

    fn found(&mut self, now: Now, set: &Setting, least: u64) {
        self.meter.set_least(now, least);
        self.hold_for(now, self.hold, least + self.meter.up() + set.target_ns);
    }

    /// Others are known to send, and the round trip is long.
    fn others_fill(&self, now: Now) -> bool {
        let long = self.meter.far_since.is_some_and(|t| now.since(t) > OTHERS_NS + self.meter.rtt);
        long && self.others(now, self.rate / 8)
    }

    /// Others send more than so many bytes a second towards the phone; or the phone sends much, and its clock does not
    /// tell what waits behind that.
    fn others(&self, now: Now, rate: u64) -> bool {
        let blind = !self.meter.knows_way_back();
        self.foreign.rate(now) > rate.max(OTHERS_LEAST) || blind && self.uplink.rate(now) > UPLINK_LEAST
    }

    /// The flows' own windows govern from now on.
    fn give_way(&mut self, now: Now, told: bool) {
        self.told = told;
        self.mode = Mode::Compete;
        self.dip = Dip::None;
        self.budget = u64::MAX;
        self.probe.begin(now);
        self.share.begin(now);
        self.carries = self.meter.rate(rate::LONGEST);
        self.looked = now;
    }

    fn compete(&mut self, now: Now, set: &Setting) {
        self.rate = self.meter.rate(self.meter.whole_rtt.max(RATE_NS));
        let alone = if self.told {
            self.budget = self.beside_others(now, set);
            !self.others(now, self.rate / 16)
        } else {
            let alone = self.probe.step(now, self.in_flight, &self.meter);
            self.budget = self.probe.budget();
            alone
        };
        if alone || self.meter.queue() == 0 {
            self.mode = Mode::Track;
            self.share.alone(now);
            self.meter.forget_doubt(now);
        }
    }

    /// A share of what others have in flight towards the phone; where nobody has any, what waits is taken to wait on the
    /// way back.
    fn beside_others(&mut self, now: Now, set: &Setting) -> u64 {
        match self.foreign.rate(now) {
            theirs if theirs < OTHERS_LEAST => self.behind_uplink(now, set),
            theirs => self.share.budget(now, theirs, self.meter.whole_rtt).max(LEAST),
        }
    }

    /// What the link carried before in a round trip as it is now, and the queue aimed at; but for a sixteenth, by which
    /// a queue of our own in that round trip shrinks each time instead of being covered for ever.
    fn behind_uplink(&mut self, now: Now, set: &Setting) -> u64 {
        if now.since(self.looked) > BEHIND_EVERY_NS {
            self.looked = now;
            self.carries -= self.carries.saturating_sub(self.rate) / BEHIND_PART;
        }
        self.carries = self.carries.max(self.meter.rate(rate::LONGEST));
        let round = self.meter.whole_rtt;
        bytes_in(self.carries, round - round / BEHIND_PART + set.target_ns).max(LEAST)
    }

    /// Bytes of the subscriber's passed beside the engine.
    pub fn on_foreign(&mut self, now: Now, down: u64, up: u64) {
        self.foreign.add(now, down);
        self.uplink.add(now, up);
        let theirs = self.foreign.rate(now);
        self.share.told(now, theirs.saturating_sub(OTHERS_LEAST), (self.mode == Mode::Start).then_some(self.rate));
    }

    /// The phone sent so much payload.
    pub fn on_uplink(&mut self, now: Now, bytes: u32) {
        self.uplink.add(now, u64::from(bytes));
    }

    /// Bytes were found lost.
    pub fn on_lost(&mut self, now: Now, _bytes: u32) {
        self.last = now;
    }

    /// Bytes left.
    pub fn on_sent(&mut self, now: Now, bytes: u32) {
        self.last = now;
        self.pacer.sent(now, bytes);
    }

    /// Bytes that may leave now, or when, or nothing before something is delivered.
    pub fn allowance(&mut self, now: Now, set: &Setting) -> Result<u32, Option<Now>> {
        if self.in_flight == 0 {
            if now.since(self.last) > IDLE_NS && self.mode == Mode::Track {
                self.start_again();
            }
            self.meter.begin(now);
            self.silence.begin(now, self.meter.whole_rtt);
        }
        // With nothing in flight no ACK would ever come to raise the budget again.
        let budget = if self.in_flight == 0 { self.budget.max(LEAST) } else { self.budget };
        let tracks = self.mode == Mode::Track;
        let credit = if tracks { self.silence.credit(now, self.rate) } else { 0 };
        let room = budget.saturating_add(credit).saturating_sub(self.in_flight);
        if room == 0 {
            return Err(self.silence.look(now).filter(|_| tracks));
        }
        let near = self.mode == Mode::Start && self.meter.least() < NEAR_NS;
        let rate = if near { self.rate.max(self.peak[0]).max(self.peak[1]) } else { self.rate };
        let wish = match self.mode {
            // At once: only the limit for any millisecond holds.
            _ if !set.paced => u64::MAX,
            Mode::Track => {
                // The whole budget within a round trip, and a quarter more.
                let round_us = (self.meter.least() + self.meter.up()).max(MS) / 1_000;
                self.budget.min(1 << 40) * 1_250_000 / round_us
            }
            _ => (rate * 4).max(3_000_000),
        };
        let pace = Pace::new(wish, rate, set.burst_per_ms);
        let tokens = self.pacer.allowance(now, pace).map_err(Some)?;
        Ok(tokens.min(room.min(1 << 30) as u32))
    }

    /// True where the subscriber's own queue is so long that a loss is likely to be an overflow. Beside others whose share
    /// is known it is theirs, and the budget follows them down.
    pub fn link_full(&self, set: &Setting) -> bool {
        match self.mode {
            Mode::Compete => self.budget == u64::MAX,
            _ => self.meter.queue() > 2 * self.target(set).max(set.target_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link of `rate` bytes per second and a round trip of `rtt_ms` without a queue, seen by a sender that always has
    /// something to send, in segments of 1448. Bytes delivered in the last second, and the mean
    /// delay of the queue over the last ten, ms.
    fn run(target_ns: u64, rate: u64, rtt_ms: u64, seconds: u64) -> (u64, u64) {
        let set = Setting { target_ns, burst_per_ms: 20_000, paced: true };
        let mut control = Control::new(Now(0));
        let mut flight: std::collections::VecDeque<(u64, u64)> = Default::default();
        let (mut free_at, mut last, mut queues, mut samples, mut window) = (0, 0, 0, 0, 14_480);
        for us in 0..seconds * 20_000 {
            let now = us * 50_000;
            while flight.front().is_some_and(|f| f.0 <= now) {
                let (_, sent) = flight.pop_front().expect("looked at");
                control.on_delivered(Now(now), &set, 1448, Some(now - sent), None);
                control.in_flight -= 1448;
                window = (window + 1448).min(4_000_000);
                if now >= (seconds - 10) * 1_000 * MS {
                    (queues, samples) = (queues + control.meter.queue() / MS, samples + 1);
                }
                last += if now >= (seconds - 1) * 1_000 * MS { 1448 } else { 0 };
            }
            while control.allowance(Now(now), &set).is_ok() && control.in_flight < window {
                control.on_sent(Now(now), 1448);
                control.in_flight += 1448;
                free_at = now.max(free_at) + 1448 * 1_000_000_000 / rate;
                flight.push_back((free_at + rtt_ms * MS, now));
            }
        }
        (last, queues / samples)
    }

    #[test]
    fn any_target_on_any_link_keeps_it_full_with_a_queue_no_longer_than_that() {
        for target in [20, 50, 500] {
            for (rate, rtt) in [(50_000, 300), (2_500_000, 1), (2_500_000, 50), (3_000_000, 600)] {
                let (bytes, ms) = run(target * MS, rate, rtt, 30);
                let least = LEAST * 1000 / rate;
                assert!(bytes * 100 >= rate * 93, "target {target} ms, {rate} B/s, {rtt} ms: {bytes} bytes");
                assert!(ms <= target.max(25) + least + 10, "target {target} ms, {rate} B/s, {rtt} ms: {ms} ms of queue");
            }
        }
    }

    #[test]
    fn the_least_target_that_can_be_set_costs_goodput_and_nothing_else() {
        let (bytes, _) = run(MS, 2_500_000, 50, 30);
        assert!(bytes > 1_250_000, "{bytes} bytes of 2,500,000");
    }

    #[test]
    fn a_pause_of_our_own_thread_does_not_slow_down_a_near_link() {
        let set = Setting { target_ns: 50 * MS, burst_per_ms: 20_000, paced: true };
        let mut control = Control::new(Now(0));
        let mut now = 0;
        // What leaves reaches the phone 100 us later; it takes 100 bytes per microsecond.
        let mut run = |from: u64, us: u64| {
            now = now.max(from);
            let (mut flight, mut sent) = (std::collections::VecDeque::new(), 0);
            let end = now + us * 1_000;
            while now < end {
                now += 14_480;
                if control.allowance(Now(now), &set).is_ok() {
                    control.on_sent(Now(now), 1448);
                    flight.push_back(now);
                    sent += 1448;
                }
                while flight.front().is_some_and(|at| at + 100_000 <= now) {
                    flight.pop_front();
                    control.on_delivered(Now(now), &set, 1448, Some(100_000), None);
                }
            }
            (now, sent)
        };
        let (mut at, _) = run(0, 300_000);
        for _ in 0..5 {
            let (end, sent) = run(at + 20 * MS, 5_000);
            assert!(sent > 400_000, "{sent} bytes in the 5 ms after a pause");
            at = end;
        }
    }

    #[test]
    fn a_control_without_samples_lets_the_flows_own_windows_govern() {
        let set = Setting { target_ns: 50 * MS, burst_per_ms: 20_000, paced: true };
        let mut control = Control::new(Now(0));
        assert_eq!((control.mode, control.budget), (Mode::Start, u64::MAX));
        assert!(control.allowance(Now(MS), &set).is_ok());
        assert!(!control.link_full(&set));
    }
}
