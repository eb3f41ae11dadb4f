//! What the tc program does with a frame: counting of subscribers, custody, in every scope.

use std::net::Ipv6Addr;
use std::sync::atomic::Ordering::Relaxed;

use smartwire_engine::api::{CustodyMark, FlowKey, SubscriberKey};
use smartwire_packet::build::Packet;
use smartwire_packet::tcp::{Flags, Tcp};
use smartwire_packet::{csum, parse};

use super::{Bench, PATIENT, REDIRECT, SHOT, STOLEN, XDP_PASS};
use crate::steer::{bpf, foreign, maps, AttachOptions, ForeignBytes, Heartbeat, Wanted};

const PHONE: &str = "192.0.2.1";
const PHONE6: &str = "2001:db8:1:2::1";

fn mapped(a: &str) -> Ipv6Addr {
    a.parse().unwrap_or_else(|_| a.parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped())
}

/// From the phone (`up`) or to it.
fn frame(phone: &str, up: bool, link: impl Fn(Packet) -> Packet) -> Packet {
    let server = if phone.contains(':') { "2001:db8:9::2" } else { "198.51.100.2" };
    let (src, dst) = if up { (phone, server) } else { (server, phone) };
    link(Packet::new()).ip(src.parse().unwrap(), dst.parse().unwrap())
}

#[test]
fn counts_a_registered_subscribers_bytes_by_direction_address_and_vlan() {
    let Some(bench) = Bench::new(&PATIENT) else { return };
    let count = |phone: &str, link: fn(Packet) -> Packet, scope: u64, prefix: &str| {
        let who = SubscriberKey { addr: mapped(prefix), scope };
        let slot = bench.foreigners.register(&bench.wire, &who, false).unwrap();
        let mut sent = ForeignBytes::default();
        for bytes in [0, 10, 1000] {
            let up = frame(phone, true, link).udp(1, 2).payload(&vec![1; bytes]).build();
            let down = frame(phone, false, link).udp(2, 1).payload(&vec![1; bytes * 2]).build();
            // Never both ways, nor a stranger's or another VLAN's.
            let other = frame(phone, true, |p| link(p).vlan(9)).udp(1, 2).build();
            let stranger = frame(if phone.contains(':') { "2001:db8:1:3::1" } else { "192.0.2.3" }, true, link).udp(1, 2).build();
            for f in [&up, &other, &stranger] {
                assert_eq!(bpf::test_run(&bench.packet[0].tc, f).unwrap().0, REDIRECT);
            }
            assert_eq!(bpf::test_run(&bench.xdp[1].tc, &down).unwrap().0, REDIRECT);
            sent.up += up.len() as u64;
            sent.down += down.len() as u64;
            assert_eq!(foreign::read(&bench.wire, slot), sent, "{phone} {scope:#x}");
        }
        bench.foreigners.unregister(&bench.wire, &who).unwrap();
        let up = frame(phone, true, link).udp(1, 2).build();
        bpf::test_run(&bench.packet[0].tc, &up).unwrap();
        assert_eq!(foreign::read(&bench.wire, slot), sent, "after unregistering");
    };
    for (phone, prefix) in [(PHONE, PHONE), (PHONE6, "2001:db8:1:2::")] {
        count(phone, |p| p, 0, prefix);
        count(phone, |p| p.tag(0x88a8, 0x6064), 0x1064, prefix);
        count(phone, |p| p.service_vlan(5).vlan(4095), 0x1005_1fff, prefix);
    }
}

#[test]
fn an_ipv6_subscriber_is_a_prefix_of_the_given_length() {
    for (bits, key, outside) in [
        (48, "2001:db8:1::", "2001:db8:2:2::1"),
        (56, "2001:db8:1::", "2001:db8:1:102::1"),
        (80, "2001:db8:1:2::", "2001:db8:1:2:1::1"),
        (128, PHONE6, "2001:db8:1:2::2"),
    ] {
        let opts = AttachOptions { subscriber_prefix_v6: bits, ..PATIENT };
        let Some(bench) = Bench::new(&opts) else { return };
        let who = SubscriberKey { addr: mapped(key), scope: 0 };
        let slot = bench.foreigners.register(&bench.wire, &who, false).unwrap();
        for phone in [PHONE6, outside] {
            let f = frame(phone, true, |p| p).udp(1, 2).build();
            bpf::test_run(&bench.packet[0].tc, &f).unwrap();
            assert_eq!(foreign::read(&bench.wire, slot), ForeignBytes { up: f.len() as u64, down: 0 }, "/{bits} {phone}");
        }
    }
}

#[test]
fn udp_of_a_shaped_subscriber_is_claimed_both_ways_as_long_as_it_is_shaped() {
    let Some(bench) = Bench::new(&PATIENT) else { return };
    bench.heartbeat.claim().unwrap();
    for (phone, prefix) in [(PHONE, PHONE), (PHONE6, "2001:db8:1:2::")] {
        let who = SubscriberKey { addr: mapped(prefix), scope: 0x1007 };
        let frames = [true, false].map(|up| frame(phone, up, |p| p.vlan(7)).udp(443, 443).payload(b"quic").build());
        let fragment = frame(phone, true, |p| p.vlan(7)).fragment(7, false).udp(443, 443).payload(b"quic").build();
        let claims = || frames.iter().chain([&fragment]).map(|f| bench.claims(f)).collect::<Vec<_>>();
        for (shaped, expected) in [(false, false), (true, true), (false, false), (true, true)] {
            bench.foreigners.register(&bench.wire, &who, shaped).unwrap();
            assert_eq!(claims(), [expected; 3], "shaped: {shaped}");
            assert!(!bench.claims(&frame(phone, true, |p| p.vlan(8)).udp(443, 443).build()), "another VLAN's");
        }
        bench.foreigners.unregister(&bench.wire, &who).unwrap();
        assert_eq!(claims(), [false; 3]);
    }
}

#[test]
fn all_udp_is_claimed_where_policies_say_who_is_shaped() {
    let Some(bench) = Bench::new(&PATIENT) else { return };
    bench.heartbeat.claim().unwrap();
    for all in [true, false] {
        bench.foreigners.shape_all(&bench.wire, all);
        for (phone, up) in [(PHONE, true), (PHONE, false), (PHONE6, true), (PHONE6, false)] {
            assert_eq!(bench.claims(&frame(phone, up, |p| p).udp(443, 443).payload(b"quic").build()), all);
        }
    }
}

#[test]
fn subscribers_beyond_the_room_are_refused_and_room_comes_back() {
    let Some(bench) = Bench::new(&PATIENT) else { return };
    let who = |i: u32| SubscriberKey { addr: Ipv6Addr::from(u128::from(i)), scope: 0 };
    for i in 0..8 {
        bench.foreigners.register(&bench.wire, &who(i), false).unwrap();
    }
    let err = bench.foreigners.register(&bench.wire, &who(8), false).unwrap_err().to_string();
    assert!(err.contains("8 subscribers"), "{err}");
    bench.foreigners.unregister(&bench.wire, &who(3)).unwrap();
    bench.foreigners.register(&bench.wire, &who(8), false).unwrap();
}

/// The hash and the scope of the programs are those of the engine: a flow that the book holds is found.
#[test]
fn a_marked_flow_is_found_in_every_scope_and_from_both_sides() {
    let Some(bench) = Bench::new(&PATIENT) else { return };
    type Link = fn(Packet) -> Packet;
    let links: [Link; 5] =
        [|p| p, |p| p.vlan(1), |p| p.tag(0x88a8, 0xffff), |p| p.service_vlan(4095).vlan(1), |p| p.vlan(0).vlan(0)];
    for (i, link) in links.into_iter().enumerate() {
        for (n, phone) in [PHONE, PHONE6].into_iter().enumerate() {
            bench.heartbeat.claim().unwrap();
            let port = 4000 + (i * 2 + n) as u16;
            let up = frame(phone, true, link).tcp(port, 80).seq(7).ack(8).payload(&[3; 33]).padding(5).build();
            let down = frame(phone, false, link).tcp(80, port).seq(9).ack(10).build();
            let layers = parse(&up).unwrap();
            let key = FlowKey {
                access_addr: layers.src(&up),
                core_addr: layers.dst(&up),
                access_port: port,
                core_port: 80,
                scope: layers.scope(&up, 0xdead_beef),
            };
            let entry = bench.book.claim(&key).unwrap();
            bench.book.write(entry, &CustodyMark { custody: false, ..CustodyMark::default() });
            bench.heartbeat.release();
            answers_nothing(&bench, &up);
            bench.heartbeat.claim().unwrap();
            let entry = bench.book.claim(&key).unwrap();
            bench.book.write(entry, &CustodyMark { custody: true, ..CustodyMark::default() });
            bench.heartbeat.release();
            for (side, segment, ack) in [(0, &up, 8), (1, &down, 10)] {
                let (verdict, out) = bpf::test_run(&bench.packet[side].tc, segment).unwrap();
                assert_eq!(verdict, REDIRECT);
                let l = parse(&out).unwrap();
                assert!(csum::verify(&out, &l));
                assert_eq!(out.len(), usize::from(l.end));
                let t = Tcp::new(&out, &l).unwrap();
                assert_eq!((t.flags(), t.seq(), l.scope(&out, 1)), (Flags::RST, ack, layers.scope(&up, 1)));
                assert_eq!(l.ports(&out), parse(segment).unwrap().ports(segment).map(|(a, b)| (b, a)));
                assert_eq!((&out[..6], &out[6..12]), (&segment[6..12], &segment[..6]));
            }
            // The same addresses in another VLAN, or another port: not this flow.
            answers_nothing(&bench, &frame(phone, true, |p| link(p.vlan(77))).tcp(port, 80).build());
            answers_nothing(&bench, &frame(phone, true, link).tcp(port + 1000, 80).build());
        }
    }
}

fn answers_nothing(bench: &Bench, segment: &[u8]) {
    let (_, out) = bpf::test_run(&bench.packet[0].tc, segment).unwrap();
    assert_eq!(out, segment);
}

/// RFC 9293 3.10.7.1: without ACK the reset acknowledges the segment.
#[test]
fn a_segment_without_ack_is_answered_by_its_length() {
    let Some(bench) = Bench::new(&PATIENT) else { return };
    bench.heartbeat.claim().unwrap();
    let segment = frame(PHONE6, true, |p| p.vlan(3))
        .extension(60, &[0; 6])
        .tcp(4000, 80)
        .flags(Flags::FIN)
        .options(&[1, 1, 1, 1])
        .seq(u32::MAX)
        .payload(&[1; 20])
        .build();
    let l = parse(&segment).unwrap();
    let key = FlowKey { access_addr: l.src(&segment), core_addr: l.dst(&segment), access_port: 4000, core_port: 80, scope: l.scope(&segment, 0) };
    let entry = bench.book.claim(&key).unwrap();
    bench.book.write(entry, &CustodyMark { custody: true, ..CustodyMark::default() });
    bench.heartbeat.release();
    let (_, out) = bpf::test_run(&bench.packet[0].tc, &segment).unwrap();
    let l = parse(&out).unwrap();
    assert!(csum::verify(&out, &l));
    let t = Tcp::new(&out, &l).unwrap();
    assert_eq!((t.flags(), t.seq(), t.ack()), (Flags::RST | Flags::ACK, 0, 20));
}

#[test]
fn a_marked_flow_of_an_engine_that_may_only_be_late_is_neither_reset_nor_passed() {
    let Some(bench) = Bench::new(&PATIENT) else { return };
    bench.heartbeat.claim().unwrap();
    let segment = |port| frame(PHONE, true, |p| p).tcp(port, 80).ack(9).payload(&[1; 20]).build();
    let l = parse(&segment(4000)).unwrap();
    let (access_addr, core_addr) = (l.src(&segment(4000)), l.dst(&segment(4000)));
    let key = FlowKey { access_addr, core_addr, access_port: 4000, core_port: 80, scope: 0 };
    let entry = bench.book.claim(&key).unwrap();
    bench.book.write(entry, &CustodyMark { custody: true, ..CustodyMark::default() });
    // The last beat was so many timeouts ago (before the machine started, which is as good as any time).
    let silent_for = |tenths: u64| {
        let ago = PATIENT.timeout.as_nanos() as u64 / 10 * tenths;
        let beat = Heartbeat::now_ns().wrapping_sub(ago);
        let page = bench.wire.page();
        page.beat_ns.store(beat, Relaxed);
        // Frames came all the time.
        page.heard_beat.store(beat, Relaxed);
        page.silence_ns.store(ago, Relaxed);
    };
    let reset = |out: &[u8]| Tcp::new(out, &parse(out).unwrap()).unwrap().flags() == Flags::RST;
    let run = |port| bpf::test_run(&bench.packet[0].tc, &segment(port)).unwrap();
    silent_for(9);
    assert_eq!((run(4000).0, run(4001).0), (STOLEN, STOLEN), "alive");
    for late in [11, 50, 99] {
        silent_for(late);
        assert_eq!((run(4000).0, run(4001).0), (SHOT, REDIRECT), "{late}");
    }
    assert_eq!(maps::counters(&bench.wire).held_back_frames, 3);
    assert_eq!(maps::counters(&bench.wire).resets, 0);
    silent_for(101);
    let (verdict, out) = run(4000);
    assert!(verdict == REDIRECT && reset(&out));
    // An earlier engine's is answered at once, whatever its successor does.
    silent_for(101);
    bench.heartbeat.release();
    bench.heartbeat.claim().unwrap();
    for tenths in [0, 50, 101] {
        silent_for(tenths);
        let (verdict, out) = run(4000);
        assert!(verdict == REDIRECT && reset(&out), "{tenths}");
    }
}

#[test]
fn an_engine_that_listens_gets_copies_of_handshakes_and_everything_stays_on_the_copper_wire() {
    let links: [fn(Packet) -> Packet; 3] = [|p| p, |p| p.vlan(7), |p| p.service_vlan(5).vlan(9)];
    for phone in [PHONE, PHONE6] {
        for link in links {
            let Some(bench) = Bench::new(&PATIENT) else { return };
            bench.heartbeat.claim().unwrap();
            bench.wire.page().mode.store(Wanted::Handshakes as u32, Relaxed);
            let segment = |up: bool, flags: Flags, bytes: usize| {
                let ports = if up { (40_000, 443) } else { (443, 40_000) };
                frame(phone, up, link).tcp(ports.0, ports.1).flags(flags).payload(&vec![7; bytes]).build()
            };
            let (syn, ack) = (Flags::SYN, Flags::ACK);
            let data = [segment(false, ack, 1000), segment(true, ack, 10), segment(false, ack, 0)];
            let handshake = [segment(true, syn, 0), segment(false, syn | ack, 0), segment(true, ack, 0)];
            let mut got = Vec::new();
            for f in data.iter().chain(&handshake).chain(&data) {
                let side = usize::from(parse(f).unwrap().ports(f) == Some((443, 40_000)));
                assert_eq!(bpf::test_run(&bench.packet[side].tc, f).unwrap().0, REDIRECT);
                assert_eq!(bpf::test_run(&bench.xdp[side].xdp.as_ref().unwrap().prog, f).unwrap().0, XDP_PASS);
                assert_eq!(bpf::test_run(&bench.tap, &[&[0; 14][..], f].concat()).unwrap().0, 0);
                bench.wire.glimpses.read(9, |_, bytes| got.push(bytes.to_vec()));
            }
            assert_eq!(got, handshake, "{phone}");
        }
    }
}
