//! What the taps know of one stream, and of the endpoint that it comes from.

use std::collections::HashSet;

use crate::codec::{Tcp, ACK, CWR, ECE, FIN, RST, SYN};
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
    /// The same, within the window and of what never came by here.
    pub(super) elsewhere: u64,
    /// As [`Stream::acked`], of segments that are not wholly old: those are not believed (RFC 9293 section 3.10.7.4).
    said: u64,
    /// End of what left in its name since the engine stands in for it.
    sent: u64,
    /// How far its endpoint has acknowledged what the engine sent, and the same before the present batch. What left before,
    /// or beside the wire, the engine sends for what it knows.
    has: u64,
    had: u64,
    /// The highest right edge that its endpoint has shown for the other stream.
    promised: u64,
    /// It permits SACK.
    sack: bool,
    /// What its SYN says about ECN.
    ecn: u8,
    /// The newest timestamp value on a segment of the stream.
    newest: Option<u32>,
    /// Came in the present batch beyond a hole, within the window: a report is owed.
    beyond: Option<(u64, u64)>,
    /// An ACK has left since that does not say so.
    unsaid: bool,
    /// A keepalive of its endpoint's that came in the present batch and must go on, by its offset.
    pub(super) asking: Option<u64>,
    /// The last acknowledgement that left towards its endpoint, and right edge.
    last_told: Option<(u64, u64)>,
    /// A reset at the number that its endpoint expects has left towards it.
    reset_exactly: bool,
}

impl Stream {
    /// Offsets of a range of it, near `near`.
    pub(super) fn range(&self, left: u32, right: u32, near: u64) -> (u64, u64) {
        (self.offset(left, near), self.offset(right, near))
    }

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
            self.sack = t.seg.opts.sack_ok;
            self.ecn = t.seg.flags & (ECE | CWR);
            self.newest = t.seg.opts.ts.map(|ts| ts.0);
        }
        let start = self.offset(t.seg.seq, self.high).wrapping_add(u64::from(t.seg.has(SYN)));
        // What lies far off is no part of the stream, and nothing is to be learned from it.
        let far = if self.told_right > 0 { self.told_right + (1 << 20) } else { self.high + (1 << 27) };
        if self.isn.is_some() && start > far {
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
        self.note_beyond(t, start, end);
        let again: Vec<_> = self.arrived.spans().iter().map(|s| (s.0.max(start), s.1.min(end))).filter(|s| s.0 < s.1).collect();
        again.into_iter().for_each(|(start, end)| {
            self.repeated.add(start, end);
        });
        end - start - self.arrived.add(start, end)
    }

    /// Is a report of this segment owed, as it lies beyond a hole and nothing speaks against taking it?
    fn note_beyond(&mut self, t: &Tcp<'_>, start: u64, end: u64) {
        let value = t.seg.opts.ts.map(|ts| ts.0);
        let old = value.zip(self.newest).is_some_and(|(value, newest)| (value.wrapping_sub(newest) as i32) < 0);
        if old || (self.ts && value.is_none()) {
            return;
        }
        self.newest = value.or(self.newest);
        if end > self.told_right {
            return;
        }
        let new = end > start && start > self.contiguous() && !self.arrived.covers(start, end);
        if new && t.seg.has(ACK) && self.fin.is_none() {
            (self.beyond, self.unsaid) = (Some((start, end)), false);
        }
    }

    /// An acknowledgement of `ack` leaves towards its endpoint.
    fn note_report(&mut self, ack: u64, t: &Tcp<'_>) {
        let Some((start, end)) = self.beyond else { return };
        let mut blocks = t.seg.opts.blocks().iter().map(|&(l, r)| (self.offset(l, ack), self.offset(r, ack)));
        if ack >= start || blocks.any(|(l, r)| l <= start && end <= r) {
            (self.beyond, self.unsaid) = (None, false);
        } else {
            self.unsaid = true;
        }
    }

    /// The ACKs of the present batch towards its endpoint say nothing of what came last beyond a hole (RFC 2018 section 4:
    /// what an ACK answers is in its first block).
    pub(super) fn hides_a_hole(&self, other: &Stream) -> bool {
        self.unsaid && self.sack && other.sack
    }

    /// Nobody must report what came.
    pub(super) fn nothing_owed(&mut self) {
        (self.beyond, self.unsaid) = (None, false);
    }

    /// Do these two ends use ECN (RFC 3168 section 6.1.1)?
    pub(super) fn ecn_agreed(&self, other: &Stream) -> bool {
        matches!((self.ecn, other.ecn), (ECE, both) | (both, ECE) if both == ECE | CWR)
    }

    /// A keepalive of its endpoint's (RFC 9293 section 3.8.4): at most a byte, right below what it was told.
    pub(super) fn note_keepalive(&mut self, t: &Tcp<'_>) {
        let start = self.offset(t.seg.seq, self.told_ack);
        let alone = t.seg.flags & (SYN | FIN | RST) == 0 && t.seg.has(ACK) && t.payload.len() <= 1;
        let ts = self.value_is_current(t);
        if alone && ts && start + 1 == self.told_ack && self.told_ack == self.contiguous() && self.told_ack > 1 && self.fin.is_none() {
            self.asking = Some(start);
        }
    }

    fn value_is_current(&self, t: &Tcp<'_>) -> bool {
        match (t.seg.opts.ts, self.newest) {
            (Some((value, _)), Some(newest)) => value.wrapping_sub(newest) as i32 >= 0,
            (None, _) => !self.ts,
            (Some(_), None) => false,
        }
    }

    /// Was its endpoint told in the end what `other`'s endpoint has, and promised no more than that one promises?
    pub(super) fn heard_the_last_word(&self, other: &Stream) -> bool {
        self.last_told.is_none_or(|(ack, right)| (other.said..=other.acked.max(other.elsewhere)).contains(&ack) && right <= other.promised)
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
            if ack > other.high + 2 && ack <= other.told_right {
                self.elsewhere = self.elsewhere.max(ack);
            }
            if ack <= other.high + 2 {
                self.acked = self.acked.max(ack);
                let start = self.offset(t.seg.seq, self.told_ack);
                let old = start < self.told_ack && start + t.payload.len() as u64 <= self.told_ack;
                self.said = self.said.max(if old { 0 } else { ack });
                self.has = self.has.max(if ack <= other.sent && !old { ack } else { 0 });
                let scaled = !t.seg.has(SYN) && other.shift.is_some();
                let shift = self.shift.filter(|_| scaled).unwrap_or(0);
                let right = ack + (u64::from(t.seg.window) << shift);
                self.promised = self.promised.max(right);
            }
        }
    }

    /// The batch is over.
    pub(super) fn settle(&mut self) {
        self.had = self.has;
        (self.beyond, self.asking, self.unsaid) = (None, None, false);
    }

    /// What leaves in its name while the engine stands in for it, towards the endpoint of `to`: where it
    /// ends, if it may.
    pub(super) fn check_place(&self, to: &Stream, t: &Tcp<'_>) -> Result<u64, String> {
        let start = self.offset(t.seg.seq, self.left);
        let end = start.saturating_add(t.payload.len() as u64);
        // A keepalive's byte is none of the stream's.
        if t.payload.len() > 1 && end > to.promised {
            return Err(format!("bytes {start}..{end} left beyond the window of their receiver, {}", to.promised));
        }
        if t.payload.len() > 1 && end <= to.had {
            return Err(format!("bytes {start}..{end} left though their receiver has {}", to.had));
        }
        if end == start && !t.seg.has(FIN) && start > self.left.max(1) {
            return Err(format!("an ACK stands at {start}, before which only {} has left", self.left));
        }
        Ok(end)
    }

    /// A segment left in its name; an ACK alone moves nothing.
    pub(super) fn note_left(&mut self, t: &Tcp<'_>) {
        if self.asking == Some(self.offset(t.seg.seq, self.left)) {
            self.asking = None;
        }
        // A damaged segment passes as it came, and its receiver drops it.
        if !t.sum_ok || t.payload.is_empty() && !t.seg.has(FIN) {
            return;
        }
        let end = self.offset(t.seg.seq, self.left).saturating_add(t.payload.len() as u64 + u64::from(t.seg.has(FIN)));
        if self.isn.is_some() && end <= self.high + 2 {
            self.left = self.left.max(end);
            self.sent = self.sent.max(end);
        }
    }

    /// The mode changed: what was told is told, but the edges begin anew.
    pub(super) fn turned(&mut self) {
        self.told_right = 0;
        self.value_out = None;
        self.sent = 0;
    }

    /// I3: only what came in leaves.
    pub(super) fn check_data(&self, t: &Tcp<'_>) -> Result<(), String> {
        let start = self.offset(t.seg.seq, self.high);
        let end = start.saturating_add(t.payload.len() as u64);
        if end > start && !self.arrived.covers(start, end) {
            return Err(format!("I3: bytes {start}..{end} left that never came in"));
        }
        if t.seg.has(FIN) && self.fin != Some(end) {
            return Err(format!("I3: a FIN left at {end} that never came in"));
        }
        Ok(())
    }

    /// What its endpoint is told last, by an acknowledgement in the name of `from`.
    pub(super) fn note_told(&mut self, from: &Stream, t: &Tcp<'_>) {
        let ack = self.offset(t.seg.ack, self.told_ack.max(from.acked));
        let shift = if self.shift.is_some() { from.shift.unwrap_or(0) } else { 0 };
        self.last_told = Some((ack, ack.saturating_add(u64::from(t.seg.window) << shift)));
    }

    /// I1, I2, I4, I7, for an acknowledgement of this stream that leaves towards its endpoint in the name of `from`.
    pub(super) fn check_ack(&mut self, from: &Stream, t: &Tcp<'_>, optimized: bool, as_it_came: &dyn Fn() -> bool) -> Result<(), String> {
        let ack = self.offset(t.seg.ack, self.told_ack.max(from.acked));
        let most = self.contiguous().max(from.acked).max(from.elsewhere);
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
        let right = ack.saturating_add(u64::from(t.seg.window) << shift);
        if optimized {
            if ack < self.told_ack {
                return Err(format!("I2: the acknowledgement went back from {} to {ack}", self.told_ack));
            }
            // Until the end that accepted is heard, ACKs that begin the stream pass as they are: their edge is not the
            // engine's.
            if right < self.told_right && !(ack <= 1 && as_it_came()) {
                return Err(format!("I2: the window's edge went back from {} to {right}", self.told_right));
            }
        }
        if !t.payload.is_empty() {
            // Data that goes the same way acknowledges too, and has no room for blocks.
            self.nothing_owed();
        } else if optimized && !as_it_came() {
            self.note_report(ack, t);
        }
        self.told_ack = self.told_ack.max(ack);
        self.told_right = self.told_right.max(right);
        self.note_told(from, t);
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
        if echo != 0 && !to.values.contains(&echo) && !as_it_came() {
            return Err(format!("I5: TSecr {echo} was never sent by the destination"));
        }
        if optimized && self.value_out.is_some_and(|last| (value.wrapping_sub(last) as i32) < 0) {
            return Err(format!("I5: TSval went back from {} to {value}", self.value_out.unwrap_or(0)));
        }
        self.value_out = Some(value);
        Ok(())
    }

    /// A reset in the name of this stream's endpoint must carry the sequence number that the receiver expects.
    pub(super) fn check_reset(&self, to: &mut Stream, t: &Tcp<'_>) -> Result<(), String> {
        let seq = self.offset(t.seg.seq, to.acked);
        // What else came in the same batch is not known yet to whoever deals with one segment after the other.
        let exact = (to.had.min(to.acked)..=to.acked.max(1)).contains(&seq);
        to.reset_exactly |= exact;
        // Of what is under way to it the receiver may have all: a second reset stands behind that, and one where bytes have
        // brought it that took another way.
        let behind = seq == self.left && seq > to.acked || seq == to.elsewhere;
        if exact || behind && to.reset_exactly {
            return Ok(());
        }
        Err(format!("a reset left at {seq}, but its receiver expects {} of {} (RFC 5961)", to.acked, self.left))
    }
}
