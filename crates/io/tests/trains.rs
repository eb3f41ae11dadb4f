//! Segments sent in one call arrive as the same segments. Skips, saying why, without root.
mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Lab;
use smartwire_engine::{Io, Port};
use smartwire_io::driver::Driver;
use smartwire_io::frames::Frames;
use smartwire_io::packet::{PacketOptions, PacketPort};
use smartwire_io::port::PortIo;
use smartwire_io::raw::RawSocket;
use smartwire_io::region::Region;
use smartwire_io::sys;
use smartwire_packet::build::{OptionBytes, Packet};
use smartwire_packet::tcp::Flags;

/// Bytes of segment `n`: now and then a short one.
fn size(n: u32) -> usize {
    if n % 13 == 12 {
        1 + n as usize * 7 % 1400
    } else {
        1428
    }
}

/// A stream over the wrap of its sequence numbers and IP identifications, with what ends a run: short segments, PSH, new
/// timestamps, an ACK that moves.
fn stream(v6: bool) -> Vec<Vec<u8>> {
    let mut seq = u32::MAX - 70_000;
    let segment = |n: u32| {
        let p = Packet::new();
        let p = match v6 {
            true => p.ipv6("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()).flow_label(0xabcde),
            false => p.ipv4("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()).id(65_500u16.wrapping_add(n as u16)),
        };
        let flags = if n % 50 == 49 { Flags::ACK | Flags::PSH } else { Flags::ACK };
        let options = OptionBytes::new().timestamps(1000 + n / 70, 7);
        let payload: Vec<u8> = (0..size(n)).map(|i| (i as u32 * 31 + n) as u8).collect();
        let p = p.ttl(61).class(0x28).tcp(443, 40_000).seq(seq).ack(5 + n / 90).flags(flags).window(900);
        let built = p.options(options.bytes()).payload(&payload).build();
        seq = seq.wrapping_add(size(n) as u32);
        built
    };
    (0..300).map(segment).collect()
}

#[test]
fn segments_that_travel_together_arrive_as_they_were_and_a_damaged_one_arrives_damaged() {
    let Some(lab) = Lab::new("trains") else { return };
    lab.veth("a0", "a1");
    // So that the kernel cuts trains on this side of the cable, as for a network card that can't.
    lab.exec("ethtool -K a0 tso off gso off tx off");
    lab.enter();
    let mut far = RawSocket::open("a1").unwrap();
    let options = PacketOptions { socket_buffer: 8 << 20, backlog: 1024, deaf: true };
    let port = PacketPort::open(0, sys::if_index("a0").unwrap(), "a0", None, options).unwrap();
    let frames = Frames::new(Arc::new(Region::new(1024, 2048).unwrap()), 64).unwrap();
    let mut driver = Driver::over(frames, vec![PortIo::Packet(Box::new(port))], None);
    for v6 in [false, true] {
        let mut sent = stream(v6);
        // Not the engine's, so never looked at.
        let damaged = 20;
        sent[damaged][600] ^= 1;
        for (n, bytes) in sent.iter().enumerate() {
            let frame = driver.alloc().unwrap();
            driver.bytes_mut(frame).unwrap()[..bytes.len()].copy_from_slice(bytes);
            assert!(n == damaged || driver.hold(frame));
            driver.send(Port(0), frame, 0, bytes.len() as u16);
            driver.release(frame);
        }
        let before = driver.out.ports[0].stats();
        driver.flush().unwrap();
        let stats = driver.out.ports[0].stats();
        assert_eq!((stats.tx_frames - before.tx_frames, stats.tx_refused), (300, 0));
        assert!(stats.tx_messages - before.tx_messages < 100, "hardly any travelled together: {stats:?}");
        assert!(!driver.unsent());
        driver.frames.audit().unwrap();
        let (mut got, patience) = (Vec::new(), Instant::now() + Duration::from_secs(20));
        while got.len() < sent.len() && Instant::now() < patience {
            far.recv(|f| got.push(f.bytes.to_vec())).unwrap();
        }
        assert_eq!(got.len(), sent.len());
        for (n, (got, sent)) in got.iter().zip(&sent).enumerate() {
            assert_eq!(got, sent, "segment {n}, IPv6 {v6}");
        }
    }
}
