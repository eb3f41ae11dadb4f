//! What leaves the engine for a flow.

use smartwire_packet::build::Ends;
use smartwire_packet::tcp::Flags;
use smartwire_packet::{cut, parse, Ecn};

use super::compose::{bare, rewrite, Fields};
use super::parsed::slice;
use super::record::flag;
use super::{Cx, Flow};
use crate::api::{Io, Now, Port};
use crate::broken::{breaks, Broken};
use crate::recv::{AckFields, Onward, Plan};
use crate::send::{ProbeKind, Seg, Xmit, XmitKind};
use crate::seq::Off;
use crate::subscriber::pace::Pace;

/// When to try again where a frame could not leave (out of buffers, or still read by an earlier transmission), ns.
pub(crate) const RETRY_NS: u64 = 1_000_000;

/// What a rate is charged for the headers of a packet that is not sent in its own frame, bytes.
const HEADERS: u32 = 66;

/// A flow of which nothing was acknowledged for so long no longer counts against its subscriber's budget, ns.
const DEAD_NS: u64 = 10_000_000_000;

/// The kinds of packet without payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say<'a> {
    /// What there is to acknowledge, by the plan for this moment where there is one.
    Ack(Option<&'a Plan>),
    /// The last one before the flow is handed back.
    Final,
    Reset,
}

impl Flow<'_> {
    /// What every packet towards side `t` says about stream `t`, and the record that it was said: call it only for a
    /// packet that will leave.
    pub(crate) fn fields<I: Io>(&mut self, cx: &mut Cx<'_, I>, t: usize) -> Fields {
        self.claim(cx, t);
        let plan = self.act.rx[t].plan(cx.now, &self.onward(t, cx.sh));
        self.planned_fields(cx, t, &plan)
    }

    fn planned_fields<I: Io>(&mut self, cx: &mut Cx<'_, I>, t: usize, plan: &Plan) -> Fields {
        let told = self.act.rx[t].compose_plan(cx.now, plan);
        self.wire_fields(cx, t, &told)
    }

    /// The same for the last packet of ours: the real peer's numbers.
    fn final_fields<I: Io>(&mut self, cx: &mut Cx<'_, I>, t: usize) -> Fields {
        let onward = Onward { una: self.act.tx[t].una().max(self.act.beyond[t]), ..self.onward(t, cx.sh) };
        let told = self.act.rx[t].compose_final(cx.now, &onward);
        self.wire_fields(cx, t, &told)
    }

    fn wire_fields<I: Io>(&mut self, cx: &mut Cx<'_, I>, t: usize, told: &AckFields) -> Fields {
        // Custody may begin with this packet: the book must say so before it leaves.
        self.mark(cx);
        let mut fields = Fields {
            ack: self.rec.wire(t, told.ack),
            window: told.window,
            ts: told.ts_ecr.map(|ecr| (self.act.rx[1 - t].ts_out(), ecr)),
            ece: told.ece,
            ..Fields::default()
        };
        for (to, &(left, right)) in fields.sack.iter_mut().zip(told.sack()) {
            *to = (self.rec.wire(t, left), self.rec.wire(t, right));
            fields.sacks += 1;
        }
        fields
    }

    /// Acknowledges stream `t` to its source with a packet of our own, by the plan for this moment where there is one.
    pub(crate) fn ack_to<I: Io>(&mut self, cx: &mut Cx<'_, I>, t: usize, plan: Option<&Plan>) -> bool {
        // SEG.SEQ is nxt of the other stream, acceptable even to a receiver whose window is shut.
        let tx = &self.act.tx[1 - t];
        let seq = if breaks(Broken::AckAheadOfData) { tx.end() } else { tx.nxt() };
        self.bare_to(cx, t, seq, Say::Ack(plan))
    }

    /// Resets side `t`, at the one sequence number that it accepts (RFC 5961 section 3.2). While something is on its way
    /// there, that number is the one in front of it or the one behind it, and each of the two gets a reset; so does the one
    /// to which bytes brought it that took another way.
    pub(crate) fn reset_to<I: Io>(&mut self, cx: &mut Cx<'_, I>, t: usize) {
        let tx = &self.act.tx[1 - t];
        let (una, nxt) = (tx.una(), tx.nxt());
        let first = if breaks(Broken::ResetAtSendersEdge) { tx.end() } else { una };
        let second = Some(nxt).filter(|nxt| *nxt > una && first == una);
        let third = Some(self.act.beyond[1 - t]).filter(|beyond| *beyond > nxt);
        for seq in [Some(first), second, third].into_iter().flatten() {
            if self.bare_to(cx, t, seq, Say::Reset) {
                cx.sh.stats.rst_out += 1;
            }
        }
    }

    /// A packet without payload towards side `t`, at offset `seq` of stream `1 - t`.
    pub(crate) fn bare_to<I: Io>(&mut self, cx: &mut Cx<'_, I>, t: usize, seq: Off, say: Say<'_>) -> bool {
        let Some(frame) = cx.io.alloc() else { return false };
        let (flags, fields) = match say {
            Say::Ack(Some(plan)) => (Flags::ACK, self.planned_fields(cx, t, plan)),
            Say::Ack(None) => (Flags::ACK, self.fields(cx, t)),
            Say::Final => (Flags::ACK, self.final_fields(cx, t)),
            Say::Reset => {
                let ack = self.rec.wire(t, self.act.rx[t].rcv_nxt());
                (Flags::RST | Flags::ACK, Fields { ack, ..Fields::default() })
            }
        };
        cx.sh.stats.acks_made += u64::from(say != Say::Reset);
        let (a, c) = (self.rec.key.access_addr, self.rec.key.core_addr);
        let (src, dst) = if t == 0 { (c, a) } else { (a, c) };
        let ends = Ends { src, dst, flow_label: self.rec.label[t] };
        cx.sh.ip_id = cx.sh.ip_id.wrapping_add(1);
        let numbers = (self.rec.wire(1 - t, seq), cx.sh.ip_id);
        let Some(out) = cx.io.bytes_mut(frame) else {
            cx.io.release(frame);
            return false;
        };
        let path = cx.sh.paths.get(self.rec.path[t]);
        let len = bare(out, path, &ends, self.rec.ports_to(t), numbers, flags, &fields);
        if let Some(len) = len {
            cx.send(Port(self.rec.port[t]), frame, 0, len);
        }
        cx.io.release(frame);
        len.is_some()
    }

    /// Sends what the sender of stream `s` asked for. False: it could not leave now.
    pub(crate) fn transmit<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: usize, xmit: &Xmit) -> bool {
        let stamp = self.act.rx[s].ts_out();
        let left = match &xmit.seg {
            None => self.bare_to(cx, 1 - s, xmit.start, Say::Ack(None)),
            Some(seg) => self.send_seg(cx, s, seg, xmit.resent()),
        };
        if !left {
            self.act.tx[s].skipped(&mut cx.sh.pool, cx.now, xmit);
            return false;
        }
        self.act.tx[s].sent(&mut cx.sh.pool, cx.now, xmit, stamp);
        if s == 1 {
            let frame = xmit.seg.map_or(HEADERS, |seg| if seg.whole { u32::from(seg.frame_len) } else { HEADERS + u32::from(seg.len) });
            cx.sh.subs.on_wire(cx.now, self.handle, frame);
        }
        let stats = &mut cx.sh.stats;
        let len = u64::from(xmit.seg.map_or(0, |seg| seg.len));
        match xmit.kind {
            XmitKind::New => {
                stats.sent += 1;
                stats.sent_bytes += len;
            }
            XmitKind::Retransmit => {
                stats.retransmitted += 1;
                stats.retransmitted_bytes += len;
            }
            XmitKind::Probe(kind) => {
                stats.probes += 1;
                match kind {
                    ProbeKind::NewData => stats.sent_bytes += len,
                    ProbeKind::Highest => stats.retransmitted_bytes += len,
                    ProbeKind::Zero => {}
                }
            }
        }
        true
    }

    /// Sends a segment of stream `s` as it is or was cut.
    pub(crate) fn send_seg<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: usize, seg: &Seg, resent: bool) -> bool {
        if seg.whole {
            self.send_whole(cx, s, seg, resent)
        } else {
            self.send_part(cx, s, seg, resent)
        }
    }

    /// The sender's own frame, its header brought up to date in place.
    fn send_whole<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: usize, seg: &Seg, resent: bool) -> bool {
        if cx.io.bytes_mut(seg.frame).is_none() {
            return false;
        }
        // Where the IP header is matters for its ECN field only.
        let layers = self.rec.has(flag::ECN).then(|| parse(slice(cx.io.bytes(seg.frame), seg.off, seg.frame_len)));
        let mut fields = self.fields(cx, 1 - s);
        let ecn = match &layers {
            Some(Ok(layers)) => {
                let was = layers.ecn(slice(cx.io.bytes(seg.frame), seg.off, seg.frame_len));
                self.ecn(s, was, resent, &mut fields).map(|ecn| (layers, ecn))
            }
            _ => None,
        };
        let Some(buffer) = cx.io.bytes_mut(seg.frame) else { return false };
        let range = usize::from(seg.off)..usize::from(seg.off) + usize::from(seg.frame_len);
        if let Some(bytes) = buffer.get_mut(range) {
            if let Some((layers, ecn)) = ecn {
                layers.set_ecn(bytes, ecn);
            }
            rewrite(bytes, seg.head(), &fields, ecn.is_some());
        }
        cx.send(Port(self.rec.port[1 - s]), seg.frame, seg.off, seg.frame_len);
        true
    }

    /// A piece of a frame, built in a fresh one.
    fn send_part<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: usize, seg: &Seg, resent: bool) -> bool {
        let Some(fresh) = cx.io.alloc() else { return false };
        let made = self.build_part(cx, s, seg, resent);
        let left = made.is_some_and(|len| match cx.io.bytes_mut(fresh).and_then(|out| out.get_mut(..usize::from(len))) {
            Some(out) => {
                out.copy_from_slice(&cx.sh.scratch[..usize::from(len)]);
                true
            }
            None => false,
        });
        if let (true, Some(len)) = (left, made) {
            cx.send(Port(self.rec.port[1 - s]), fresh, 0, len);
        }
        cx.io.release(fresh);
        left
    }

    /// Builds the packet of a piece in the scratch buffer; its length.
    fn build_part<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: usize, seg: &Seg, resent: bool) -> Option<u16> {
        let frame = slice(cx.io.bytes(seg.frame), seg.off, seg.frame_len);
        let layers = parse(frame).ok()?;
        let front = seg.payload_off.checked_sub(seg.off)?.checked_sub(layers.data)?;
        let piece = cut::extract(frame, &layers, front, seg.len, &mut cx.sh.scratch)?;
        let was = piece.layers.ecn(&cx.sh.scratch);
        let mut fields = self.fields(cx, 1 - s);
        let ecn = self.ecn(s, was, resent, &mut fields);
        let bytes = cx.sh.scratch.get_mut(..usize::from(piece.len))?;
        if let Some(ecn) = ecn {
            piece.layers.set_ecn(bytes, ecn);
        }
        rewrite(bytes, usize::from(piece.layers.l4)..usize::from(piece.layers.data), &fields, ecn.is_some());
        Some(piece.len)
    }

    /// What the IP header shall say about ECN, and CWR in the TCP header: never ECT on what is sent again, CE cleared
    /// because we echoed it (RFC 3168 sections 6.1.2 and 6.1.5). `None` without ECN: nothing is touched.
    fn ecn(&mut self, s: usize, was: Ecn, resent: bool, fields: &mut Fields) -> Option<Ecn> {
        if !self.rec.has(flag::ECN) {
            return None;
        }
        if resent || was == Ecn::NotEct {
            return Some(Ecn::NotEct);
        }
        fields.cwr = self.act.tx[s].take_cwr();
        Some(if breaks(Broken::MarkPassedOn) { was } else { Ecn::Ect0 })
    }

    /// Sends a probe of stream `s`, if one is due: it waits for nobody's turn.
    pub(crate) fn probe<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: usize) {
        if let Some(xmit) = self.act.tx[s].next(&cx.sh.pool, cx.now, 0) {
            self.transmit(cx, s, &xmit);
            if s == 1 {
                cx.sh.subs.on_sent(cx.now, self.rec.sub, self.handle, xmit.seq_len());
            } else {
                // It does not wait, but what follows it at once does.
                self.act.pacer.sent(cx.now, xmit.seq_len());
            }
        }
        if s == 1 {
            self.report_flight(cx);
        }
    }

    /// Sends what window, congestion control and pacing let go towards the core.
    pub(crate) fn pump_core<I: Io>(&mut self, cx: &mut Cx<'_, I>) {
        self.act.pace_at = None;
        while let Some(xmit) = self.act.tx[0].next(&cx.sh.pool, cx.now, u32::MAX) {
            let pace = self.core_pace(cx.sh.cfg.burst_bytes_per_ms);
            let paced = cx.sh.policies.table().get(self.rec.policy).is_none_or(|policy| policy.pacing);
            if let (true, Err(at)) = (paced, self.act.pacer.allowance(cx.now, pace)) {
                self.act.pace_at = Some(Now(at.0.max(cx.now.0 + 1)));
                return;
            }
            if !self.transmit(cx, 0, &xmit) {
                self.act.pace_at = Some(cx.now.after_ns(RETRY_NS));
                return;
            }
            self.act.pacer.sent(cx.now, xmit.seq_len());
        }
    }

    fn core_pace(&self, burst_per_ms: u32) -> Pace {
        Pace::new(self.act.tx[0].pacing_rate(), self.act.tx[0].delivery_rate(), burst_per_ms)
    }

    /// Sends up to `bytes` of payload towards the access side, one segment at least; what of it left. The flow is no
    /// longer ready when it has nothing more that its own windows let go.
    pub(crate) fn pump_access<I: Io>(&mut self, cx: &mut Cx<'_, I>, bytes: u32) -> u32 {
        let mut left = 0;
        while left < bytes.max(1) {
            let Some(xmit) = self.act.tx[1].next(&cx.sh.pool, cx.now, u32::MAX) else { break };
            if left > 0 && left + xmit.seq_len() > bytes {
                break;
            }
            if !self.transmit(cx, 1, &xmit) {
                break;
            }
            left += xmit.seq_len();
            cx.sh.subs.on_sent(cx.now, self.rec.sub, self.handle, xmit.seq_len());
        }
        self.report_flight(cx);
        left
    }

    /// Tells the subscriber's budget what stream 1 has in flight and whether it could send.
    pub(crate) fn report_flight<I: Io>(&mut self, cx: &mut Cx<'_, I>) {
        let (tx, sub) = (&self.act.tx[1], self.rec.sub);
        // What a dead flow has in flight must not keep the others of its subscriber waiting.
        let dead = cx.now.since(self.act.progress[1]) > DEAD_NS && tx.unanswered_probes() > 0;
        let in_flight = match tx.in_flight() {
            _ if dead => 0,
            // Nobody knows how much of it is gone: recovery goes by one hole at a time.
            bytes if tx.recovering() && !self.rec.has(flag::SACK) => bytes.min(2 * u32::from(self.rec.mss[0])),
            bytes => bytes,
        };
        cx.sh.subs.in_flight(cx.now, sub, self.handle, in_flight);
        self.report_readiness(cx);
    }

    /// Tells the subscriber's turns whether stream 1 could send.
    pub(crate) fn report_readiness<I: Io>(&mut self, cx: &mut Cx<'_, I>) {
        let (tx, sub) = (&self.act.tx[1], self.rec.sub);
        if tx.wants_to_send(&cx.sh.pool) {
            cx.sh.subs.ready(cx.now, sub, self.handle);
        } else {
            cx.sh.subs.unready(sub, self.handle);
        }
    }
}
