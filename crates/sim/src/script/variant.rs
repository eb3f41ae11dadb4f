//! The circumstances in which every script runs. What comes out must not depend on them.

use crate::tunnel::{Kind, Tunnel};

/// One set of circumstances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// IPv6 addresses.
    pub v6: bool,
    /// Sequence numbers wrap within the script.
    pub wrap: bool,
    /// Timestamps wrap within the script.
    pub ts_wrap: bool,
    /// The client is on the core side.
    pub swap: bool,
    /// What the packets travel in.
    pub(super) tunnel: Tunnel,
}

const PLAIN: Variant = Variant { v6: false, wrap: false, ts_wrap: false, swap: false, tunnel: Tunnel::of(Kind::Plain) };

const fn of(i: usize) -> Variant {
    Variant { v6: i & 1 != 0, wrap: i & 2 != 0, ts_wrap: i & 4 != 0, swap: i & 8 != 0, ..PLAIN }
}

const fn within(kind: Kind, v6: bool) -> Variant {
    // Tunnels have nothing to do with the numbers inside; they run with those that wrap.
    Variant { v6, wrap: true, ts_wrap: true, tunnel: Tunnel::of(kind), ..PLAIN }
}

/// All of them.
pub const VARIANTS: &[Variant] = &[
    of(0),
    of(1),
    of(2),
    of(3),
    of(4),
    of(5),
    of(6),
    of(7),
    of(8),
    of(9),
    of(10),
    of(11),
    of(12),
    of(13),
    of(14),
    of(15),
    within(Kind::Vlan, false),
    within(Kind::Vlan, true),
    within(Kind::QinQ, false),
    within(Kind::QinQ, true),
    within(Kind::Mpls, false),
    within(Kind::Mpls, true),
    within(Kind::Pppoe, false),
    within(Kind::Pppoe, true),
    within(Kind::Gtpu, false),
    within(Kind::Gtpu, true),
    within(Kind::GtpuLong, false),
    within(Kind::GtpuLong, true),
    within(Kind::GtpuVlan, true),
    within(Kind::GtpuMpls, false),
    within(Kind::InIpv6, false),
    within(Kind::InIpv4, true),
];

impl Variant {
    /// The name by which `--variant` chooses it.
    pub fn name(&self) -> String {
        let mut name = String::from(if self.v6 { "v6" } else { "v4" });
        for (on, part) in [(self.wrap, "wrap"), (self.ts_wrap, "tswrap"), (self.swap, "swap")] {
            if on {
                name.push('+');
                name.push_str(part);
            }
        }
        if self.tunnel.kind != Kind::Plain {
            name.push('+');
            name.push_str(self.tunnel.kind.name());
        }
        name
    }

    /// First sequence numbers, of client and server.
    pub(super) fn isn(&self) -> [u32; 2] {
        if self.wrap {
            [u32::MAX - 1500, u32::MAX - 700]
        } else {
            [0x1000, 0x2000_0000]
        }
    }

    /// The timestamp clocks at the start, of client and server; one tick is a millisecond.
    pub(super) fn clocks(&self) -> [u32; 2] {
        if self.ts_wrap {
            [u32::MAX - 70, u32::MAX - 90]
        } else {
            [5_000, 900_000]
        }
    }
}
