//! From a handshake to a flow, or to a reason why not.

use smartwire_packet::build::Template;
use smartwire_packet::outer_vlan;
use smartwire_packet::tcp::{Flags, Kinds, TcpMut};

use super::*;
use crate::api::Csum;
use crate::flow::record::flag;
use crate::policy::{Question, Service, NO_POLICY};
use crate::recv::Receiver;
use crate::send::Sender;

/// What timestamps take from a segment's payload, bytes.
const TS_BYTES: u16 = 12;

/// What a flow needs of memory to be worth optimizing: half as much again as an initial window, bytes.
const LEAST_SHARE: u64 = 22_000;

impl Engine {
    /// A segment of no optimized flow: forwarded untouched, but for the one that makes a flow of it. True if it is held.
    pub(super) fn admit<I: Io>(&mut self, now: Now, parsed: &Parsed, s: &Segment, io: &mut I) -> bool {
        let syn = s.flags.contains(Flags::SYN);
        let clamped = syn.then(|| self.clamp(parsed, s, io)).flatten();
        let s = clamped.as_ref().unwrap_or(s);
        if syn {
            self.sh.stats.syns += 1;
            if !s.flags.contains(Flags::ACK) {
                self.refused.forget(parsed.hash);
                self.dead.forget(parsed.hash);
            }
        } else if !s.flags.contains(Flags::RST) && self.dead.knows(now, parsed.hash) && verified(s, io) {
            self.sh.stats.unacceptable += 1;
            return false;
        }
        if let Some(agreed) = self.handshake(now, parsed, s, io) {
            if let Some(id) = self.open(now, parsed, &agreed, io) {
                let kept = self.on_segment(now, id, s, io).kept;
                self.cool(now, id);
                return kept;
            }
        }
        self.sh.stats.not_optimized += 1;
        self.sh.stats.not_optimized_bytes += u64::from(s.len);
        if s.len > 0 {
            // It fills the same radio queues as what is optimized.
            let who = parsed::subscriber(&parsed.key, &self.sh.cfg);
            let bytes = u64::from(s.frame_len);
            let (down, up) = if s.port.side() == Side::Core { (bytes, 0) } else { (0, bytes) };
            self.sh.subs.on_foreign(now, &who, down, up);
        }
        self.forward(parsed, io);
        false
    }

    /// Makes a handshake announce no larger segments than its policy allows: the one change that a SYN may suffer, and
    /// none if nothing has to change. The segment as it is then.
    fn clamp<I: Io>(&self, parsed: &Parsed, s: &Segment, io: &mut I) -> Option<Segment> {
        let table = self.sh.policies.table();
        if !table.clamps() || self.sh.cfg.observe {
            return None;
        }
        let policy = table.get(table.resolve(&self.question(parsed, io)?)?)?;
        let most = policy.mss[s.side as usize].filter(|most| s.options.mss.is_some_and(|mss| mss > *most))?;
        // TCP-AO signs the options (RFC 5925 section 5.1), TCP-MD5 does not, but who signs wants to be left alone.
        let signed = s.options.kinds.0 & (Kinds::MD5.0 | Kinds::AO.0) != 0;
        let who = parsed::subscriber(&parsed.key, &self.sh.cfg);
        if policy.service != Service::Wire || signed || self.is_bypassed(&parsed.key, &who) {
            return None;
        }
        if !verified(s, io) {
            return None;
        }
        let range = usize::from(s.off)..usize::from(s.off) + usize::from(s.frame_len);
        let mut tcp = TcpMut::new(io.bytes_mut(s.frame)?.get_mut(range)?, &s.layers)?;
        if !tcp.set_mss(most) {
            return None;
        }
        let mut clamped = *s;
        clamped.options.mss = Some(most);
        Some(clamped)
    }

    /// What the segment means for a handshake.
    fn handshake<I: Io>(&mut self, now: Now, parsed: &Parsed, s: &Segment, io: &I) -> Option<Agreed> {
        if self.refused.knows(parsed.hash) {
            return None;
        }
        if !verified(s, io) {
            self.sh.stats.bad_checksum += 1;
            return None;
        }
        if s.layers.ip_options {
            self.refuse_once(now, parsed, RefuseReason::IpOptions);
            return None;
        }
        let seg = HsSegment {
            seq: s.seq,
            ack: s.ack,
            flags: s.flags,
            window: s.window,
            len: s.len,
            options: s.options,
        };
        match self.handshakes.on_segment(now, &parsed.key, s.port, &seg) {
            Step::Open(agreed) => return Some(agreed),
            Step::Refuse(reason) => self.refuse_once(now, parsed, reason),
            Step::Unknown if !s.flags.contains(Flags::RST) => self.refuse_once(now, parsed, RefuseReason::MidStream),
            Step::Watch if s.flags.contains(Flags::SYN | Flags::ACK) => self.learn_answer(parsed, s, io),
            Step::Unknown | Step::Watch => {}
        }
        None
    }

    fn refuse_once(&mut self, now: Now, parsed: &Parsed, reason: RefuseReason) {
        if self.refused.add(parsed.hash) {
            self.refuse(now, &parsed.key, reason);
        }
    }

    pub(super) fn refuse(&mut self, now: Now, key: &FlowKey, reason: RefuseReason) {
        self.sh.stats.refused[reason as usize] += 1;
        self.event(now, key, EventKind::Refused(reason));
    }

    pub(super) fn event(&mut self, now: Now, key: &FlowKey, kind: EventKind) {
        if !self.sh.events.push(Event { now, key: *key, kind }) {
            self.sh.stats.events_lost += 1;
        }
    }

    /// Makes a flow of a complete handshake, if nothing speaks against it.
    fn open<I: Io>(&mut self, now: Now, parsed: &Parsed, agreed: &Agreed, io: &mut I) -> Option<u32> {
        match self.make(now, parsed, agreed, io) {
            Ok(id) => Some(id),
            Err(reason) => {
                self.refuse_once(now, parsed, reason);
                None
            }
        }
    }

    /// The subscriber of a connection that may be optimized, or why it may not.
    fn may(&self, parsed: &Parsed, agreed: &Agreed, policy: u16) -> Result<SubscriberKey, RefuseReason> {
        let key = &parsed.key;
        if self.sh.cfg.observe {
            return Err(RefuseReason::Observing);
        }
        let who = parsed::subscriber(key, &self.sh.cfg);
        if self.is_bypassed(key, &who) {
            return Err(RefuseReason::Bypassed);
        }
        if self.sh.policies.table().get(policy).is_some_and(|policy| policy.service != Service::Wire) {
            return Err(RefuseReason::Policy);
        }
        // A flow more must find room for an initial window (RFC 6928) in its fair part of what is free.
        let promised = u64::from(agreed.window[0]) + u64::from(agreed.window[1]);
        if self.sh.memory.rung >= 1 || self.sh.fair() < LEAST_SHARE || !self.sh.fits(promised) {
            return Err(RefuseReason::LowMemory);
        }
        if self.records.is_full() {
            return Err(RefuseReason::TableFull);
        }
        Ok(who)
    }

    /// What policies look at, of the connection that a frame is of; nothing where there are none.
    fn question<I: Io>(&self, parsed: &Parsed, io: &I) -> Option<Question> {
        if self.sh.policies.table().is_empty() {
            return None;
        }
        let vlan = outer_vlan(parsed::slice(io.bytes(parsed.rx.frame), parsed.rx.off, parsed.rx.len));
        Some(Question::of(&parsed.key, vlan))
    }

    fn make<I: Io>(&mut self, now: Now, parsed: &Parsed, agreed: &Agreed, io: &mut I) -> Result<u32, RefuseReason> {
        let key = &parsed.key;
        let policy = self.question(parsed, io).map_or(NO_POLICY, |q| self.sh.policies.decide(&q));
        let who = self.may(parsed, agreed, policy)?;
        let [towards_access, towards_core] = self.learn_paths(parsed, agreed, io)?;
        let Some(sub) = self.sh.subs.open(who) else {
            self.sh.paths.give(towards_access.0);
            self.sh.paths.give(towards_core.0);
            return Err(RefuseReason::TableFull);
        };
        let of = self.sh.policies.table().get(policy);
        self.sh.subs.treat(sub, of.and_then(|of| of.target_ns), of.is_none_or(|of| of.pacing));
        let ts = if agreed.ts { TS_BYTES } else { 0 };
        let mut flags = 0;
        for (on, bit) in [
            (agreed.sack, flag::SACK),
            (agreed.ts, flag::TS),
            (agreed.ecn, flag::ECN),
            (agreed.initiator == Side::Core, flag::CORE_CLIENT),
        ] {
            flags |= if on { bit } else { 0 };
        }
        let mut rec = Record {
            isn: agreed.isn,
            path: [towards_access.0, towards_core.0],
            label: [towards_access.1, towards_core.1],
            sub,
            last_ms: (now.0 / 1_000_000) as u32,
            mss: agreed.mss.map(|mss| mss.saturating_sub(ts).max(1)),
            policy,
            shift: agreed.shift,
            port: [agreed.port[1].peer().0, agreed.port[0].peer().0],
            flags,
            ..Record::empty(*key)
        };
        let rx = [0, 1].map(|s: usize| {
            let right = 1 + u64::from(agreed.window[1 - s]);
            Receiver::new(&rec.recv_params(s), now, 1, 1, right, agreed.ts_val[s])
        });
        let tx = [0, 1].map(|s: usize| {
            let mut tx = Sender::new(&rec.send_params(s), 1, 1 + u64::from(agreed.window[1 - s]));
            if let Some(rtt) = agreed.rtt_ns[1 - s] {
                tx.seed_rtt(now, rtt);
            }
            if s == 1 {
                tx.set_reordering(self.sh.subs.reordering(sub));
            }
            tx
        });
        rec.freeze(&rx, &tx);
        let Ok(id) = self.records.insert(rec) else { unreachable!("not full") };
        self.changed = true;
        if self.index.insert(parsed.hash, id).is_err() {
            self.records.remove(id);
            self.sh.subs.close(sub);
            self.sh.paths.give(towards_access.0);
            self.sh.paths.give(towards_core.0);
            return Err(RefuseReason::TableFull);
        }
        self.idle_wheel.arm(now, id, now.after_ns(self.sh.cfg.idle_ns));
        self.sh.stats.optimized += 1;
        self.event(now, key, EventKind::Optimizing);
        if !agreed.scaled {
            self.sh.stats.found[Finding::NoWindowScaling as usize] += 1;
            self.event(now, key, EventKind::Found(Finding::NoWindowScaling));
        }
        Ok(id)
    }

    /// Headers towards both sides, as path and flow label: those of this segment, and those of the SYN-ACK.
    fn learn_paths<I: Io>(
        &mut self,
        parsed: &Parsed,
        agreed: &Agreed,
        io: &I,
    ) -> Result<[(u32, u32); 2], RefuseReason> {
        let answer = self.answers.take(parsed.hash).ok_or(RefuseReason::Encapsulation)?;
        let bytes = parsed::slice(io.bytes(parsed.rx.frame), parsed.rx.off, parsed.rx.len);
        let template = Template::learn(bytes, &parsed.layers);
        let Some(path) = template.and_then(|template| self.sh.paths.take(&template)) else {
            self.sh.paths.give(answer.0);
            return Err(RefuseReason::Encapsulation);
        };
        let third = (path, parsed.layers.flow_label(bytes));
        // The third segment comes from the initiator and goes towards the other side.
        Ok(match agreed.initiator {
            Side::Access => [answer, third],
            Side::Core => [third, answer],
        })
    }

    /// Remembers the headers of a SYN-ACK.
    fn learn_answer<I: Io>(&mut self, parsed: &Parsed, s: &Segment, io: &I) {
        let bytes = parsed::slice(io.bytes(s.frame), s.off, s.frame_len);
        if let Some(template) = Template::learn(bytes, &s.layers) {
            let label = s.layers.flow_label(bytes);
            self.answers.put(&mut self.sh.paths, parsed.hash, &template, label);
        }
    }
}

/// Is the segment undamaged? One that is damaged passes as it came, whatever it seems to say.
fn verified<I: Io>(s: &Segment, io: &I) -> bool {
    s.csum == Csum::Verified || csum::verify(parsed::slice(io.bytes(s.frame), s.off, s.frame_len), &s.layers)
}
