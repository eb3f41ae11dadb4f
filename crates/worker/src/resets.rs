//! The resets of a connection whose custody is lost: bytes were acknowledged that nobody has any more, so both ends are
//! told.

use std::net::Ipv6Addr;

use smartwire_engine::{FlowKey, Side};
use smartwire_io::steer::Survivor;
use smartwire_packet::build::Packet;
use smartwire_packet::tcp::Flags;

/// (number of the port, frame) of a reset that the endpoint on `side` accepts: it carries the sequence number of the
/// book, exactly the one that it expects next, or one of its window, which it answers with a challenge ACK, and the
/// copper wire that with the exact one (RFC 5961 section 3.2).
pub(crate) fn reset_towards(s: &Survivor, side: Side) -> (u8, Vec<u8>) {
    let ((src, sport), (dst, dport)) = ends(&s.key, side);
    let mut packet = Packet::new().macs(s.mark.macs[side as usize]);
    for (tpid, id) in tags(s) {
        packet = packet.tag(tpid, id);
    }
    let packet = match (src.to_ipv4_mapped(), dst.to_ipv4_mapped()) {
        (Some(src), Some(dst)) => packet.ipv4(src, dst),
        _ => packet.ipv6(src, dst),
    };
    let frame = packet
        .tcp(sport, dport)
        .seq(s.mark.rcv_nxt[side as usize])
        .ack(s.mark.snd_nxt[side as usize])
        .flags(Flags::RST | Flags::ACK)
        .window(0)
        .build();
    (s.mark.port[side as usize], frame)
}

/// The VLAN tags: ids from the scope, where the first of two is the upper half, and their EtherTypes. Priority 0.
fn tags(s: &Survivor) -> impl Iterator<Item = (u16, u16)> {
    let words = match s.key.scope {
        0 => [0, 0],
        one if one >> 16 == 0 => [one, 0],
        two => [two >> 16, two],
    };
    s.mark.tpid.into_iter().zip(words).filter(|&(_, word)| word != 0).map(|(tpid, word)| (tpid, word as u16 & 0x0fff))
}

/// (source, destination) of a packet towards `side`.
fn ends(key: &FlowKey, side: Side) -> ((Ipv6Addr, u16), (Ipv6Addr, u16)) {
    let (access, core) = ((key.access_addr, key.access_port), (key.core_addr, key.core_port));
    match side {
        Side::Access => (core, access),
        Side::Core => (access, core),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smartwire_engine::CustodyMark;
    use smartwire_packet::{csum, parse, tcp::Tcp};

    fn survivor(access: &str, core: &str) -> Survivor {
        let key = FlowKey {
            access_addr: access.parse().unwrap(),
            core_addr: core.parse().unwrap(),
            access_port: 40000,
            core_port: 443,
            scope: 0,
        };
        let mark = CustodyMark { custody: true, rcv_nxt: [11, 22], snd_nxt: [33, 44], port: [2, 3], ..CustodyMark::default() };
        Survivor { entry: 0, key, mark, resets: [0, 0] }
    }

    const BOTH: [(&str, &str); 2] = [("::ffff:10.0.0.7", "::ffff:192.0.2.1"), ("2001:db8::7", "2001:db8::1")];

    #[test]
    fn a_reset_carries_the_number_that_the_endpoint_expects_and_the_other_ends_addresses() {
        for (access, core) in BOTH {
            let s = survivor(access, core);
            let (port, frame) = reset_towards(&s, Side::Access);
            let layers = parse(&frame).unwrap();
            assert!(csum::verify_l4(&frame, &layers));
            assert_eq!((layers.src(&frame), layers.dst(&frame)), (s.key.core_addr, s.key.access_addr));
            assert_eq!(layers.ports(&frame), Some((443, 40000)));
            let tcp = Tcp::new(&frame, &layers).unwrap();
            assert_eq!((port, tcp.seq(), tcp.ack()), (2, 11, 33));
            assert!(tcp.flags().contains(Flags::RST));
        }
    }

    #[test]
    fn a_reset_wears_the_tags_of_its_connection() {
        for (access, core) in BOTH {
            for (tpid, ids) in [([0x8100, 0], &[7][..]), ([0x88a8, 0x8100], &[5, 4095]), ([0x9100, 0x8100], &[4000, 0])] {
                // Another frame of the same flow has the scope that the reset must have.
                let mut other = Packet::new();
                for (&tpid, &id) in tpid.iter().zip(ids) {
                    other = other.tag(tpid, id);
                }
                let other = other.ipv4([10, 0, 0, 7].into(), [192, 0, 2, 1].into()).tcp(1, 2).build();
                let mut s = survivor(access, core);
                s.key.scope = parse(&other).unwrap().scope(&other, 1);
                s.mark.tpid = tpid;
                let (_, frame) = reset_towards(&s, Side::Core);
                assert_eq!(frame[12..12 + 4 * ids.len()], other[12..12 + 4 * ids.len()]);
                let layers = parse(&frame).unwrap();
                assert_eq!(layers.scope(&frame, 1), s.key.scope);
                assert!(csum::verify_l4(&frame, &layers));
            }
        }
    }
}
