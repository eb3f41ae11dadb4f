//! Packets of somebody in the path who is no end of the connection.

use smartwire_engine::Side;

use super::optimizer::TUNNEL_BYTE;
use super::spec::Forgery;
use super::World;
use crate::codec::{self, Opts, Path, Seg, ACK, RST, SYN};

impl World {
    /// A forged packet comes in from a side.
    pub(super) fn forge(&mut self, side: Side, how: &Forgery) {
        if let Forgery::Blind { flow, flags, seq, ack, bytes } = *how {
            let Some(end) = self.endpoints.get(2 * flow + side as usize) else { return };
            let mac = |n| {
                let mut mac = [2, 0, 0, 0, 9, n];
                mac[TUNNEL_BYTE] = end.path().src_mac[TUNNEL_BYTE];
                mac
            };
            let path = Path { src_mac: mac(9), dst_mac: mac(8), ttl: 33, ..end.path().clone() };
            let opts = Opts { mss: (flags == SYN).then_some(1460), ..Opts::default() };
            let payload = vec![0x5a; usize::from(bytes)];
            let frame = path.tcp(&Seg { seq, ack, flags, window: 1000, opts, payload, ..Seg::default() }, 1);
            return self.wire_in(side, vec![frame]);
        }
        let frames = self.last[side as usize].as_deref().map(|last| near(last, how)).unwrap_or_default();
        if !frames.is_empty() {
            self.wire_in(side, frames);
        }
    }
}

/// Segments that are close to a real one.
fn near(frame: &[u8], how: &Forgery) -> Vec<Vec<u8>> {
    let Some(t) = codec::tcp(frame, false) else { return Vec::new() };
    let mut mac = [[0; 6]; 2];
    mac[0].copy_from_slice(&frame[..6]);
    mac[1].copy_from_slice(&frame[6..12]);
    let path = Path {
        src_mac: mac[1],
        dst_mac: mac[0],
        tags: Vec::new(),
        src: t.ip.src,
        dst: t.ip.dst,
        sport: t.sport,
        dport: t.dport,
        ttl: t.ip.ttl,
        dscp: 0,
        label: 0,
    };
    let mut seg = t.seg.clone();
    seg.opts.sacks = 0;
    let next = seg.seq.wrapping_add(t.payload.len() as u32);
    let stamp = |by: i32| t.seg.opts.ts.map(|(val, ecr)| (val.wrapping_add_signed(by), ecr));
    let mut times = 1;
    match *how {
        Forgery::NearReset => {
            (seg.seq, seg.flags) = (next.wrapping_add(777), RST);
            seg.opts = Default::default();
        }
        Forgery::OldDuplicate if seg.opts.ts.is_some() => {
            (seg.seq, seg.flags, seg.payload) = (next, ACK, vec![0x5a; 100]);
            seg.opts.ts = stamp(-(1 << 24));
        }
        Forgery::FutureStamp if seg.opts.ts.is_some() => {
            (seg.seq, seg.flags) = (next.wrapping_sub(0x5000_0000), ACK);
            seg.opts.ts = stamp(1 << 24);
        }
        Forgery::OptimisticAck(ahead) => {
            (seg.seq, seg.flags, seg.ack) = (next, ACK, seg.ack.wrapping_add(ahead));
        }
        Forgery::DuplicateAcks(count) => {
            (seg.seq, seg.flags) = (next, ACK);
            times = usize::from(count);
        }
        Forgery::Blind { .. } | Forgery::OldDuplicate | Forgery::FutureStamp => return Vec::new(),
    }
    vec![path.tcp(&seg, 99); times]
}
