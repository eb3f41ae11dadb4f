//! The application's turn, and what is sent.

use super::send::Emit;
use super::{fill, Endpoint, State, Step};
use crate::codec::{Opts, Seg, ACK, CWR, ECE, FIN, PSH, RST};

impl Endpoint {
    /// Runs the application, sends what may be sent, acknowledges what must be.
    pub(super) fn progress(&mut self, now: u64, out: &mut Vec<Vec<u8>>) {
        if !self.alive() {
            return;
        }
        if self.state == State::Established {
            self.run_script(now, out);
            if !self.alive() {
                return;
            }
            let mut emits = Vec::new();
            self.send.pump(now, &mut emits);
            self.send_segments(now, &emits, out);
        }
        if self.recv.ack_now {
            self.divide_ack(now, out);
            self.send_ack(now, out);
        }
        if self.send.fin && self.send.all_acked() && self.recv.eof {
            self.end(State::Closed);
        } else if self.send.fin && !self.recv.eof {
            self.closed_first = true;
        }
    }

    pub(super) fn run_script(&mut self, now: u64, out: &mut Vec<Vec<u8>>) {
        while let Some(&step) = self.script.get(self.at_step) {
            let done = match step {
                Step::Send(bytes) => {
                    self.send.written += bytes;
                    true
                }
                Step::Expect(bytes) => self.received() >= bytes,
                Step::Flushed => self.send.all_acked(),
                Step::Wait(ns) => now >= self.step_since + ns,
                Step::Until(at) => now >= at,
                Step::Eof => self.recv.eof,
                Step::Fin => {
                    self.send.fin = true;
                    true
                }
                Step::Reset => {
                    self.send_rst(self.cfg.isn.wrapping_add(self.send.nxt as u32), out);
                    self.end(State::Aborted);
                    true
                }
                Step::StopReading => {
                    self.recv.set_reading(false);
                    true
                }
                Step::Read => {
                    self.recv.ack_now |= self.recv.set_reading(true);
                    true
                }
            };
            if !done {
                return;
            }
            self.at_step += 1;
            self.step_since = now;
            self.step_done.push(now);
        }
    }

    pub(super) fn send_segments(&mut self, now: u64, emits: &[Emit], out: &mut Vec<Vec<u8>>) {
        for e in emits {
            let data_end = e.end.min(self.send.written);
            let mut payload = vec![0; (data_end - e.start.min(data_end)) as usize];
            fill(self.content[0], e.start - 1, &mut payload);
            let fin = self.send.fin && e.end > self.send.written;
            let mut flags = ACK;
            flags |= if fin { FIN } else { 0 };
            flags |= if data_end == self.send.written && !payload.is_empty() { PSH } else { 0 };
            if self.send.cwr && !e.again {
                self.send.cwr = false;
                flags |= CWR;
            }
            let ecn = if self.opts.ecn && !e.again && !payload.is_empty() { 2 } else { 0 };
            self.send_seg(now, e.start, flags, ecn, payload, out);
        }
    }

    pub(super) fn send_ack(&mut self, now: u64, out: &mut Vec<Vec<u8>>) {
        self.send_seg(now, self.send.nxt, ACK, 0, Vec::new(), out);
    }

    /// Acknowledges in small steps what the next ACK acknowledges at once, if that is its quirk.
    fn divide_ack(&mut self, now: u64, out: &mut Vec<Vec<u8>>) {
        let steps = u64::from(self.cfg.divide_acks);
        for (ack, window) in self.recv.steps(steps) {
            let opts = Opts { ts: self.opts.ts.then(|| (self.ts(now), self.recv.echo())), ..Opts::default() };
            let seq = self.cfg.isn.wrapping_add(self.send.nxt as u32);
            let seg = Seg { seq, ack: self.irs.wrapping_add(ack as u32), flags: ACK, window, opts, ..Seg::default() };
            self.emit(&seg, out);
        }
    }

    /// A segment without data below the window: the peer answers with what it has (RFC 9293 3.8.4, and Linux's
    /// zero-window probe).
    pub(super) fn send_probe(&mut self, now: u64, out: &mut Vec<Vec<u8>>) {
        self.send_seg(now, self.send.una.wrapping_sub(1), ACK, 0, Vec::new(), out);
    }

    pub(super) fn send_seg(&mut self, now: u64, start: u64, flags: u8, ecn: u8, payload: Vec<u8>, out: &mut Vec<Vec<u8>>) {
        let ece = if self.recv.ece { ECE } else { 0 };
        let most = if self.opts.ts || !payload.is_empty() { 3 } else { 4 };
        let may = payload.is_empty() || self.cfg.sack_on_data;
        let blocks = if self.opts.sack && may { self.recv.blocks(most) } else { Vec::new() };
        let mut opts = Opts { ts: self.opts.ts.then(|| (self.ts(now), self.recv.echo())), ..Opts::default() };
        opts.sacks = blocks.len() as u8;
        for (slot, block) in opts.sack.iter_mut().zip(&blocks) {
            *slot = (self.irs.wrapping_add(block.0 as u32), self.irs.wrapping_add(block.1 as u32));
        }
        let mut window = self.recv.window();
        if self.rng.chance(self.cfg.window_games) {
            window = self.recv.narrow(window, self.rng.below(16) as u16);
        }
        let seg = Seg {
            seq: self.cfg.isn.wrapping_add(start as u32),
            ack: self.irs.wrapping_add(self.recv.nxt as u32),
            flags: flags | ece,
            window,
            opts,
            ecn,
            payload,
            ae: false,
        };
        self.recv.acked();
        self.emit(&seg, out);
    }

    pub(super) fn send_rst(&mut self, seq: u32, out: &mut Vec<Vec<u8>>) {
        let ack = self.irs.wrapping_add(self.recv.nxt as u32);
        self.emit(&Seg { seq, ack, flags: RST | ACK, ..Seg::default() }, out);
    }

    pub(super) fn emit(&mut self, seg: &Seg, out: &mut Vec<Vec<u8>>) {
        self.ident = self.ident.wrapping_add(1);
        out.push(self.path.tcp(seg, self.ident));
    }
}
