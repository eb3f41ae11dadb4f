//! Connections that an earlier engine left with custody: bytes were acknowledged that nobody has any more, so both ends
//! are told.

use std::net::Ipv6Addr;

use smartwire_engine::{FlowKey, Io, Now, Port, Side};
use smartwire_io::driver::Driver;
use smartwire_io::steer::{CustodyBook, Survivor};
use smartwire_packet::build::Packet;
use smartwire_packet::tcp::Flags;

/// Resets are repeated, for one may be lost.
const ROUNDS: u32 = 4;
const ROUND_NS: u64 = 1_000_000_000;
/// The copper wire, and then the engine, answer what still comes until the book forgets.
const FORGET_NS: u64 = 10_000_000_000;
/// Connections reset per turn of the housekeeping, so that none of them makes frames scarce.
const PER_TURN: usize = 64;

/// Whom to reset, how often yet.
pub(crate) struct Survivors {
    book: CustodyBook,
    all: Vec<Survivor>,
    next: usize,
    round: u32,
    wait_until: Now,
    sent: u64,
}

impl Survivors {
    /// Reads the book.
    pub(crate) fn find(book: &CustodyBook) -> Survivors {
        let all = book.survivors().collect();
        Survivors { book: book.clone(), all, next: 0, round: 0, wait_until: Now(0), sent: 0 }
    }

    /// Connections reset.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Resets the next few, and in the end forgets them.
    pub(crate) fn reset(&mut self, now: Now, driver: &mut Driver) {
        if self.all.is_empty() || now < self.wait_until {
            return;
        }
        if self.round == ROUNDS {
            self.all.drain(..).for_each(|s| self.book.forget(s.entry));
            return;
        }
        let end = (self.next + PER_TURN).min(self.all.len());
        for s in &self.all[self.next..end] {
            for side in [Side::Access, Side::Core] {
                send(driver, Port(s.mark.port[side as usize]), &reset_towards(s, side));
            }
            self.sent += u64::from(self.round == 0);
        }
        self.next = end;
        if end == self.all.len() {
            self.next = 0;
            self.round += 1;
            self.wait_until = now.after_ns(if self.round == ROUNDS { FORGET_NS } else { ROUND_NS });
        }
    }
}

fn send(driver: &mut Driver, port: Port, bytes: &[u8]) {
    let Some(frame) = driver.alloc() else { return };
    if let Some(buffer) = driver.bytes_mut(frame) {
        buffer[..bytes.len()].copy_from_slice(bytes);
        driver.send(port, frame, 0, bytes.len() as u16);
    }
    driver.release(frame);
}

/// A reset that the endpoint on `side` accepts: it carries exactly the sequence number that it expects next (RFC 5961
/// section 3.2).
fn reset_towards(s: &Survivor, side: Side) -> Vec<u8> {
    let ((src, sport), (dst, dport)) = ends(&s.key, side);
    let packet = Packet::new().macs(s.mark.macs[side as usize]);
    let packet = match (src.to_ipv4_mapped(), dst.to_ipv4_mapped()) {
        (Some(src), Some(dst)) => packet.ipv4(src, dst),
        _ => packet.ipv6(src, dst),
    };
    packet
        .tcp(sport, dport)
        .seq(s.mark.rcv_nxt[side as usize])
        .ack(s.mark.snd_nxt[side as usize])
        .flags(Flags::RST | Flags::ACK)
        .window(0)
        .build()
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

    #[test]
    fn a_reset_carries_the_number_that_the_endpoint_expects_and_the_other_ends_addresses() {
        for (access, core) in [("::ffff:10.0.0.7", "::ffff:192.0.2.1"), ("2001:db8::7", "2001:db8::1")] {
            let key = FlowKey {
                access_addr: access.parse().unwrap(),
                core_addr: core.parse().unwrap(),
                access_port: 40000,
                core_port: 443,
                scope: 0,
            };
            let mark = CustodyMark { custody: true, rcv_nxt: [11, 22], snd_nxt: [33, 44], ..CustodyMark::default() };
            let s = Survivor { entry: 0, key, mark, resets: [0, 0] };
            let frame = reset_towards(&s, Side::Access);
            let layers = parse(&frame).unwrap();
            assert!(csum::verify_l4(&frame, &layers));
            assert_eq!((layers.src(&frame), layers.dst(&frame)), (key.core_addr, key.access_addr));
            assert_eq!(layers.ports(&frame), Some((443, 40000)));
            let tcp = Tcp::new(&frame, &layers).unwrap();
            assert_eq!((tcp.seq(), tcp.ack()), (11, 33));
            assert!(tcp.flags().contains(Flags::RST));
        }
    }
}
