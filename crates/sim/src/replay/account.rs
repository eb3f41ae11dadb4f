//! What is noticed about one connection of a capture.

use std::net::Ipv6Addr;

use serde::Serialize;
use smartwire_engine::{RefuseReason, Side, StopReason};

use crate::codec::{Tcp, ACK, SYN};

/// Access address and port, core address and port.
pub(super) type Key = (Ipv6Addr, u16, Ipv6Addr, u16);

/// The key of a segment that comes from `side`.
pub(super) fn key(side: Side, t: &Tcp<'_>) -> Key {
    match side {
        Side::Access => (t.ip.src, t.sport, t.ip.dst, t.dport),
        Side::Core => (t.ip.dst, t.dport, t.ip.src, t.sport),
    }
}

/// One direction, by the side that it comes from.
#[derive(Clone, Debug, Default)]
struct Direction {
    mss: Option<u16>,
    scale: Option<u8>,
    sack: bool,
    ts: bool,
    syn: bool,
    isn: u32,
    payload: u64,
    /// End of what was sent, and what was sent again below it.
    high: Option<u32>,
    repeated: u64,
    largest: usize,
    /// Payload before the first acknowledgement of any: the initial window.
    first_flight: u64,
    first_flight_over: bool,
    /// Highest acknowledgement of this direction's bytes that its receiver sent, and that the engine would have shown.
    acked: Option<u32>,
    told: Option<u32>,
    early_acks: u64,
    furthest_ahead: u32,
    largest_window: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    from: [Direction; 2],
    pub(super) optimized: bool,
    pub(super) refused: Option<RefuseReason>,
    pub(super) stopped: Option<StopReason>,
    first_ns: Option<u64>,
    last_ns: u64,
}

/// One connection.
#[derive(Clone, Debug, Serialize)]
pub struct FlowReport {
    /// Address of the access side.
    pub access_addr: String,
    /// Its port.
    pub access_port: u16,
    /// Address of the core side.
    pub core_addr: String,
    /// Its port.
    pub core_port: u16,
    /// First frame, seconds from the capture's start.
    pub start_s: f64,
    /// From the first frame to the last.
    pub seconds: f64,
    /// "optimized", "refused", or "undecided" where the capture holds no whole handshake and no data.
    pub verdict: &'static str,
    /// Why it was refused, or stopped being optimized.
    pub reason: Option<String>,
    /// The same in a sentence.
    pub why: Option<&'static str>,
    /// Payload towards the access side and from it.
    pub down_bytes: u64,
    /// Payload from the access side.
    pub up_bytes: u64,
    /// Payload that the ends sent more than once, both directions.
    pub repeated_bytes: u64,
    /// Acknowledgements that would have reached a sender before its receiver's own, both directions.
    pub early_acks: u64,
    /// How far the furthest of them was ahead.
    pub furthest_ahead_bytes: u32,
    /// What an operator should know about the ends.
    pub findings: Vec<String>,
}

impl Account {
    pub(super) fn came_in(&mut self, now: u64, side: Side, t: &Tcp<'_>) {
        self.first_ns.get_or_insert(now);
        self.last_ns = now;
        let [a, c] = &mut self.from;
        let (own, other) = if side == Side::Access { (a, c) } else { (c, a) };
        if t.seg.has(SYN) {
            own.mss = t.seg.opts.mss;
            own.scale = t.seg.opts.ws;
            own.sack = t.seg.opts.sack_ok;
            own.ts = t.seg.opts.ts.is_some();
            (own.syn, own.isn) = (true, t.seg.seq);
        }
        own.sent(t);
        if t.seg.has(ACK) {
            let later = other.acked.is_none_or(|acked| t.seg.ack.wrapping_sub(acked) as i32 > 0);
            if later {
                other.acked = Some(t.seg.ack);
            }
            other.first_flight_over |= other.payload > 0 && t.seg.ack != other.isn.wrapping_add(1);
            let shift = if t.seg.has(SYN) { 0 } else { own.scale.unwrap_or(0).min(14) };
            own.largest_window = own.largest_window.max(u64::from(t.seg.window) << shift);
        }
    }

    pub(super) fn went_out(&mut self, side: Side, t: &Tcp<'_>) {
        if !t.seg.has(ACK) || t.seg.has(SYN) {
            return;
        }
        let stream = &mut self.from[side as usize];
        let Some(acked) = stream.acked else { return };
        let ahead = t.seg.ack.wrapping_sub(acked);
        let news = stream.told.is_none_or(|told| t.seg.ack.wrapping_sub(told) as i32 > 0);
        if news {
            stream.told = Some(t.seg.ack);
            if ahead as i32 > 0 {
                stream.early_acks += 1;
                stream.furthest_ahead = stream.furthest_ahead.max(ahead);
            }
        }
    }

    fn findings(&self) -> Vec<String> {
        let mut found = Vec::new();
        let names = ["access side", "core side"];
        for (i, own) in self.from.iter().enumerate().filter(|(_, d)| d.syn) {
            let (who, other) = (names[i], &self.from[1 - i]);
            if own.scale.is_none() {
                found.push(format!("the {who} offers no window scaling: at most 64 kB are on their way to it"));
            }
            if !own.sack {
                found.push(format!("the {who} offers no SACK"));
            }
            if !own.ts {
                found.push(format!("the {who} offers no timestamps"));
            }
            if let Some(mss) = other.mss.filter(|&mss| own.largest > usize::from(mss)) {
                found.push(format!("the {who} sends segments of {} bytes to an end that takes {mss}", own.largest));
            }
            let segment = u64::from(other.mss.unwrap_or(536)).max(1);
            let window = own.first_flight.div_ceil(segment);
            if own.first_flight_over && own.payload > 10 * segment && window <= 4 {
                found.push(format!("the {who} begins with {window} segments (10 are allowed, RFC 6928)"));
            }
            if own.largest_window > 0 && own.largest_window < 65_536 && other.payload > 1_000_000 {
                found.push(format!("the {who} never opens its window beyond {} bytes", own.largest_window));
            }
        }
        if let (Some(a), Some(c)) = (self.from[0].mss, self.from[1].mss) {
            if a.abs_diff(c) >= 40 {
                found.push(format!("segment sizes differ: {a} announced by the access side, {c} by the core side"));
            }
        }
        found
    }

    pub(super) fn report(&self, key: &Key) -> FlowReport {
        let [up, down] = &self.from;
        let show = |a: Ipv6Addr| a.to_ipv4_mapped().map_or(a.to_string(), |v4| v4.to_string());
        let first = self.first_ns.unwrap_or(0);
        let stop = self.stopped.map(|s| (s.name(), s.text()));
        let reason = self.refused.map(|r| (r.name(), r.text())).or(stop);
        FlowReport {
            access_addr: show(key.0),
            access_port: key.1,
            core_addr: show(key.2),
            core_port: key.3,
            start_s: first as f64 / 1e9,
            seconds: (self.last_ns - first) as f64 / 1e9,
            verdict: match (self.optimized, self.refused) {
                (true, _) => "optimized",
                (false, Some(_)) => "refused",
                _ => "undecided",
            },
            reason: reason.as_ref().map(|r| r.0.clone()),
            why: reason.map(|r| r.1),
            down_bytes: down.payload,
            up_bytes: up.payload,
            repeated_bytes: up.repeated + down.repeated,
            early_acks: up.early_acks + down.early_acks,
            furthest_ahead_bytes: up.furthest_ahead.max(down.furthest_ahead),
            findings: self.findings(),
        }
    }
}

impl Direction {
    fn sent(&mut self, t: &Tcp<'_>) {
        let len = t.payload.len();
        if len == 0 {
            return;
        }
        self.payload += len as u64;
        self.largest = self.largest.max(len);
        let end = t.seg.seq.wrapping_add(len as u32);
        let known = self.high.map_or(0, |high| high.wrapping_sub(t.seg.seq) as i32);
        self.repeated += u64::from(known.clamp(0, len as i32) as u32);
        if self.high.is_none_or(|high| end.wrapping_sub(high) as i32 > 0) {
            self.high = Some(end);
        }
        if !self.first_flight_over {
            self.first_flight += len as u64;
        }
    }
}
