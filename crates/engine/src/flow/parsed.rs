//! A received frame, parsed once: what the later stages need of it.

use smartwire_packet::tcp::{Flags, Options, Tcp};
use smartwire_packet::{parse, proto, Ecn, Layers, SCOPE_HASHED};

use crate::api::{Csum, FlowKey, FrameId, Port, Rx, Side, SubscriberKey};
use crate::config::Config;
use crate::table::Hasher;

/// What kind of frame it is to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A TCP segment, whole.
    Segment,
    /// A fragment of TCP; the key is good if it is the first.
    Fragment,
    /// An ICMP packet, perhaps an error about one of our flows.
    Icmp,
    /// TCP, but its header can't be.
    Malformed,
    /// Anything else.
    Other,
}

/// A frame and what was found in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed {
    pub rx: Rx,
    pub what: What,
    pub layers: Layers,
    pub key: FlowKey,
    pub hash: u64,
    /// The flow that it belonged to when the batch was looked up.
    pub flow: Option<u32>,
}

/// The TCP fields of a segment, copied out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// Where it came from: the side of X.
    pub side: Side,
    pub port: Port,
    pub frame: FrameId,
    pub off: u16,
    pub frame_len: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: Flags,
    pub window: u16,
    /// Payload bytes.
    pub len: u16,
    pub options: Options,
    pub ecn: Ecn,
    pub layers: Layers,
    pub csum: Csum,
}

/// An empty key, for frames without one.
const NO_KEY: FlowKey = FlowKey {
    access_addr: std::net::Ipv6Addr::UNSPECIFIED,
    core_addr: std::net::Ipv6Addr::UNSPECIFIED,
    access_port: 0,
    core_port: 0,
    scope: 0,
};

impl Parsed {
    /// Parses a frame and hashes its key.
    pub(crate) fn new(rx: &Rx, bytes: &[u8], hasher: &Hasher, scope_seed: u64) -> Parsed {
        let without = |what, layers| Parsed { rx: *rx, what, layers, key: NO_KEY, hash: 0, flow: None };
        let layers = match parse(bytes) {
            Ok(layers) => layers,
            Err(smartwire_packet::Refusal::TcpHeader) => return without(What::Malformed, NO_LAYERS),
            Err(_) => return without(What::Other, NO_LAYERS),
        };
        let what = match layers.proto {
            proto::TCP if layers.frag => What::Fragment,
            proto::TCP => What::Segment,
            proto::ICMP | proto::ICMPV6 => return without(What::Icmp, layers),
            _ => return without(What::Other, layers),
        };
        let Some((src, dst)) = layers.ports(bytes) else { return without(what, layers) };
        let scope = layers.scope(bytes, scope_seed);
        let key = key(rx.port.side(), layers.src(bytes), layers.dst(bytes), src, dst, scope);
        Parsed { rx: *rx, what, layers, key, hash: hasher.flow(&key), flow: None }
    }

    /// True where the key names a flow.
    pub(crate) fn has_key(&self) -> bool {
        matches!(self.what, What::Segment | What::Fragment) && (self.key.access_port | self.key.core_port) != 0
    }

    /// Sequence and acknowledgement number of a first fragment, if it is long enough to have them.
    pub(crate) fn numbers(&self, bytes: &[u8]) -> Option<(u32, u32)> {
        let at = usize::from(self.layers.l4);
        let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let there = self.layers.first_frag && at + 12 <= usize::from(self.layers.end);
        word(at + 4).zip(word(at + 8)).filter(|_| there)
    }

    pub(crate) fn has_payload(&self) -> bool {
        self.layers.end > self.layers.data
    }

    /// The stream that it is likely to be about: with payload its own, else the one that it acknowledges.
    pub(crate) fn stream(&self) -> usize {
        let side = self.rx.port.side();
        if self.has_payload() { side as usize } else { side.other() as usize }
    }

    /// The TCP fields; `None` unless it is a whole segment.
    pub(crate) fn segment(&self, bytes: &[u8]) -> Option<Segment> {
        let tcp = Tcp::new(bytes, &self.layers)?;
        Some(Segment {
            side: self.rx.port.side(),
            port: self.rx.port,
            frame: self.rx.frame,
            off: self.rx.off,
            frame_len: self.rx.len,
            seq: tcp.seq(),
            ack: tcp.ack(),
            flags: tcp.flags(),
            window: tcp.window(),
            len: tcp.payload().len() as u16,
            options: tcp.options(),
            ecn: self.layers.ecn(bytes),
            layers: self.layers,
            csum: self.rx.csum,
        })
    }
}

const NO_LAYERS: Layers = Layers {
    l3: 0,
    l4: 0,
    data: 0,
    end: 0,
    ip: smartwire_packet::IpVersion::V4,
    proto: 0,
    frag: false,
    first_frag: false,
    ip_options: false,
    routed: false,
    encap: smartwire_packet::Encap::PLAIN,
    pppoe: 0,
    tunnel_count: 0,
    tunnel: [smartwire_packet::Tunnel {
        ip: 0,
        l4: 0,
        end: 0,
        kind: smartwire_packet::TunnelKind::Ip,
        v6: false,
        routed: false,
    }; smartwire_packet::MAX_TUNNELS],
};

/// The frame's part of its buffer.
pub(crate) fn slice(buffer: &[u8], off: u16, len: u16) -> &[u8] {
    buffer.get(usize::from(off)..usize::from(off) + usize::from(len)).unwrap_or(&[])
}

/// The key of a packet that came in on `side`, written from the access side.
pub(crate) fn key(
    side: Side,
    src: std::net::Ipv6Addr,
    dst: std::net::Ipv6Addr,
    src_port: u16,
    dst_port: u16,
    scope: u64,
) -> FlowKey {
    match side {
        Side::Access => {
            FlowKey { access_addr: src, core_addr: dst, access_port: src_port, core_port: dst_port, scope }
        }
        Side::Core => FlowKey { access_addr: dst, core_addr: src, access_port: dst_port, core_port: src_port, scope },
    }
}

/// Whose radio queue a flow shares.
pub(crate) fn subscriber(key: &FlowKey, cfg: &Config) -> SubscriberKey {
    // One or two VLAN ids are written out in a scope, the outer one in front.
    let written_out = key.scope != 0 && key.scope & SCOPE_HASHED == 0;
    if cfg.subscriber_by_vlan && written_out {
        let outer = if key.scope > 0xffff { key.scope >> 16 } else { key.scope };
        return SubscriberKey { addr: std::net::Ipv6Addr::UNSPECIFIED, scope: outer };
    }
    let addr = match key.access_addr.to_ipv4_mapped() {
        Some(_) => key.access_addr,
        None => {
            let mask = u128::MAX << (128 - u32::from(cfg.subscriber_v6_prefix).clamp(1, 128));
            std::net::Ipv6Addr::from_bits(key.access_addr.to_bits() & mask)
        }
    };
    SubscriberKey { addr, scope: key.scope }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_is_an_address_or_a_prefix_or_what_is_in_one_outer_vlan() {
        let key = |access_addr: &str, scope| FlowKey {
            access_addr: access_addr.parse().expect("an address"),
            access_port: 1,
            scope,
            ..NO_KEY
        };
        let of = |a: &FlowKey, b: &FlowKey, cfg: &Config| subscriber(a, cfg) == subscriber(b, cfg);
        let address = Config::default();
        let vlan = Config { subscriber_by_vlan: true, ..Config::default() };
        let (four, six) = ("::ffff:10.0.0.1", "2001:db8::1");
        assert!(of(&key(six, 0), &key("2001:db8::2", 0), &address));
        assert!(!of(&key(six, 0), &key("2001:db8:0:1::1", 0), &address));
        assert!(of(&key(six, 0), &key("2001:db8:0:1::1", 0), &Config { subscriber_v6_prefix: 56, ..address.clone() }));
        assert!(!of(&key(four, 0x1007), &key(six, 0x1007), &address));
        // VLAN 7, and VLAN 9 within it; within a tunnel as ever.
        assert!(of(&key(four, 0x1007), &key(six, 0x1007), &vlan));
        assert!(of(&key(four, 0x1007), &key(six, 0x1007_1009), &vlan));
        assert!(!of(&key(four, 0x1007), &key(four, 0x1008), &vlan));
        assert!(!of(&key(four, 0), &key(six, 0), &vlan));
        assert!(!of(&key(four, SCOPE_HASHED | 1), &key(six, SCOPE_HASHED | 1), &vlan));
    }
}
