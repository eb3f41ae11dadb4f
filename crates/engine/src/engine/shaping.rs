//! Rates: flows and datagrams of a subscriber that wait for theirs.

use smartwire_packet::outer_vlan;

use super::*;
use crate::flow::parsed::slice;
use crate::policy::Question;
use crate::subscriber::{Datagram, Served};

impl Engine {
    /// Serves a subscriber that has rates: its flows as any, and what waits for a rate as that lets go. When to come back.
    pub(super) fn pump_shaped<I: Io>(&mut self, now: Now, sub: u32, own: u32, io: &mut I) -> Option<Now> {
        for _ in 0..TURNS {
            let at = self.pump(now, sub, own, io);
            match self.sh.subs.serve(now, sub) {
                Served::Datagram(datagram) => self.send_datagram(now, sub, &datagram, io),
                // Its turn comes.
                Served::Flow => {}
                Served::Nothing(rate_at) => return at.into_iter().chain(rate_at).min(),
            }
        }
        Some(now.after_ns(1))
    }

    fn send_datagram<I: Io>(&mut self, now: Now, sub: u32, datagram: &Datagram, io: &mut I) {
        self.sh.stats.forwarded += 1;
        self.sh.stats.frames_out += 1;
        self.sh.stats.bytes_out += u64::from(datagram.len);
        io.send(datagram.port, datagram.frame, datagram.off, datagram.len);
        io.release(datagram.frame);
        self.sh.subs.on_datagram(now, sub, u64::from(datagram.len));
    }

    /// An active flow shares the rate of its policy, if that has one.
    pub(super) fn shape(&mut self, now: Now, id: u32, handle: u32) {
        let (sub, policy) = (self.records[id].sub, self.records[id].policy);
        let rate = self.sh.policies.table().get(policy).and_then(|policy| policy.rate);
        if self.sh.subs.shape(now, sub, handle, rate.map(|rate| (policy, rate))) {
            self.pace_wheel.arm(now, sub, now.after_ns(1));
        }
    }

    /// UDP: what goes to a subscriber whose policy has a rate waits for that.
    pub(super) fn datagram<I: Io>(&mut self, now: Now, parsed: &Parsed, io: &mut I) -> Fared {
        let bytes = slice(io.bytes(parsed.rx.frame), parsed.rx.off, parsed.rx.len);
        let layers = &parsed.layers;
        let (src, dst) = (layers.src(bytes), layers.dst(bytes));
        let (src_port, dst_port) = layers.ports(bytes).unwrap_or((0, 0));
        let side = parsed.rx.port.side();
        let key = parsed::key(side, src, dst, src_port, dst_port, layers.scope(bytes, self.scope_seed));
        let question = Question::of(&key, outer_vlan(bytes));
        let who = parsed::subscriber(&key, &self.sh.cfg);
        let len = parsed.rx.len;
        let table = self.sh.policies.table();
        let policy = if side == Side::Core { table.resolve(&question) } else { None };
        let rate = policy.and_then(|policy| Some((policy, table.get(policy)?.rate?)));
        let Some((sub, shaper)) = rate.and_then(|(policy, rate)| self.sh.subs.shaper_of(now, who, policy, rate)) else {
            // It fills the same radio queues as what is optimized.
            let (down, up) = if side == Side::Core { (u64::from(len), 0) } else { (0, u64::from(len)) };
            self.sh.subs.on_foreign(now, &who, down, up);
            return Fared::Passes;
        };
        if self.sh.subs.passes(now, shaper, u32::from(len)) {
            self.sh.subs.on_datagram(now, sub, u64::from(len));
            return Fared::Passes;
        }
        let room = self.sh.memory.rung < 2 && self.sh.subs.has_room(shaper, u32::from(len));
        if !room || !io.hold(parsed.rx.frame) {
            self.sh.stats.datagrams_dropped += 1;
            return Fared::Dropped;
        }
        self.sh.stats.datagrams_waited += 1;
        let Rx { frame, off, port, .. } = parsed.rx;
        self.sh.subs.enqueue(shaper, Datagram { frame, off, len, port: port.peer() });
        self.pump_subscriber(now, sub, NONE, io);
        Fared::Held
    }
}

/// What became of a datagram.
pub(super) enum Fared {
    /// It goes on at once.
    Passes,
    /// Its frame is held.
    Held,
    /// There was no room for it.
    Dropped,
}
