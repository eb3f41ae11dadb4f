//! A hand-made segment through every view: what the other crates rely on first.

use smartwire_packet::tcp::{Flags, Tcp, TcpMut};
use smartwire_packet::{csum, parse, IpVersion};

/// Ethernet, IPv4, TCP with timestamps, five bytes of payload and six of Ethernet padding.
fn segment() -> Vec<u8> {
    let mut f = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    f.extend([0x45, 0, 0, 57, 0, 7, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 192, 0, 2, 9]);
    f.extend([0x13, 0x88, 0, 80, 0, 0, 0, 5, 0, 0, 0, 9, 0x80, 0x18, 1, 0, 0, 0, 0, 0]);
    f.extend([1, 1, 8, 10, 0, 0, 0, 77, 0, 0, 0, 88]);
    f.extend(b"hello");
    f.extend([0; 6]);
    f
}

#[test]
fn a_segment_is_parsed_verified_and_edited() {
    let mut f = segment();
    let l = parse(&f).unwrap();
    assert_eq!((l.l3, l.l4, l.data, l.end, l.ip), (14, 34, 66, 71, IpVersion::V4));
    assert!(!csum::verify_l4(&f, &l));
    assert!(csum::fill_l4(&mut f, &l));
    assert!(csum::verify_l4(&f, &l));
    let tcp = Tcp::new(&f, &l).unwrap();
    assert_eq!((tcp.src_port(), tcp.dst_port(), tcp.seq(), tcp.ack()), (5000, 80, 5, 9));
    assert_eq!(tcp.flags(), Flags::ACK | Flags::PSH);
    assert_eq!(tcp.payload(), b"hello");
    let ts = tcp.options().ts.unwrap();
    assert_eq!((ts.val, ts.ecr, ts.at), (77, 88, 22));
    {
        let mut edit = TcpMut::new(&mut f, &l).unwrap();
        edit.set_ack(0xdead_beef);
        edit.set_window(7);
        assert!(edit.set_timestamps(ts.at, 1 << 31, 3));
        edit.set_flags(Flags::PSH | Flags::ECE, Flags::ECE);
    }
    assert!(csum::verify_l4(&f, &l));
    let tcp = Tcp::new(&f, &l).unwrap();
    assert_eq!((tcp.ack(), tcp.window(), tcp.flags()), (0xdead_beef, 7, Flags::ACK | Flags::ECE));
    assert_eq!(l.src(&f).to_string(), "::ffff:10.0.0.1");
}
