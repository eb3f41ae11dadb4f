//! A segment of an optimized flow arrives.

use smartwire_packet::build::Template;
use smartwire_packet::csum;
use smartwire_packet::tcp::{Flags, Kinds};
use smartwire_packet::Ecn;

use super::compose::rewrite;
use super::parsed::{slice, Segment};
use super::record::{flag, Phase, WindowFrom};
use super::{Cx, Fate, Flow};
use crate::api::{Csum, Io, Now, Port};
use crate::broken::{breaks, Broken};
use crate::reason::StopReason;
use crate::recv::{Part, Refusal, SegIn, Verdict};
use crate::send::{split_dsack, AckIn, AckOut, Seg};
use crate::seq::{unwrap, Off};
use crate::subscriber::Delivered;

/// What became of a segment and of its flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// The frame is held: it must not be released.
    pub kept: bool,
    pub fate: Fate,
    /// It is a SYN of a new connection on the same ports: the flow is gone, and the segment goes through admission.
    pub again: bool,
}

impl Taken {
    pub(crate) const DONE: Taken = Taken { kept: false, fate: Fate::Live, again: false };

    pub(crate) fn fate(fate: Fate) -> Taken {
        Taken { fate, ..Taken::DONE }
    }
}

/// Option kinds that an established connection carries.
const ESTABLISHED: Kinds = Kinds(Kinds::EOL.0 | Kinds::NOP.0 | Kinds::SACK.0 | Kinds::TS.0);

impl Flow<'_> {
    /// Everything that is done about a segment, in order.
    pub(crate) fn segment<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment) -> Taken {
        let x = s.side as usize;
        if !self.verified(cx, s) {
            cx.sh.stats.bad_checksum += 1;
            cx.forward(s);
            return Taken::DONE;
        }
        self.act.last = cx.now;
        if x == 0 {
            cx.sh.subs.heard(cx.now, self.rec.sub);
        }
        self.learn_path(cx, s);
        if s.flags.contains(Flags::RST) {
            return self.on_rst(cx, s);
        }
        if s.flags.contains(Flags::SYN) {
            return self.on_syn(cx, s);
        }
        if self.act.reset_to[1 - x].is_some() || !s.flags.contains(Flags::ACK) {
            // X reset the connection and is not listened to any more; or no TCP sends this.
            cx.sh.stats.unacceptable += 1;
            return Taken::DONE;
        }
        let seg = SegIn {
            seq: match unwrap(self.rec.isn[x], s.seq, self.act.rx[x].rcv_nxt()) {
                Some(seq) => seq,
                None => return self.refuse(cx, x),
            },
            len: u32::from(s.len),
            fin: s.flags.contains(Flags::FIN),
            ts: s.options.ts.map(|ts| ts.val),
            ce: s.ecn == Ecn::Ce,
            cwr: s.flags.contains(Flags::CWR),
        };
        self.take_ready(cx, x);
        let verdict = self.act.rx[x].judge(&cx.sh.ooo, cx.now, &seg);
        if !matches!(verdict, Verdict::Drop(_)) {
            self.odd(cx, s);
        }
        if verdict.ack_counts() {
            self.confirm(x);
            if let Some(fate) = self.acknowledged(cx, s, &seg) {
                return fate;
            }
        }
        self.take_ready(cx, 1 - x);
        self.take(cx, s, &seg, &verdict)
    }

    fn verified<I: Io>(&self, cx: &Cx<'_, I>, s: &Segment) -> bool {
        breaks(Broken::ChecksumNotVerified)
            || s.csum == Csum::Verified
            || csum::verify(slice(cx.io.bytes(s.frame), s.off, s.frame_len), &s.layers)
    }

    /// A segment that lies outside everything.
    fn refuse<I: Io>(&mut self, cx: &mut Cx<'_, I>, x: usize) -> Taken {
        cx.sh.stats.unacceptable += 1;
        if self.act.rx[x].challenge(cx.now) {
            cx.sh.stats.challenges += 1;
            self.ack_to(cx, x, None);
        }
        Taken::DONE
    }

    /// An acknowledgement older than any window: whoever sends it guesses, and its data is not the endpoint's (RFC 5961
    /// section 5.2).
    fn too_old<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment) -> Taken {
        if s.len > 0 {
            return self.refuse(cx, s.side as usize);
        }
        cx.sh.stats.unacceptable += 1;
        Taken::DONE
    }

    /// The side that answered the handshake is ESTABLISHED once it sends anything but a SYN-ACK.
    fn confirm(&mut self, x: usize) {
        if x != self.rec.client() as usize {
            self.rec.flags |= flag::CONFIRMED;
        }
    }

    /// What no optimized connection carries: the flow is handed back as soon as it can be. Only acceptable segments get
    /// here: who guesses ports alone can't switch the optimization off.
    fn odd<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment) {
        if s.flags.contains(Flags::URG) {
            self.begin_drain(cx, StopReason::Urgent, None);
        } else if !s.options.kinds.is_subset(ESTABLISHED) {
            self.begin_drain(cx, StopReason::UnknownOption, None);
        }
    }

    // ---- the acknowledgement -------------------------------------------------------------------------------------

    /// Gives the ACK field, window and SACK blocks to the sender of the other stream.
    fn acknowledged<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment, seg: &SegIn) -> Option<Taken> {
        let (x, o) = (s.side as usize, s.side.other() as usize);
        let tx = &self.act.tx[o];
        let Some(ack) = unwrap(self.rec.isn[o], s.ack, tx.una()) else { return Some(self.too_old(cx, s)) };
        let ahead = ack > tx.nxt();
        if ahead && (ack > tx.end() || tx.unanswered_probes() == 0) {
            return self.unseen_ack(cx, s, ack);
        }
        let edge = ack + (u64::from(s.window) << self.rec.shift[x]);
        if ahead {
            // What waits here may have come to Y by another way, sent again by X. Where Y still says so after a probe, it is
            // worth no more than an ACK of all that was sent from here, and tells where Y's window is.
            self.act.beyond[o] = self.act.beyond[o].max(ack);
        }
        let tx = &self.act.tx[o];
        let ack = ack.min(tx.nxt());
        if tx.una() - ack.min(tx.una()) > (1 << 30).min(tx.una()) {
            return Some(self.too_old(cx, s));
        }
        let from = &mut self.act.wl[o];
        let right = if from.seq < seg.seq || (from.seq == seg.seq && from.ack <= ack) {
            *from = WindowFrom { seq: seg.seq, ack };
            edge
        } else {
            tx.right()
        };
        if tx.is_idle() && ack == tx.una() && !s.flags.contains(Flags::ECE) && s.options.sack.blocks().is_empty() {
            // Most segments of the one direction say nothing about the other.
            self.act.tx[o].on_still_ack(right);
            return None;
        }
        let mut blocks: [(Off, Off); 4] = [(0, 0); 4];
        let mut count = 0;
        for &(left, end) in s.options.sack.blocks() {
            if let (Some(l), Some(r)) = (unwrap(self.rec.isn[o], left, ack), unwrap(self.rec.isn[o], end, ack)) {
                blocks[count] = (l, r);
                count += 1;
            }
        }
        self.wake(cx.now, o);
        let (dsack, sack) = split_dsack(ack, &blocks[..count]);
        let input = AckIn {
            ack,
            right,
            sack,
            dsack,
            ts_ecr: s.options.ts.map(|ts| ts.ecr),
            ece: s.flags.contains(Flags::ECE),
            pure: s.len == 0 && !seg.fin && right == self.act.tx[o].right(),
            link_full: self.link_full(cx, o),
        };
        let Cx { io, sh, now } = cx;
        let out = self.act.tx[o].on_ack(&mut sh.pool, *now, &input, |frame| io.release(frame));
        self.after_ack(cx, o, &out, s.options.ts.map(|ts| ts.val));
        None
    }

    /// An ACK of bytes that never came by here: they took another way, or it is forged (tcp.md 2.8).
    fn unseen_ack<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment, ack: Off) -> Option<Taken> {
        let (x, o) = (s.side as usize, s.side.other() as usize);
        let plausible = ack >= self.act.tx[o].end() && ack <= self.act.rx[o].told_right();
        if plausible && self.act.custody_of(x) == 0 {
            // All custody of this stream is covered, and there is none of the other: step aside at once.
            cx.forward(s);
            return Some(Taken::fate(Fate::HandedBack(StopReason::UnseenAck)));
        }
        if plausible {
            self.act.beyond[o] = self.act.beyond[o].max(ack);
            self.begin_drain(cx, StopReason::UnseenAck, None);
            return None;
        }
        Some(self.refuse(cx, x))
    }

    /// True where a loss on stream `s` means congestion.
    pub(crate) fn link_full<I: Io>(&self, cx: &Cx<'_, I>, s: usize) -> bool {
        if s == 1 {
            return cx.sh.subs.link_full(self.rec.sub);
        }
        let (srtt, least) = (self.act.tx[0].srtt(), self.act.tx[0].min_rtt());
        srtt > least + (least / 4).max(10_000_000)
    }

    /// What follows from news about stream `s`, whether an ACK or a timer brought them.
    pub(crate) fn after_ack<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: usize, out: &AckOut, ts_val: Option<u32>) {
        let stats = &mut cx.sh.stats;
        stats.delivered_bytes += u64::from(out.delivered());
        stats.cuts += u64::from(out.cut);
        stats.undone += u64::from(out.undone);
        if out.advanced {
            self.act.progress[s] = cx.now;
        }
        if s == 1 {
            let sub = self.rec.sub;
            if out.delivered() > 0 {
                let split = out.rtt_ns.or(out.silent_rtt_ns).zip(ts_val).and_then(|(rtt, val)| {
                    self.act.oneway.sample(cx.now, val, Now(cx.now.0.saturating_sub(rtt)))
                });
                let what = Delivered { bytes: out.delivered(), rtt_ns: out.rtt_ns, split };
                cx.sh.subs.on_delivered(cx.now, sub, &what);
            }
            if out.lost > 0 {
                cx.sh.subs.on_lost(cx.now, sub, out.lost);
            }
            let reordering = self.act.tx[1].reordering();
            if reordering > 0 {
                cx.sh.subs.learn_reordering(sub, reordering);
            }
            self.report_flight(cx);
        }
        if out.advanced {
            self.mark(cx);
        }
        if self.act.tx[s].size_doubted() {
            self.act.tx[s].split(&mut cx.sh.pool, DOUBTED_PAYLOAD);
            cx.sh.stats.resegmented += 1;
            self.watch_cut(cx, s);
        }
        if self.act.tx[s].probe_due() {
            self.probe(cx, s);
        }
    }

    // ---- the data ------------------------------------------------------------------------------------------------

    /// Does with the bytes of a segment what its verdict says.
    fn take<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment, seg: &SegIn, verdict: &Verdict) -> Taken {
        let x = s.side as usize;
        if let Verdict::InOrder(part) | Verdict::Ahead(part) = verdict {
            if part.front > 0 || part.back > 0 {
                self.compare(cx, s, seg);
            }
        }
        match verdict {
            Verdict::InOrder(part) => return self.take_in_order(cx, s, seg, part, verdict),
            Verdict::Ahead(part) => return self.take_ahead(cx, s, seg, part),
            Verdict::Empty => {
                let asked = flag::ASKED[1 - x];
                if self.rec.has(asked) {
                    // The answer to a keepalive of the other end's.
                    self.rec.flags &= !asked;
                    self.act.rx[1 - x].ack_now();
                }
                if self.rec.has(flag::CONFIRMED) {
                    cx.sh.stats.acks_consumed += 1;
                } else {
                    // The third ACK may have been lost beyond us: the server needs one.
                    self.pass(cx, s);
                }
            }
            Verdict::Keepalive => self.keepalive(cx, s),
            Verdict::Old { told } => {
                cx.sh.stats.duplicate_segments += 1;
                if *told && s.len > 0 {
                    self.watch_old(cx, x);
                }
                if breaks(Broken::DuplicatesForwarded) {
                    self.pass_updated(cx, s);
                }
                self.compare(cx, s, seg);
            }
            Verdict::WindowProbe => {}
            Verdict::Drop(Refusal::Paws | Refusal::NoTimestamp) => cx.sh.stats.paws_dropped += 1,
            Verdict::Drop(Refusal::Window) => cx.sh.stats.unacceptable += 1,
        }
        self.act.rx[x].took(cx.now, seg, verdict);
        Taken::DONE
    }

    /// Sends an endpoint's own ACK on: as it came while its peer has heard nothing from us, brought up to date after.
    fn pass<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment) {
        let (x, o) = (s.side as usize, s.side.other() as usize);
        if self.act.tx[x].nxt() > 1 {
            // It must not stand behind data that still waits here (tcp.md 2.4).
            self.ack_to(cx, o, None);
            return;
        }
        if let Some(ack) = unwrap(self.rec.isn[o], s.ack, self.act.tx[o].una()) {
            let window = u64::from(s.window) << self.rec.shift[x];
            self.act.rx[o].told(ack, ack + window);
        }
        cx.forward(s);
    }

    /// Sends a segment on without keeping it, its header brought up to date.
    fn pass_updated<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment) {
        let y = s.side.other() as usize;
        if cx.io.bytes_mut(s.frame).is_none() {
            return;
        }
        let fields = self.fields(cx, y);
        let ecn = self.rec.has(flag::ECN).then_some(s.ecn);
        let range = usize::from(s.off)..usize::from(s.off) + usize::from(s.frame_len);
        if let Some(bytes) = cx.io.bytes_mut(s.frame).and_then(|buffer| buffer.get_mut(range)) {
            if let Some(ecn) = ecn {
                s.layers.set_ecn(bytes, ecn);
            }
            rewrite(bytes, usize::from(s.layers.l4)..usize::from(s.layers.data), &fields, ecn.is_some());
        }
        cx.send(Port(self.rec.port[y]), s.frame, s.off, s.frame_len);
    }

    fn take_in_order<I: Io>(
        &mut self,
        cx: &mut Cx<'_, I>,
        s: &Segment,
        seg: &SegIn,
        part: &Part,
        verdict: &Verdict,
    ) -> Taken {
        let x = s.side as usize;
        let Some(held) = self.hold(cx, s, seg, part) else {
            if breaks(Broken::AckedWithoutRoom) {
                self.act.rx[x].took(cx.now, seg, verdict);
            }
            return self.no_room(cx, s);
        };
        self.wake(cx.now, x);
        if self.act.tx[x].enqueue(&mut cx.sh.pool, &held).is_err() {
            return self.no_room(cx, s);
        }
        cx.sh.stats.accepted_bytes += u64::from(held.len);
        self.watch_data(cx, x, held.start, u32::from(held.len));
        self.act.rx[x].took(cx.now, seg, verdict);
        self.take_ready(cx, x);
        if x == 1 {
            self.report_readiness(cx);
        } else {
            cx.sh.subs.on_uplink(cx.now, self.rec.sub, u32::from(held.len));
        }
        Taken { kept: true, ..Taken::DONE }
    }

    /// What was held behind a hole that is filled goes to the sender; the rest stays where the pool is full, and goes
    /// when there is room again.
    #[inline]
    fn take_ready<I: Io>(&mut self, cx: &mut Cx<'_, I>, x: usize) {
        if self.act.rx[x].holds_any() {
            self.take_held(cx, x);
        }
    }

    #[inline(never)]
    fn take_held<I: Io>(&mut self, cx: &mut Cx<'_, I>, x: usize) {
        let before = self.act.rx[x].rcv_nxt();
        while let Some(ready) = self.act.rx[x].ready(&cx.sh.ooo) {
            self.wake(cx.now, x);
            if self.act.tx[x].enqueue(&mut cx.sh.pool, &ready).is_err() {
                break;
            }
            cx.sh.stats.accepted_bytes += u64::from(ready.len);
            self.act.rx[x].pop_ready(&mut cx.sh.ooo, cx.now);
        }
        if x == 1 && self.act.rx[x].rcv_nxt() > before {
            self.report_flight(cx);
        }
    }

    fn take_ahead<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment, seg: &SegIn, part: &Part) -> Taken {
        let x = s.side as usize;
        let Some(held) = self.hold(cx, s, seg, part) else { return self.no_room(cx, s) };
        let limit = cx.sh.memory.limit.saturating_sub(self.act.tx[x].held());
        let Cx { io, sh, now } = cx;
        match self.act.rx[x].hold(&mut sh.ooo, *now, seg, &held, limit, |frame| io.release(frame)) {
            Ok(()) => {
                cx.sh.stats.out_of_order += 1;
                Taken { kept: true, ..Taken::DONE }
            }
            Err(_) => self.no_room(cx, s),
        }
    }

    /// Keeps the frame, if memory allows; what of it is new as a segment to hold.
    fn hold<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment, seg: &SegIn, part: &Part) -> Option<Seg> {
        let x = s.side as usize;
        // The window never closes altogether: what it promises beyond the limit must find room too. With plenty of
        // memory that holds for what the endpoint itself promised before us, however much that is.
        let hard = cx.sh.cfg.stream_bytes + OVERHANG * cx.sh.memory.frame;
        let rung = cx.sh.memory.rung;
        if rung >= 1 && self.act.held(x) > hard || rung >= 3 && self.act.held(x) > cx.sh.memory.limit {
            return None;
        }
        if cx.sh.pool.free() == 0 || !cx.io.hold(s.frame) {
            return None;
        }
        let whole = Seg {
            start: seg.seq,
            frame: s.frame,
            off: s.off,
            frame_len: s.frame_len,
            l4: s.layers.l4,
            payload_off: s.off + s.layers.data,
            len: s.len,
            held: cx.sh.memory.frame.min(u32::from(u16::MAX)) as u16,
            fin: seg.fin,
            whole: true,
        };
        Some(part.of(&whole))
    }

    /// Nothing can be held: the sender still owns every byte of this segment. A flow that holds nothing steps aside,
    /// and the segment goes on as it came.
    fn no_room<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment) -> Taken {
        cx.sh.stats.no_frame += 1;
        if self.act.held(0) == 0 && self.act.held(1) == 0 && !self.act.has_custody() {
            cx.forward(s);
            return Taken::fate(Fate::HandedBack(StopReason::LowMemory));
        }
        Taken::DONE
    }

    /// A keepalive tests the peer, so the peer must answer it; while it has custody to acknowledge, our own probes test
    /// it, and the answer is ours.
    fn keepalive<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment) {
        let x = s.side as usize;
        if self.act.has_custody() || breaks(Broken::KeepaliveAnsweredHere) {
            self.act.rx[x].ack_now();
            return;
        }
        self.rec.flags |= flag::ASKED[x];
        self.pass_updated(cx, s);
    }

    /// Other content for bytes that are still held: the first copy wins, is counted, and the flow is handed back.
    fn compare<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment, seg: &SegIn) {
        let x = s.side as usize;
        let differs = {
            let fresh = slice(cx.io.bytes(s.frame), s.off, s.frame_len);
            let fresh = &fresh[usize::from(s.layers.data)..usize::from(s.layers.end)];
            let end = seg.seq + u64::from(seg.len);
            let ahead = self.act.rx[x].overlapping(&cx.sh.ooo, seg.seq, end);
            let queued = self.act.tx[x].overlapping(&cx.sh.pool, seg.seq, end);
            queued.chain(ahead).any(|old| {
                let (from, to) = (old.start.max(seg.seq), (old.start + u64::from(old.len)).min(end));
                if from >= to {
                    return false;
                }
                let at = usize::from(old.payload_off) + (from - old.start) as usize;
                let kept = &cx.io.bytes(old.frame)[at..at + (to - from) as usize];
                kept != &fresh[(from - seg.seq) as usize..(to - seg.seq) as usize]
            })
        };
        if differs {
            cx.sh.stats.overlaps += 1;
            self.begin_drain(cx, StopReason::Overlap, None);
        }
    }

    /// Follows the endpoint's own headers: port and flow label always, the rest when the MAC addresses changed, and now
    /// and then.
    fn learn_path<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment) {
        let to = s.side.other() as usize;
        self.rec.port[to] = s.port.peer().0;
        let frame = slice(cx.io.bytes(s.frame), s.off, s.frame_len);
        self.rec.label[to] = s.layers.flow_label(frame);
        let period = (cx.now.0 >> PATH_SHIFT) as u8;
        if self.rec.path_seen[to] == period && cx.sh.paths.get(self.rec.path[to]).has_macs_of(frame) {
            return;
        }
        self.rec.path_seen[to] = period;
        let Some(template) = Template::learn(frame, &s.layers) else { return };
        if template.path() != *cx.sh.paths.get(self.rec.path[to]) {
            if let Some(id) = cx.sh.paths.take(&template) {
                cx.sh.paths.give(self.rec.path[to]);
                self.rec.path[to] = id;
            }
        }
    }

    /// True once both ends have closed and know it.
    pub(crate) fn closed(&self) -> bool {
        self.rec.phase == Phase::Closed
            || (0..2).all(|s| self.act.rx[s].fin().is_some_and(|fin| self.act.rx[s].told_ack() > fin))
    }
}

/// Frames beyond the limit that the least window may fill, halves of segments included.
const OVERHANG: u32 = 8;
/// The headers of a direction are compared with a real packet's once in 2^34 ns (17 s).
const PATH_SHIFT: u32 = 34;
/// Payload that passes every path that carries IPv6 at all (1,280 bytes), with room for tunnels.
const DOUBTED_PAYLOAD: u16 = 1_000;
