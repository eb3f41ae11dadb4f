//! Both ends of every connection.

use std::net::Ipv6Addr;

use smartwire_packet::build::Ends;
use smartwire_packet::{IpVersion, Layers};

/// Connections of one subscriber.
pub(super) const PER_SUBSCRIBER: u32 = 8;
/// First TCP port of a subscriber.
const FIRST_PORT: u16 = 1024;
/// Holes that a client remembers.
pub(super) const HOLES: usize = 4;
/// Window shift of both ends.
pub(super) const SHIFT: u8 = 7;

/// What the two ends of one connection know. The server sends, the client acknowledges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// Server: next sequence number.
    pub nxt: u32,
    /// Server: acknowledged so far, by whomever.
    pub una: u32,
    /// Server: end of the window.
    pub right: u32,
    /// Server: latest TSval of the client.
    pub client_ts: u32,
    /// Client: next sequence number expected.
    pub expected: u32,
    /// Client: ranges beyond holes, the newest first; empty where equal.
    pub beyond: [(u32, u32); HOLES],
    /// Client: TSval to echo.
    pub server_ts: u32,
    /// Client: acknowledged so far.
    pub acked: u32,
    /// Client: segments received and not acknowledged.
    pub owed: u8,
    /// Has the server been told of data before the client acknowledged it?
    pub early: bool,
}

/// All connections, the IPv6 ones first.
pub(super) struct Flows {
    flows: Vec<Flow>,
    v6: u32,
}

impl Flows {
    pub fn new(count: u32, v6: u32, seed: u64) -> Flows {
        let flow = |i: u32| {
            let start = server_isn(i, seed).wrapping_add(1);
            Flow {
                nxt: start,
                una: start,
                right: start.wrapping_add(super::traffic::WINDOW.into()),
                client_ts: 1,
                expected: start,
                beyond: [(0, 0); HOLES],
                server_ts: 1,
                acked: start,
                owed: 0,
                early: false,
            }
        };
        Flows { flows: (0..count).map(flow).collect(), v6 }
    }

    pub fn count(&self) -> u32 {
        self.flows.len() as u32
    }

    pub fn is_v6(&self, flow: u32) -> bool {
        flow < self.v6
    }

    pub fn at(&mut self, flow: u32) -> &mut Flow {
        &mut self.flows[flow as usize]
    }

    /// Addresses from the client to the server, and the client's port.
    pub fn ends(&self, flow: u32) -> (Ends, u16) {
        let v6 = self.is_v6(flow);
        let number = if v6 { flow } else { flow - self.v6 };
        let subscriber = number / PER_SUBSCRIBER;
        let port = FIRST_PORT + (number % PER_SUBSCRIBER) as u16;
        let server = number % 251;
        let (src, dst) = if v6 {
            let prefix = 0x2001_0db8_u128 << 96 | u128::from(subscriber) << 64;
            (prefix | 0x1234, 0x2001_0db8_ffff_u128 << 80 | u128::from(server))
        } else {
            (0xffff_0a00_0000 | u128::from(subscriber & 0x00ff_ffff), 0xffff_c633_6400 | u128::from(server))
        };
        let flow_label = if v6 { number & 0x000f_ffff } else { 0 };
        (Ends { src: Ipv6Addr::from(src), dst: Ipv6Addr::from(dst), flow_label }, port)
    }

    /// Which connection a segment with this client address and port belongs to.
    pub fn index(&self, layers: &Layers, client: Ipv6Addr, port: u16) -> u32 {
        let bits = u128::from(client);
        let subscriber = match layers.ip {
            IpVersion::V6 => (bits >> 64) as u32,
            IpVersion::V4 => bits as u32 & 0x00ff_ffff,
        };
        let number = subscriber * PER_SUBSCRIBER + u32::from(port.wrapping_sub(FIRST_PORT));
        number + if layers.ip == IpVersion::V6 { 0 } else { self.v6 }
    }

    /// Connections whose server was told of data before the client acknowledged it.
    pub fn acknowledged_early(&self) -> u32 {
        self.flows.iter().filter(|f| f.early).count() as u32
    }

    /// Connections whose client has not got everything.
    pub fn not_delivered(&self) -> u32 {
        self.flows.iter().filter(|f| f.expected != f.nxt || f.una != f.nxt).count() as u32
    }
}

/// The server's initial sequence number.
pub(super) fn server_isn(flow: u32, seed: u64) -> u32 {
    (flow.wrapping_add(seed as u32)).wrapping_mul(0x9e37_79b9)
}
