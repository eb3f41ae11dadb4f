//! Ends at random: TCP of every kind, and applications that come to an end together.

use smartwire_engine::Side;

use super::{MS, S};
use crate::endpoint::{CcKind, Step, TcpConfig};
use crate::rng::Rng;
use crate::tunnel::{Kind, Tunnel};
use crate::world::FlowSpec;

fn tcp(rng: &mut Rng, v6: bool) -> TcpConfig {
    let near_wrap = |rng: &mut Rng| if rng.chance(0.3) { u32::MAX - rng.range(0, 400_000) as u32 } else { rng.bits() as u32 };
    let full: u16 = if v6 { 1440 } else { 1460 };
    let rcv_buf = (20_000.0 * 300f64.powf(rng.unit())) as u64;
    // A quarter of the buffer is some units of the window field at least.
    let coarsest = u64::from((rcv_buf / 64).ilog2()).min(14);
    TcpConfig {
        mss: if rng.chance(0.7) { full } else { rng.range(536, u64::from(full)) as u16 },
        ts: rng.chance(0.8),
        sack: rng.chance(0.8),
        ws: rng.chance(0.85).then(|| rng.range(0, coarsest) as u8),
        ecn: rng.chance(0.3),
        iw: rng.range(1, 20) as u32,
        rcv_buf,
        autotune: rng.chance(0.7),
        cc: [CcKind::Cubic, CcKind::Bbr, CcKind::Reno][rng.below(3) as usize],
        hystart: rng.chance(0.5),
        tlp: rng.chance(0.7),
        delack_ns: rng.range(1, 200) * MS,
        ack_every: if rng.chance(0.8) { 2 } else { rng.range(1, 12) as u32 },
        keepalive_ns: rng.chance(0.1).then_some(5 * S),
        isn: near_wrap(rng),
        ts_at_zero: if rng.chance(0.3) { u32::MAX - rng.range(0, 20_000) as u32 } else { rng.bits() as u32 | 1 },
        renege: if rng.chance(0.1) { 0.01 } else { 0.0 },
        shrink_after: rng.chance(0.1).then(|| rng.range(10_000, 200_000)),
        ..TcpConfig::default()
    }
}

/// A connection of one of so many phones.
pub(super) fn flow(rng: &mut Rng, i: u16, phones: usize) -> FlowSpec {
    let v6 = rng.chance(0.5);
    let (phone_app, server_app) = apps(rng);
    FlowSpec {
        phone: rng.below(phones as u64) as usize,
        start_ns: rng.range(0, 5 * S),
        opens: if rng.chance(0.85) { Side::Access } else { Side::Core },
        phone_tcp: tcp(rng, v6),
        server_tcp: tcp(rng, v6),
        phone_app,
        server_app,
        ..FlowSpec::new(v6, 1000 + i)
    }
}

/// Two applications that come to an end together.
fn apps(rng: &mut Rng) -> (Vec<Step>, Vec<Step>) {
    use Step::{Eof, Expect, Fin, Flushed, Read, Reset, Send, StopReading, Wait};
    let much = (1000.0 * 2000f64.powf(rng.unit())) as u64;
    let little = rng.range(1, 5000);
    let pause = rng.range(0, 3 * S);
    match rng.below(9) {
        0 | 1 => (vec![Send(little), Expect(much), Eof, Fin], vec![Expect(little), Send(much), Fin]),
        2 => (vec![Send(much), Expect(little), Fin], vec![Expect(much), Send(little), Eof, Fin]),
        3 => (vec![Send(much), Expect(much), Fin], vec![Send(much), Expect(much), Fin]),
        4 => {
            let rounds = rng.range(2, 12);
            let phone = (1..=rounds).flat_map(|k| [Send(little), Expect(k * (much / 8 + 1)), Wait(pause / 4)]);
            let server = (1..=rounds).flat_map(|k| [Expect(k * little), Send(much / 8 + 1)]);
            (phone.chain([Fin, Eof]).collect(), server.chain([Eof, Fin]).collect())
        }
        5 => (vec![Send(little), Fin, Expect(much), Eof], vec![Eof, Wait(pause), Send(much), Fin]),
        6 => (vec![Send(little), Expect(much / 2), Reset], vec![Expect(little), Send(much)]),
        7 => (vec![Send(little), Eof], vec![Expect(little), Send(much), Flushed, Reset]),
        _ => {
            let phone = vec![Send(little), StopReading, Wait(pause * 3), Read, Expect(much), Eof, Fin];
            (phone, vec![Expect(little), Send(much), Fin])
        }
    }
}

/// Quirks of the ends beyond those of [`tcp`].
pub(super) fn quirks(rng: &mut Rng, flows: &mut [FlowSpec]) {
    for flow in flows {
        for end in [&mut flow.phone_tcp, &mut flow.server_tcp] {
            if rng.chance(0.08) {
                end.window_games = 0.3 * rng.unit();
            }
            if rng.chance(0.08) {
                end.divide_acks = rng.range(2, 20) as u32;
            }
            end.sack_on_data = rng.chance(0.3);
        }
    }
}

/// What the connections travel in: nothing in most worlds. In some, two of them have the same addresses and ports and
/// are kept apart by their tunnels alone.
pub(super) fn tunnels(rng: &mut Rng, flows: &mut [FlowSpec]) {
    if !rng.chance(0.3) {
        return;
    }
    for flow in flows.iter_mut() {
        let kind = Kind::ALL[rng.below(Kind::ALL.len() as u64) as usize];
        flow.tunnel = Tunnel { kind, number: if kind.apart() { rng.below(2) as u8 } else { 0 } };
    }
    let [first, second, ..] = flows else { return };
    if rng.chance(0.5) && first.tunnel.kind.apart() {
        (second.phone, second.v6, second.ports, second.opens) = (first.phone, first.v6, first.ports, first.opens);
        second.tunnel = Tunnel { number: 1 - first.tunnel.number, ..first.tunnel };
    }
}
