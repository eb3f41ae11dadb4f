//! Reading and changing TCP headers.

mod common;

use common::{both, segment, Rng};
use smartwire_packet::build::{OptionBytes, Packet};
use smartwire_packet::tcp::{Flags, Tcp, TcpMut};
use smartwire_packet::{csum, parse, Layers};

fn layers(frame: &[u8]) -> Layers {
    parse(frame).unwrap()
}

#[test]
fn every_field_is_read_where_it_was_written() {
    for packet in both(&Packet::new().vlan(3)) {
        let frame = packet
            .tcp(0x1234, 0x5678)
            .seq(0x9abc_def0)
            .ack(0x1357_9bdf)
            .flags(Flags::URG | Flags::AE | Flags::FIN)
            .window(0x2468)
            .urgent(0xfedc)
            .options(&[1, 1, 1, 0])
            .payload(b"abc")
            .build();
        let l = layers(&frame);
        let tcp = Tcp::new(&frame, &l).unwrap();
        assert_eq!((tcp.src_port(), tcp.dst_port()), (0x1234, 0x5678));
        assert_eq!((tcp.seq(), tcp.ack()), (0x9abc_def0, 0x1357_9bdf));
        assert_eq!((tcp.window(), tcp.urgent(), tcp.reserved()), (0x2468, 0xfedc, 0));
        assert_eq!(tcp.flags(), Flags::URG | Flags::AE | Flags::FIN);
        assert_eq!((tcp.header_len(), tcp.option_bytes(), tcp.payload()), (24, &[1, 1, 1, 0][..], &b"abc"[..]));
        assert_eq!(tcp.seq_len(), 4);
        let at = usize::from(l.l4) + 16;
        assert_eq!(tcp.checksum(), u16::from_be_bytes([frame[at], frame[at + 1]]));
    }
}

#[test]
fn reserved_bits_are_no_flags() {
    let [packet, _] = both(&Packet::new());
    let mut frame = packet.tcp(1, 2).build();
    frame[34 + 12] |= 0x0e;
    let l = layers(&frame);
    let tcp = Tcp::new(&frame, &l).unwrap();
    assert_eq!((tcp.reserved(), tcp.flags()), (7, Flags::ACK));
}

#[test]
fn padding_is_not_payload() {
    let [packet, _] = both(&Packet::new());
    let frame = packet.tcp(1, 2).payload(b"x").padding(20).build();
    assert_eq!(Tcp::new(&frame, &layers(&frame)).unwrap().payload(), b"x");
}

#[test]
fn syn_and_fin_take_one_sequence_number_each() {
    for (flags, length) in [(Flags::ACK, 2), (Flags::SYN, 3), (Flags::FIN, 3), (Flags::SYN | Flags::FIN, 4)] {
        let [packet, _] = both(&Packet::new());
        let frame = packet.tcp(1, 2).flags(flags).payload(b"xy").build();
        assert_eq!(Tcp::new(&frame, &layers(&frame)).unwrap().seq_len(), length);
    }
}

#[test]
fn flags_are_written_by_name() {
    assert_eq!(format!("{:?}", Flags::SYN | Flags::ACK | Flags::AE), "SYN|ACK|AE");
    assert_eq!(format!("{:?}", Flags::NONE), "NONE");
    assert_eq!(!Flags::ALL, Flags::NONE);
    assert!((Flags::SYN | Flags::ACK).contains(Flags::ACK) && !Flags::ACK.contains(Flags::SYN | Flags::ACK));
    assert!(Flags::ACK.intersects(Flags::SYN | Flags::ACK));
}

/// One random change to the header, which leaves its length alone.
fn change(rng: &mut Rng, frame: &mut [u8], l: &Layers) {
    let options = Tcp::new(frame, l).unwrap().options();
    let mut tcp = TcpMut::new(frame, l).unwrap();
    for _ in 0..1 + rng.below(4) {
        match rng.below(8) {
            0 => tcp.set_seq(rng.u32()),
            1 => tcp.set_ack(rng.u32()),
            2 => tcp.set_window(rng.u16()),
            3 => tcp.set_urgent(rng.u16()),
            4 => tcp.set_flags(Flags(rng.u16() & 0x1ff), Flags(rng.u16() & 0x1ff)),
            5 => {
                tcp.set_timestamps(options.ts.map_or(0, |t| t.at), rng.u32(), rng.u32());
            }
            6 => {
                let blocks: Vec<_> = (0..rng.below(6)).map(|_| (rng.u32(), rng.u32())).collect();
                tcp.set_sack(options.sack.at, &blocks);
            }
            _ => {
                let (at, n) = (rng.below(64), rng.below(10));
                tcp.replace_bytes(at, &rng.bytes(n));
            }
        }
    }
}

#[test]
fn after_any_changes_every_checksum_is_what_a_recomputation_gives() {
    let mut rng = Rng::seeded("any_changes");
    for _ in 0..10_000 {
        let mut frame = segment(&mut rng, 64);
        let l = layers(&frame);
        change(&mut rng, &mut frame, &l);
        common::slow::check(&frame, &l).unwrap();
        let mut refilled = frame.clone();
        csum::fill_l4(&mut refilled, &l);
        assert_eq!(refilled, frame, "bit for bit, whichever form of zero");
    }
}

#[test]
fn a_wrong_checksum_stays_wrong_by_as_much() {
    let mut rng = Rng::seeded("stays_wrong");
    for _ in 0..5_000 {
        let mut frame = segment(&mut rng, 64);
        let l = layers(&frame);
        let at = usize::from(l.l4) + 16;
        let error = 1 + rng.below(0xfffe) as u16;
        let right = u16::from_be_bytes([frame[at], frame[at + 1]]);
        frame[at..at + 2].copy_from_slice(&csum::add(right, error).to_be_bytes());
        change(&mut rng, &mut frame, &l);
        assert!(!csum::verify_l4(&frame, &l));
        let wrong = u16::from_be_bytes([frame[at], frame[at + 1]]);
        frame[at..at + 2].copy_from_slice(&csum::add(wrong, !error).to_be_bytes());
        assert!(csum::verify_l4(&frame, &l));
    }
}

#[test]
fn setting_what_is_there_already_changes_no_bit() {
    let mut rng = Rng::seeded("no_bit");
    for _ in 0..1_000 {
        let mut frame = segment(&mut rng, 64);
        let (before, l) = (frame.clone(), layers(&frame));
        let (seq, ack, window, flags, ts) = {
            let t = Tcp::new(&frame, &l).unwrap();
            (t.seq(), t.ack(), t.window(), t.flags(), t.options().ts)
        };
        {
            let mut tcp = TcpMut::new(&mut frame, &l).unwrap();
            tcp.set_seq(seq);
            tcp.set_ack(ack);
            tcp.set_window(window);
            tcp.set_flags(Flags::ALL, flags);
            if let Some(ts) = ts {
                assert!(tcp.set_timestamps(ts.at, ts.val, ts.ecr));
            }
        }
        assert_eq!(frame, before);
    }
}

fn with_options(options: &[u8]) -> (Vec<u8>, Layers) {
    let [_, packet] = both(&Packet::new());
    let frame = packet.tcp(1, 2).options(options).payload(b"abc").build();
    let l = layers(&frame);
    (frame, l)
}

#[test]
fn timestamps_at_any_alignment_are_changed_in_place() {
    for shift in 0..4 {
        let mut options = vec![1; shift];
        options.extend([8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        let (mut frame, l) = with_options(&options);
        let ts = Tcp::new(&frame, &l).unwrap().options().ts.unwrap();
        assert_eq!((ts.val, ts.ecr, usize::from(ts.at)), (1, 2, 20 + shift));
        assert!(TcpMut::new(&mut frame, &l).unwrap().set_timestamps(ts.at, 0xdead_beef, 0xfeed_f00d));
        let ts = Tcp::new(&frame, &l).unwrap().options().ts.unwrap();
        assert_eq!((ts.val, ts.ecr), (0xdead_beef, 0xfeed_f00d));
        assert!(csum::verify(&frame, &l));
    }
}

#[test]
fn timestamps_are_not_written_where_there_are_none() {
    let (mut frame, l) = with_options(&[1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    let before = frame.clone();
    for at in [0, 8, 19, 20, 22, 30, 200] {
        assert!(!TcpMut::new(&mut frame, &l).unwrap().set_timestamps(at, 1, 2));
    }
    assert_eq!(frame, before);
}

#[test]
fn fewer_sack_blocks_leave_nops_and_the_length_as_it_was() {
    let old = OptionBytes::new().timestamps(1, 2).sack(&[(1, 2), (3, 4), (5, 6)]);
    for count in 0..5_usize {
        let (mut frame, l) = with_options(old.bytes());
        let sack = Tcp::new(&frame, &l).unwrap().options().sack;
        assert_eq!((sack.blocks().len(), sack.at), (3, 34));
        let new: Vec<_> = (0..count as u32).map(|i| (i * 100, i * 100 + 50)).collect();
        assert!(TcpMut::new(&mut frame, &l).unwrap().set_sack(sack.at, &new));
        let l2 = layers(&frame);
        assert_eq!(l2, l);
        let options = Tcp::new(&frame, &l).unwrap().options();
        assert!(!options.malformed());
        assert_eq!(options.sack.blocks(), &new[..count.min(3)], "as many as fit");
        assert_eq!(options.ts.unwrap().val, 1);
        assert!(csum::verify(&frame, &l));
    }
}

#[test]
fn sack_blocks_are_not_written_where_there_are_none() {
    let (mut frame, l) = with_options(OptionBytes::new().timestamps(5 << 24, 10).bytes());
    let before = frame.clone();
    for at in [0, 19, 20, 22, 31, 33, 255] {
        assert!(!TcpMut::new(&mut frame, &l).unwrap().set_sack(at, &[(1, 2)]), "at {at}");
    }
    assert_eq!(frame, before);
}

#[test]
fn bytes_outside_the_options_are_not_replaced() {
    let (mut frame, l) = with_options(&[1; 8]);
    let before = frame.clone();
    for (at, n) in [(0, 4), (19, 1), (20, 9), (27, 2), (60, 1)] {
        assert!(!TcpMut::new(&mut frame, &l).unwrap().replace_bytes(at, &vec![7; n]));
    }
    assert_eq!(frame, before);
    assert!(TcpMut::new(&mut frame, &l).unwrap().replace_bytes(21, &[7, 7, 7]));
    assert_eq!(Tcp::new(&frame, &l).unwrap().option_bytes(), &[1, 7, 7, 7, 1, 1, 1, 1]);
    assert!(csum::verify(&frame, &l));
}

#[test]
fn a_written_checksum_is_kept_but_for_the_other_changes() {
    let (mut frame, l) = with_options(&[]);
    {
        let mut tcp = TcpMut::new(&mut frame, &l).unwrap();
        tcp.set_checksum(0x1234);
    }
    assert_eq!(Tcp::new(&frame, &l).unwrap().checksum(), 0x1234);
    let window = Tcp::new(&frame, &l).unwrap().window();
    {
        let mut tcp = TcpMut::new(&mut frame, &l).unwrap();
        tcp.set_window(window.wrapping_sub(1));
        tcp.set_checksum(0x4321);
    }
    assert_eq!(Tcp::new(&frame, &l).unwrap().checksum(), csum::update16(0x4321, window, window - 1));
}

#[test]
fn what_is_no_segment_has_no_view() {
    let [v4, _] = both(&Packet::new());
    let mut frame = v4.clone().udp(1, 2).build();
    let l = layers(&frame);
    assert!(Tcp::new(&frame, &l).is_none() && TcpMut::new(&mut frame, &l).is_none());
    let mut frame = v4.fragment(0, true).tcp(1, 2).build();
    let l = layers(&frame);
    assert!(Tcp::new(&frame, &l).is_none() && TcpMut::new(&mut frame, &l).is_none());
}
