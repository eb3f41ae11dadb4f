//! How a connection begins.

use super::{fill, Endpoint, Negotiated, Receiver, Sender, State};
use crate::codec::{Opts, Seg, Tcp, ACK, CWR, ECE, RST, SYN};

impl Endpoint {
    pub(super) fn send_syn(&mut self, now: u64, out: &mut Vec<Vec<u8>>) {
        let answering = self.state == State::SynRcvd;
        let offer = |ours: bool, agreed: bool| if answering { agreed } else { ours };
        let opts = Opts {
            mss: Some(self.cfg.mss),
            ws: self.cfg.ws.filter(|_| offer(true, self.opts.ws)),
            sack_ok: offer(self.cfg.sack, self.opts.sack),
            ts: offer(self.cfg.ts, self.opts.ts).then(|| (self.ts(now), if answering { self.recv.echo() } else { 0 })),
            raw: self.cfg.syn_options,
            ..Opts::default()
        };
        let ecn = match (answering, self.cfg.accecn) {
            (false, true) => ECE | CWR,
            (false, false) if self.cfg.ecn => ECE | CWR,
            (true, _) if self.opts.ecn => ECE,
            _ => 0,
        };
        let payload = if answering { 0 } else { usize::from(self.cfg.syn_data) };
        let mut seg = Seg {
            seq: self.cfg.isn,
            ack: if answering { self.irs.wrapping_add(1) } else { 0 },
            flags: SYN | ecn | if answering { ACK } else { 0 },
            window: self.recv.syn_window(),
            opts,
            payload: vec![0; payload],
            ae: self.cfg.accecn && !answering,
            ..Seg::default()
        };
        fill(self.content[0], 0, &mut seg.payload);
        self.syn_at = now;
        self.syn_tries += 1;
        self.syn_timer = Some(now + (1_000_000_000 << (self.syn_tries - 1).min(6)));
        self.emit(&seg, out);
    }

    pub(super) fn negotiate(&mut self, t: &Tcp<'_>, accecn_answer: bool) {
        let o = &t.seg.opts;
        let ws = self.cfg.ws.zip(o.ws);
        self.opts = Negotiated {
            ts: self.cfg.ts && o.ts.is_some(),
            sack: self.cfg.sack && o.sack_ok,
            peer_shift: ws.map_or(0, |w| w.1.min(14)),
            our_shift: ws.map_or(0, |w| w.0),
            ws: ws.is_some(),
            ecn: self.cfg.ecn && !accecn_answer && if self.active { t.seg.flags & (ECE | CWR) == ECE } else { t.seg.has(ECE | CWR) },
        };
        self.irs = t.seg.seq;
        // RFC 6691: options come out of the segment size.
        let options = self.option_bytes();
        let peer_mss = u64::from(o.mss.unwrap_or(536)).min(u64::from(self.cfg.mss));
        let sack = self.opts.sack;
        let (written, fin) = (self.send.written, self.send.fin);
        self.send = Sender::new(&self.cfg, peer_mss - options, sack, self.content[0]);
        (self.send.written, self.send.fin) = (written, fin);
        let mut recv = Receiver::new(&self.cfg, self.opts.our_shift);
        recv.start(o.ts.map_or(0, |t| t.0));
        recv.syn_window();
        self.recv = recv;
    }

    pub(super) fn on_handshake(&mut self, now: u64, t: &Tcp<'_>, out: &mut Vec<Vec<u8>>) {
        let (syn, ack) = (t.seg.has(SYN), t.seg.has(ACK));
        match self.state {
            State::Listen if syn && !ack && !t.seg.has(RST) => {
                self.state = State::SynRcvd;
                self.negotiate(t, t.seg.ae);
                self.step_since = now;
                self.send_syn(now, out);
            }
            State::SynSent if syn && ack && t.seg.ack == self.cfg.isn.wrapping_add(1) => {
                self.negotiate(t, false);
                let rtt = (self.syn_tries == 1).then(|| now - self.syn_at);
                self.establish(now, rtt, u64::from(t.seg.window));
                self.send_ack(now, out);
                self.progress(now, out);
            }
            State::SynSent if ack && !t.seg.has(RST) => {
                // An answer to somebody else's SYN (RFC 9293 3.10.7.3).
                self.emit(&Seg { seq: t.seg.ack, flags: RST, ..Seg::default() }, out);
            }
            State::SynSent if t.seg.has(RST | ACK) && t.seg.ack == self.cfg.isn.wrapping_add(1) => {
                self.end(State::Reset);
            }
            _ => {}
        }
    }

    pub(super) fn establish(&mut self, now: u64, rtt: Option<u64>, window: u64) {
        self.state = State::Established;
        self.syn_timer = None;
        self.heard_at = now;
        self.send.established(now, rtt, window);
    }

    pub(super) fn end(&mut self, state: State) {
        self.state = state;
        self.syn_timer = None;
    }
}
