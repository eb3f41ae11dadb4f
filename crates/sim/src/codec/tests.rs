//! What is written is read back, and no byte string makes the reader panic.

use super::*;

fn path(v6: bool) -> Path {
    let v4 = |x: &str| x.parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped();
    Path {
        src_mac: [2, 0, 0, 0, 0, 1],
        dst_mac: [2, 0, 0, 0, 0, 2],
        tags: vec![],
        src: if v6 { "2001:db8::1".parse().unwrap() } else { v4("10.0.0.1") },
        dst: if v6 { "2001:db8:1::2".parse().unwrap() } else { v4("192.0.2.7") },
        sport: 40_000,
        dport: 443,
        ttl: 64,
        dscp: 10,
        label: 0x12345,
    }
}

#[test]
fn what_is_written_is_read_back_with_a_right_checksum() {
    let mut opts = Opts { ts: Some((1, 2)), sacks: 2, ..Opts::default() };
    opts.sack[0] = (100, 200);
    opts.sack[1] = (300, 400);
    let seg = Seg { seq: 7, ack: 9, flags: ACK | PSH, window: 500, opts, ae: false, ecn: 2, payload: b"hello world".to_vec() };
    let syn = Seg {
        flags: SYN,
        opts: Opts { mss: Some(1460), ws: Some(7), sack_ok: true, ts: Some((5, 0)), ..Opts::default() },
        ..Seg::default()
    };
    for v6 in [false, true] {
        for tags in [vec![], vec![[0x88, 0xa8, 0, 5], [0x81, 0, 0, 6]]] {
            for seg in [&seg, &syn] {
                let frame = Path { tags: tags.clone(), ..path(v6) }.tcp(seg, 77);
                let t = tcp(&frame, true).unwrap();
                assert!(t.sum_ok);
                assert_eq!(t.payload, seg.payload);
                assert_eq!(t.seg, Seg { payload: vec![], ..seg.clone() });
                assert_eq!((t.sport, t.dport, t.ip.src), (40_000, 443, path(v6).src));
                let mut damaged = frame.clone();
                let last = damaged.len() - 1;
                damaged[last] ^= 1;
                assert!(!tcp(&damaged, true).unwrap().sum_ok);
            }
        }
    }
}

#[test]
fn a_subscriber_is_an_ipv4_address_or_an_ipv6_64() {
    assert_eq!(subscriber("2001:db8:1:2:3::4".parse().unwrap()), "2001:db8:1:2::".parse::<Ipv6Addr>().unwrap());
    let v4 = path(false).src;
    assert_eq!(subscriber(v4), v4);
}

#[test]
fn no_byte_string_makes_the_reader_panic() {
    let mut rng = crate::rng::Rng::new(4);
    let good = path(true).tcp(&Seg { flags: ACK, payload: vec![1; 40], ..Seg::default() }, 0);
    for _ in 0..20_000 {
        let mut frame = good.clone();
        for _ in 0..rng.range(1, 8) {
            let at = rng.below(frame.len() as u64) as usize;
            frame[at] = rng.bits() as u8;
        }
        frame.truncate(rng.range(0, good.len() as u64) as usize);
        tcp(&frame, true);
    }
}
