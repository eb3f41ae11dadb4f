//! What the taps know of one stream, and of the endpoint that it comes from.

use std::collections::HashSet;

use crate::codec::{Tcp, FIN, RST, SYN};
use crate::crossings::Ranges;

/// The stream from one endpoint, as seen at the wire. Offsets: 0 is its SYN, 1 its first byte.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) isn: Option<u32>,
    /// What came in intact.
    arrived: Ranges,
    /// What came in more than once.
    repeated: Ranges,
    /// End of what left in its name.
    left: u64,
    high: u64,
    fin: Option<u64>,
    /// Timestamp values that its endpoint really sent.
    values: HashSet<u32>,
    /// It offered timestamps; its window shift.
    ts: bool,
    shift: Option<u8>,
    /// The newest timestamp value that left in its name.
    value_out: Option<u32>,
    /// Highest acknowledgement that left towards its endpoint, and right edge.
    pub(super) told_ack: u64,
    told_right: u64,
    /// Highest acknowledgement that came from its endpoint, of the other stream.
    pub(super) acked: u64,
    /// How far its endpoint has acknowledged what has left, and the same before the present batch.
    has: u64,
    had: u64,
    /// The highest right edge that its endpoint has shown for the other stream.
    promised: u64,
}

impl Stream {
    /// Is this the SYN of another connection?
    pub(super) fn is_other_syn(&self, seq: u32) -> bool {
        self.isn.is_some_and(|isn| isn != seq)
    }

    fn offset(&self, seq: u32, near: u64) -> u64 {
        let isn = self.isn.unwrap_or(seq);
        let delta = seq.wrapping_sub(isn.wrapping_add(near as u32)) as i32;
        near.wrapping_add_signed(i64::from(delta))
    }

    /// A segment of its endpoint came in intact. Returns how many payload bytes are new.
    pub(super) fn on_in(&mut self, t: &Tcp<'_>) -> u64 {
        if t.seg.has(SYN) {
            self.isn = Some(t.seg.seq);
            self.ts = t.seg.opts.ts.is_some();
            self.shift = t.seg.opts.ws;
        }
        let start = self.offset(t.seg.seq, self.high).wrapping_add(u64::from(t.seg.has(SYN)));
        // What lies far off is no part of the stream, and nothing is to be learned from it.
        if self.isn.is_some() && start > self.high + (1 << 30) {
            return 0;
        }
        if let Some((value, _)) = t.seg.opts.ts {
            self.values.insert(value);
        }
        if t.seg.has(RST) || self.isn.is_none() {
            return 0;
        }
        let end = start + t.payload.len() as u64;
        if t.seg.has(SYN) {
            return 0;
        }
        if end > start {
            self.high = self.high.max(end);
        }
        if t.seg.has(FIN) {
            self.fin = Some(end);
        }
        let again: Vec<_> = self.arrived.spans().iter().map(|s| (s.0.max(start), s.1.min(end))).filter(|s| s.0 < s.1).collect();
        again.into_iter().for_each(|(start, end)| {
            self.repeated.add(start, end);
        });
        end - start - self.arrived.add(start, end)
    }

    /// The end of what came in without a gap, FIN included.
    fn contiguous(&self) -> u64 {
        let end = self.arrived.spans().first().filter(|s| s.0 <= 1).map_or(1, |s| s.1);
        end + u64::from(self.fin == Some(end))
    }

    /// An acknowledgement of `other` came from this stream's endpoint.
    pub(super) fn note_ack(&mut self, t: &Tcp<'_>, other: &Stream) {
        if other.isn.is_some() {
            let ack = other.offset(t.seg.ack, self.acked.max(other.told_ack));
            if ack <= other.high + 2 {
                self.acked = self.acked.max(ack);
                // Who acknowledges what has not left is not believed.
                self.has = self.has.max(if ack <= other.left { ack } else { 0 });
                let scaled = !t.seg.has(SYN) && other.shift.is_some();
                let shift = self.shift.filter(|_| scaled).unwrap_or(0);
                self.promised = self.promised.max(ack + (u64::from(t.seg.window) << shift));
            }
        }
    }

    /// The batch is over.
    pub(super) fn settle(&mut self) {
        self.had = self.has;
    }

    /// What leaves in its name while the engine stands in for it, towards the endpoint of `to`.
    pub(super) fn check_place(&self, to: &Stream, t: &Tcp<'_>) -> Result<(), String> {
        let start = self.offset(t.seg.seq, self.left);
        let end = start + t.payload.len() as u64;
        // A keepalive's byte is none of the stream's.
        if end > start + 1 && end > to.promised {
            return Err(format!("bytes {start}..{end} left beyond the window of their receiver, {}", to.promised));
        }
        if end > start + 1 && end <= to.had {
            return Err(format!("bytes {start}..{end} left though their receiver has {}", to.had));
        }
        if end == start && !t.seg.has(FIN) && start > self.left.max(1) {
            return Err(format!("an ACK stands at {start}, before which only {} has left", self.left));
        }
        Ok(())
    }

    /// A segment left in its name; an ACK alone moves nothing.
    pub(super) fn note_left(&mut self, t: &Tcp<'_>) {
        if t.payload.is_empty() && !t.seg.has(FIN) {
            return;
        }
        let end = self.offset(t.seg.seq, self.left) + t.payload.len() as u64 + u64::from(t.seg.has(FIN));
        if self.isn.is_some() && end <= self.high + 2 {
            self.left = self.left.max(end);
        }
    }

    /// The mode changed: what was told is told, but the edges begin anew.
    pub(super) fn turned(&mut self) {
        self.told_right = 0;
        self.value_out = None;
    }

    /// I3: only what came in leaves.
    pub(super) fn check_data(&self, t: &Tcp<'_>) -> Result<(), String> {
        let start = self.offset(t.seg.seq, self.high);
        let end = start + t.payload.len() as u64;
        if end > start && !self.arrived.covers(start, end) {
            return Err(format!("I3: bytes {start}..{end} left that never came in"));
        }
        if t.seg.has(FIN) && self.fin != Some(end) {
            return Err(format!("I3: a FIN left at {end} that never came in"));
        }
        Ok(())
    }

    /// I1, I2, I4, I7, for an acknowledgement of this stream that leaves towards its endpoint in the name of `from`.
    pub(super) fn check_ack(&mut self, from: &Stream, t: &Tcp<'_>, optimized: bool) -> Result<(), String> {
        let ack = self.offset(t.seg.ack, self.told_ack.max(from.acked));
        let most = self.contiguous().max(from.acked);
        if ack > most {
            return Err(format!("I1: {ack} was acknowledged, but only {most} had come in intact"));
        }
        if self.fin.is_some_and(|fin| ack > fin && from.acked <= fin) {
            return Err(format!("I7: the FIN was acknowledged (ack {ack}) before its receiver did"));
        }
        for (i, &(left, right)) in t.seg.opts.blocks().iter().enumerate() {
            let (left, right) = (self.offset(left, ack), self.offset(right, ack));
            if optimized && right <= ack {
                // RFC 2883 section 4: below the acknowledgement a block reports what came twice, and comes first.
                let end = right - u64::from(self.fin.is_some_and(|fin| right == fin + 1));
                if i > 0 || !self.repeated.covers(left, end) {
                    return Err(format!("a SACK block {left}..{right} lies below the acknowledgement {ack}"));
                }
            }
            // A FIN takes a number too, behind the last byte.
            let data_right = right - u64::from(self.fin.is_some_and(|fin| right == fin + 1));
            if right > ack && !self.arrived.covers(left, data_right) && right > from.acked {
                return Err(format!("I1: SACK {left}..{right} covers bytes that never came in"));
            }
        }
        let shift = if self.shift.is_some() { from.shift.unwrap_or(0) } else { 0 };
        let right = ack + (u64::from(t.seg.window) << shift);
        if optimized {
            if ack < self.told_ack {
                return Err(format!("I2: the acknowledgement went back from {} to {ack}", self.told_ack));
            }
            if right < self.told_right {
                return Err(format!("I2: the window's edge went back from {} to {right}", self.told_right));
            }
        }
        self.told_ack = self.told_ack.max(ack);
        self.told_right = self.told_right.max(right);
        Ok(())
    }

    /// I5, for a segment that leaves in the name of this stream's endpoint towards that of `to`.
    pub(super) fn check_times(&mut self, to: &Stream, t: &Tcp<'_>, as_it_came: &dyn Fn() -> bool, optimized: bool) -> Result<(), String> {
        let Some((value, echo)) = t.seg.opts.ts else {
            return if self.ts && to.ts && !as_it_came() { Err("a segment left without timestamps".into()) } else { Ok(()) };
        };
        if !self.values.contains(&value) {
            return Err(format!("I5: TSval {value} was never sent by its endpoint"));
        }
        if echo != 0 && !to.values.contains(&echo) {
            return Err(format!("I5: TSecr {echo} was never sent by the destination"));
        }
        if optimized && self.value_out.is_some_and(|last| (value.wrapping_sub(last) as i32) < 0) {
            return Err(format!("I5: TSval went back from {} to {value}", self.value_out.unwrap_or(0)));
        }
        self.value_out = Some(value);
        Ok(())
    }

    /// A reset in the name of this stream's endpoint must carry the sequence number that the receiver expects.
    pub(super) fn check_reset(&self, to: &Stream, t: &Tcp<'_>) -> Result<(), String> {
        let seq = self.offset(t.seg.seq, to.acked);
        if seq == to.acked.max(1) {
            return Ok(());
        }
        Err(format!("a reset left at {seq}, but its receiver expects {} (RFC 5961)", to.acked))
    }
}
