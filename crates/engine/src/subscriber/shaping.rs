//! What a rate means for a subscriber: [`Shapers`](super::shaper::Shapers) beside its budget and its turns.

use super::shaper::{Datagram, Let};
use super::{Subscribers, NO_SHAPER};
use crate::api::{Now, SubscriberKey};
use crate::policy::Rate;

/// What a subscriber's rates let go.
#[derive(Clone, Copy, Debug)]
pub enum Served {
    /// A datagram, which waits no longer.
    Datagram(Datagram),
    /// A flow: its turn comes.
    Flow,
    /// Nothing, until then if anything waits.
    Nothing(Option<Now>),
}

impl Subscribers {
    /// There is another table of policies: its rates are others, whatever their numbers.
    pub fn begin_table(&mut self) {
        self.shapers.begin_table();
    }

    /// The budget aims for so much queueing delay from now on, ns (`None`: what the wire's does), and what it lets go is
    /// paced or not: as the policy of the connection that began last says.
    pub fn treat(&mut self, sub: u32, target_ns: Option<u64>, paced: bool) {
        let record = &mut self.records[sub];
        record.target_us = target_ns.map_or(0, |ns| (ns / 1_000).clamp(1, 10_000_000) as u32);
        record.unpaced = !paced;
    }

    /// True where the subscriber has a rate.
    #[inline]
    pub fn is_shaped(&self, sub: u32) -> bool {
        !self.shapers.is_empty() && self.records.get(sub).is_some_and(|record| record.shaper != NO_SHAPER)
    }

    /// Datagrams that wait.
    pub fn datagrams(&self) -> u32 {
        self.shapers.held()
    }

    /// The flow shares the rate of a policy with all others of its subscriber from now on; without one it is not shaped.
    /// True if it waited for another rate, and could leave now.
    pub fn shape(&mut self, now: Now, sub: u32, flow: u32, rate: Option<(u16, Rate)>) -> bool {
        let parked = self.shapers.detach(flow);
        if let Some(shaper) = rate.and_then(|(policy, rate)| self.shaper(now, sub, policy, rate)) {
            self.shapers.attach(flow, shaper);
        }
        if parked {
            self.ready(now, sub, flow);
        }
        parked
    }

    /// The shaper of whoever gets a datagram, and whose it is. `None`: there is no room for one more.
    pub fn shaper_of(&mut self, now: Now, who: SubscriberKey, policy: u16, rate: Rate) -> Option<(u32, u32)> {
        let sub = self.find(&who).or_else(|| self.enter(who))?;
        self.records[sub].used = true;
        self.shaper(now, sub, policy, rate).map(|shaper| (sub, shaper))
    }

    fn shaper(&mut self, now: Now, sub: u32, policy: u16, rate: Rate) -> Option<u32> {
        if let Some((idle, of)) = self.shapers.idle(now).filter(|(_, of)| *of != sub) {
            self.shapers.remove(idle, &mut self.records[of].shaper);
        }
        self.shapers.of(now, &mut self.records[sub].shaper, sub, policy, rate)
    }

    /// The datagram leaves at once; it is charged.
    pub fn passes(&mut self, now: Now, shaper: u32, bytes: u32) -> bool {
        self.shapers.passes(now, shaper, bytes)
    }

    /// There is room for it in the queue.
    pub fn has_room(&self, shaper: u32, bytes: u32) -> bool {
        self.shapers.has_room(shaper, bytes)
    }

    /// It waits, in a place that there is.
    pub fn enqueue(&mut self, shaper: u32, datagram: Datagram) {
        self.shapers.enqueue(shaper, datagram);
    }

    /// A frame of the flow left towards the access side.
    pub fn on_wire(&mut self, now: Now, flow: u32, bytes: u32) {
        if !self.shapers.is_empty() {
            self.shapers.on_wire(now, flow, bytes);
        }
    }

    /// Custody that the flow may have at its rate: its sender's round trip is `rtt_ns`. `None` without a limit.
    pub fn custody(&self, flow: u32, rtt_ns: u64) -> Option<u32> {
        if self.shapers.is_empty() { None } else { self.shapers.custody(flow, rtt_ns) }
    }

    /// So many bytes of datagrams left towards the subscriber: they fill the same radio queue.
    pub fn on_datagram(&mut self, now: Now, sub: u32, bytes: u64) {
        if let Some(control) = self.controls.get_mut(self.records[sub].control) {
            control.on_foreign(now, bytes, 0);
        }
    }

    /// What the subscriber's rates let go: a datagram, or a flow, which is ready then. Nothing: when to ask again.
    pub fn serve(&mut self, now: Now, sub: u32) -> Served {
        let (mut shaper, mut soonest) = (self.records[sub].shaper, None);
        while shaper != NO_SHAPER {
            match self.shapers.serve(now, shaper) {
                Let::Nothing(at) => soonest = soonest.into_iter().chain(at).min(),
                Let::Flow(flow) => {
                    self.ready(now, sub, flow);
                    return Served::Flow;
                }
                Let::Datagram(datagram) => return Served::Datagram(datagram),
            }
            shaper = self.shapers.after(shaper);
        }
        Served::Nothing(soonest)
    }
}
