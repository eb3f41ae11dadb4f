//! The invariants I1 to I8 (tcp.md 2.2), checked on every packet from what went in and what came out: nothing here
//! knows how the engine works.

use std::collections::HashSet;

use super::{byte, Pkt, ACK};
use smartwire_engine::{Now, Side};
use smartwire_packet::tcp::Flags;

/// One stream, as an observer on both sides of the engine knows it.
#[derive(Default)]
struct Stream {
    /// Ranges that entered from the sender.
    entered: Vec<(u64, u64)>,
    /// Contiguous edge of these.
    edge: u64,
    /// Highest offset that entered.
    far: u64,
    fin: Option<u64>,
    /// Highest real acknowledgement of the receiver.
    una: u64,
    /// Highest acknowledgement and right edge shown to the sender.
    told_ack: u64,
    told_right: u64,
    /// Timestamps of the sender's, all and the highest that left.
    stamps: HashSet<u32>,
    stamp_out: Option<u32>,
}

pub struct Checker {
    streams: [Stream; 2],
    /// The flow is not optimized: packets may be anything that went in.
    pub wire: bool,
    pub violations: bool,
}

impl Checker {
    pub fn new(_isn: [u32; 2], _shift: [u8; 2]) -> Checker {
        Checker { streams: [Stream::default(), Stream::default()], wire: true, violations: true }
    }

    /// Highest offset seen of the stream from a side.
    pub fn far(&self, from: Side) -> u64 {
        self.streams[from as usize].far
    }

    /// Bytes that the sender on this side believes delivered and the receiver has not acknowledged.
    pub fn custody(&self, from: Side) -> u64 {
        let s = &self.streams[from as usize];
        s.told_ack.saturating_sub(s.una)
    }

    /// An endpoint's packet goes into the engine.
    pub fn entered(&mut self, _now: Now, p: &Pkt) {
        let other = p.side.other() as usize;
        let s = &mut self.streams[p.side as usize];
        s.entered.push((p.seq, p.end()));
        s.far = s.far.max(p.end());
        if p.flags.contains(Flags::FIN) {
            s.fin = Some(p.end());
        }
        loop {
            let edge = s.edge;
            for &(l, r) in &s.entered {
                if l <= s.edge && r > s.edge {
                    s.edge = r;
                }
            }
            if s.edge == edge {
                break;
            }
        }
        if let Some((val, _)) = p.ts {
            s.stamps.insert(val);
        }
        if p.flags.contains(ACK) {
            let y = &mut self.streams[other];
            if p.ack <= y.far {
                y.una = y.una.max(p.ack);
            }
        }
    }

    /// A packet comes out of the engine.
    pub fn left(&mut self, p: &Pkt, payload: &[u8]) {
        if self.wire || p.flags.intersects(Flags::RST | Flags::SYN) {
            return;
        }
        let from = p.side.other();
        // I3: each byte where the sender put it.
        for (i, &b) in payload.iter().enumerate() {
            assert_eq!(b, byte(from, p.seq + i as u64), "I3: another byte at {} from {from:?}", p.seq + i as u64);
        }
        let s = &mut self.streams[from as usize];
        assert!(p.end() <= s.far, "I3: bytes that {from:?} never sent, to {} of {}", p.end(), s.far);
        if let Some((val, _)) = p.ts {
            assert!(s.stamps.contains(&val), "I5: TSval {val} was never sent by {from:?}");
            if let Some(before) = s.stamp_out {
                assert!(val.wrapping_sub(before) as i32 >= 0, "I5: TSval went back from {before} to {val}");
            }
            s.stamp_out = Some(val);
        }
        let x = &mut self.streams[p.side as usize];
        if let Some((_, ecr)) = p.ts {
            assert!(x.stamps.contains(&ecr), "I5: TSecr {ecr} was never sent by {:?}", p.side);
        }
        assert!(p.ack <= x.edge.max(x.una), "I1: ack {} beyond what came in, {} (una {})", p.ack, x.edge, x.una);
        if let Some(fin) = x.fin {
            assert!(p.ack < fin || x.una >= fin, "I7: FIN acknowledged before its receiver did");
        }
        assert!(p.ack >= x.told_ack, "I2: ack went back from {} to {} towards {:?}", x.told_ack, p.ack, p.side);
        assert!(p.right() >= x.told_right, "I2: edge went back from {} to {} towards {:?}", x.told_right, p.right(), p.side);
        x.told_ack = p.ack;
        x.told_right = p.right();
        for &(l, r) in &p.sack {
            assert!(l < r && r <= x.far, "SACK of bytes that never came in: {l}..{r}");
        }
    }
}
