//! Packets that nobody sent, made from headers that somebody did send.

mod common;

use common::{both, encapsulations, ip, segment_in, slow, tcp_options, v4_pair, v6_pair, Rng, ECN};
use smartwire_packet::build::{write_tcp, Ends, Packet, TcpFields, Template, WriteError, MAX_PREFIX};
use smartwire_packet::tcp::{Flags, Tcp};
use smartwire_packet::{csum, parse, Ecn, IpVersion, Layers};

fn layers(frame: &[u8]) -> Layers {
    parse(frame).unwrap()
}

fn fields(rng: &mut Rng) -> TcpFields {
    TcpFields {
        src_port: rng.u16(),
        dst_port: rng.u16(),
        seq: rng.u32(),
        ack: rng.u32(),
        flags: Flags(rng.u16() & 0x1ff),
        window: rng.u16(),
        ip_id: rng.u16(),
        ecn: ECN[rng.below(4)],
    }
}

#[test]
fn a_written_packet_is_right_in_every_encapsulation_and_says_what_it_was_told() {
    let mut rng = Rng::seeded("written");
    for (name, packet) in encapsulations() {
        for _ in 0..40 {
            let frame = segment_in(&mut rng, packet.clone(), 50);
            let l = layers(&frame);
            let template = Template::learn(&frame, &l).unwrap_or_else(|| panic!("{name}"));
            let fields = fields(&mut rng);
            let n = rng.below(90);
            let (options, payload) = (tcp_options(&mut rng), rng.bytes(n));
            let options = &options[..options.len() & !3];
            let mut out = vec![0xee; 1_000];
            let length = write_tcp(&mut out, &template, &fields, options, &payload).unwrap();
            let (new, beyond) = out.split_at(length);
            assert!(beyond.iter().all(|b| *b == 0xee));
            let m = layers(new);
            slow::check(new, &m).unwrap_or_else(|e| panic!("{name}: {e}"));
            let t = Tcp::new(new, &m).unwrap();
            assert_eq!((t.src_port(), t.dst_port()), (fields.src_port, fields.dst_port));
            assert_eq!((t.seq(), t.ack(), t.window()), (fields.seq, fields.ack, fields.window));
            assert_eq!((t.flags(), t.urgent(), t.reserved()), (fields.flags, 0, 0));
            assert_eq!((t.option_bytes(), t.payload()), (options, &payload[..]));
            assert_eq!((m.ecn(new), m.ip_id(new).unwrap_or(fields.ip_id)), (fields.ecn, fields.ip_id));
            assert_eq!(m.end as usize, length, "no padding");
        }
    }
}

#[test]
fn all_that_is_the_endpoints_own_is_taken_from_its_frame() {
    let mut rng = Rng::seeded("endpoints_own");
    for (name, packet) in encapsulations() {
        let macs = rng.bytes(12).try_into().unwrap();
        let frame = ip(&mut rng, packet.macs(macs)).tcp(1, 2).payload(b"some").build();
        let l = layers(&frame);
        let template = Template::learn(&frame, &l).unwrap();
        let mut out = vec![0; 500];
        let f = TcpFields { ecn: l.ecn(&frame), ..fields(&mut rng) };
        let length = write_tcp(&mut out, &template, &f, &[], &[]).unwrap();
        let (new, m) = (&out[..length], layers(&out[..length]));
        assert_eq!(new[..12], frame[..12], "{name}");
        assert_eq!((m.ttl(new), m.traffic_class(new)), (l.ttl(&frame), l.traffic_class(&frame)), "{name}");
        assert_eq!((m.src(new), m.dst(new)), (l.src(&frame), l.dst(&frame)));
        assert_eq!((m.flow_label(new), m.dont_fragment(new)), (l.flow_label(&frame), l.dont_fragment(&frame)));
        assert_eq!((m.encap, m.l3, m.l4, m.scope(new, 9)), (l.encap, l.l3, l.l4, l.scope(&frame, 9)));
        // A link header has nothing else in it.
        let first_ip = l.tunnels().first().map_or(l.l3, |t| t.ip) as usize;
        let link = if l.pppoe != 0 { usize::from(l.pppoe) + 4 } else { first_ip };
        assert_eq!(new[..link], frame[..link], "{name}");
    }
}

#[test]
fn two_frames_of_one_direction_give_one_template() {
    let mut rng = Rng::seeded("one_template");
    for (name, packet) in encapsulations() {
        let (a, b) = v4_pair();
        let frame = |id, ecn, payload: &[u8]| {
            packet.clone().id(id).ecn(ecn).ipv4(a, b).id(id).ecn(ecn).tcp(1, 2).payload(payload).build()
        };
        let one = frame(1, Ecn::NotEct, b"");
        let n = rng.below(300);
        let two = frame(rng.u16(), ECN[rng.below(4)], &rng.bytes(n));
        let (one, two) = (Template::learn(&one, &layers(&one)), Template::learn(&two, &layers(&two)));
        assert!(one.is_some() && one == two, "{name}");
    }
}

#[test]
fn the_outer_checksum_is_used_where_the_endpoint_used_it_and_not_elsewhere() {
    let (a, b) = v4_pair();
    for used in [false, true] {
        let frame = Packet::new().ipv4(a, b).gtpu(1).udp_checksum(used).ipv4(b, a).tcp(1, 2).build();
        let template = Template::learn(&frame, &layers(&frame)).unwrap();
        let mut out = vec![0; 500];
        let f = fields(&mut Rng::seeded("outer_checksum"));
        write_tcp(&mut out, &template, &f, &[], b"x").unwrap();
        assert_eq!(out[40..42] != [0, 0], used);
    }
}

#[test]
fn a_path_is_the_same_for_all_flows_and_complete_again_with_their_ends() {
    let mut rng = Rng::seeded("path");
    for (_, packet) in encapsulations() {
        for v6 in [false, true] {
            let mut flow = || {
                let p = packet.clone();
                let p = if v6 { p.ipv6(rng.v6(), rng.v6()).flow_label(rng.u32()) } else { p.ipv4(rng.v4(), rng.v4()) };
                let frame = p.class(0xb8).tcp(1, 2).build();
                Template::learn(&frame, &layers(&frame)).unwrap()
            };
            let (one, two) = (flow(), flow());
            assert_eq!(one.path(), two.path());
            assert_eq!(one.path().with_ends(&one.ends()), one);
            assert_eq!(two.path().with_ends(&two.ends()), two);
            assert_eq!(one.ip(), if v6 { IpVersion::V6 } else { IpVersion::V4 });
        }
    }
}

#[test]
fn ends_of_the_other_ip_version_become_zero() {
    let (c, d) = v6_pair();
    let [v4, _] = both(&Packet::new());
    let frame = v4.tcp(1, 2).build();
    let template = Template::learn(&frame, &layers(&frame)).unwrap();
    let ends = template.with_ends(&Ends { src: c, dst: d, flow_label: 5 }).ends();
    assert_eq!((ends.src.to_string(), ends.flow_label), ("::ffff:0.0.0.0".to_string(), 0));
}

#[test]
fn frames_that_teach_nothing_are_declined() {
    let (a, b) = v4_pair();
    let (c, d) = v6_pair();
    let long = (0..7).fold(Packet::new(), |p, i| p.vlan(i)).ipv6(c, d).extension(60, &[1; 14]).ipv6(c, d).ipv6(c, d);
    for packet in [
        Packet::new().ipv4(a, b).udp(1, 2),
        Packet::new().ipv4(a, b).fragment(0, true).tcp(1, 2),
        Packet::new().ipv4(a, b).ip_options(&[1; 4]).tcp(1, 2),
        Packet::new().ipv6(c, d).extension(60, &[1, 4]).tcp(1, 2),
        // The destination under the outer checksum is not the one in the header.
        Packet::new().ipv6(c, d).extension(43, &[4, 1, 0, 0, 0, 0]).gtpu(1).udp_checksum(true).ipv4(a, b).tcp(1, 2),
        long.tcp(1, 2),
    ] {
        let frame = packet.build();
        let l = layers(&frame);
        assert!(Template::learn(&frame, &l).is_none(), "{l:?}");
    }
}

#[test]
fn what_cannot_be_written_is_refused_and_nothing_is_touched() {
    let [v4, _] = both(&Packet::new());
    let frame = v4.tcp(1, 2).build();
    let template = Template::learn(&frame, &layers(&frame)).unwrap();
    let f = fields(&mut Rng::seeded("refused"));
    let mut out = vec![7; 80];
    assert_eq!(write_tcp(&mut out, &template, &f, &[1; 44], &[]), Err(WriteError::BadOptions));
    assert_eq!(write_tcp(&mut out, &template, &f, &[1; 3], &[]), Err(WriteError::BadOptions));
    assert_eq!(write_tcp(&mut out, &template, &f, &[1; 8], &[0; 19]), Err(WriteError::NoRoom));
    assert_eq!(write_tcp(&mut out, &template, &f, &[], &[0; 65_535]), Err(WriteError::TooLong));
    assert!(out.iter().all(|b| *b == 7));
    assert_eq!(write_tcp(&mut out, &template, &f, &[1; 8], &[0; 18]), Ok(80));
}

#[test]
fn a_prefix_as_long_as_the_room_is_taken() {
    let (a, b) = v4_pair();
    let (c, d) = v6_pair();
    let prefix = Packet::new().vlan(1).mpls(3).ipv6(c, d).gtpu(1).gtp_seq(1).gtp_extension(0x85, &[0; 14]);
    let frame = prefix.ipv6(c, d).ipv4(a, b).tcp(1, 2).payload(b"abc").build();
    let l = layers(&frame);
    assert!(usize::from(l.l4) > MAX_PREFIX - 10 && usize::from(l.l4) <= MAX_PREFIX, "{}", l.l4);
    let template = Template::learn(&frame, &l).unwrap();
    let mut out = vec![0; 500];
    let n = write_tcp(&mut out, &template, &fields(&mut Rng::seeded("prefix")), &[], &[]).unwrap();
    assert!(csum::verify(&out[..n], &layers(&out[..n])));
}
