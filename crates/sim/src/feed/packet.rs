//! Any bytes as a frame: the parser gives views or a refusal, and what is written from them says the same.

use smartwire_packet::build::{write_tcp, TcpFields, Template};
use smartwire_packet::tcp::{Flags, Tcp, TcpMut};
use smartwire_packet::{csum, cut, icmp, outer_vlan, parse, Layers};

/// Seed of scopes; any will do.
const SEED: u64 = 7;

/// Feeds one frame. Returns whether it is a whole TCP segment.
///
/// # Panics
/// What was read of it and what is written of it disagree.
pub fn packet(frame: &[u8]) -> bool {
    outer_vlan(frame);
    let Ok(layers) = parse(frame) else { return false };
    let inside = [layers.l3, layers.l4, layers.data, layers.end].windows(2).all(|w| w[0] <= w[1] || layers.frag);
    assert!(inside && usize::from(layers.end) <= frame.len(), "{layers:?}");
    (layers.scope(frame, SEED), layers.ports(frame), layers.src(frame), layers.dst(frame), layers.ecn(frame));
    icmp::error(frame, &layers);
    let sound = csum::verify(frame, &layers);
    let Some(tcp) = Tcp::new(frame, &layers) else { return false };
    let _ = (tcp.options().sack.blocks().len(), tcp.options().malformed(), tcp.seq_len());
    again(frame, &layers, &tcp);
    pieces(frame, &layers, &tcp, sound);
    edits(frame, &layers, sound);
    true
}

/// A segment written from the template of a frame says what the frame says.
fn again(frame: &[u8], layers: &Layers, tcp: &Tcp<'_>) {
    let Some(template) = Template::learn(frame, layers) else { return };
    let fields = TcpFields {
        src_port: tcp.src_port(),
        dst_port: tcp.dst_port(),
        seq: tcp.seq(),
        ack: tcp.ack(),
        flags: tcp.flags(),
        window: tcp.window(),
        ip_id: 1,
        ecn: layers.ecn(frame),
    };
    let mut out = vec![0; frame.len() + 64];
    let Ok(len) = write_tcp(&mut out, &template, &fields, tcp.option_bytes(), tcp.payload()) else { return };
    let written = &out[..len];
    let read = parse(written).expect("what was written is a frame");
    let second = Tcp::new(written, &read).expect("what was written is a segment");
    assert!(csum::verify(written, &read), "what was written has wrong checksums");
    assert_eq!(read.scope(written, SEED), layers.scope(frame, SEED));
    assert_eq!((read.src(written), read.dst(written)), (layers.src(frame), layers.dst(frame)));
    assert_eq!((second.src_port(), second.dst_port()), (tcp.src_port(), tcp.dst_port()));
    assert_eq!((second.seq(), second.ack(), second.window()), (tcp.seq(), tcp.ack(), tcp.window()));
    assert_eq!((second.option_bytes(), second.payload()), (tcp.option_bytes(), tcp.payload()));
}

/// Both halves of a segment that is cut: together they are its payload, and their checksums are as right as its own.
fn pieces(frame: &[u8], layers: &Layers, tcp: &Tcp<'_>, sound: bool) {
    let len = layers.data_len();
    let half = len / 2;
    let mut payload = Vec::new();
    for (front, keep) in [(0, half), (half, len - half)] {
        let mut out = vec![0; frame.len()];
        let Some(piece) = cut::extract(frame, layers, front, keep, &mut out) else { return };
        let written = &out[..usize::from(piece.len)];
        let read = parse(written).expect("a piece is a frame");
        let part = Tcp::new(written, &read).expect("a piece is a segment");
        assert_eq!(part.seq(), tcp.seq().wrapping_add(u32::from(front)));
        assert_eq!(csum::verify_l4(written, &read), csum::verify_l4(frame, layers), "the checksum of a piece");
        assert!(!sound || csum::verify(written, &read), "a checksum of a piece");
        payload.extend_from_slice(part.payload());
    }
    assert_eq!(payload, tcp.payload());
}

/// Edits keep a checksum as right or wrong as it was.
fn edits(frame: &[u8], layers: &Layers, sound: bool) {
    let mut out = frame.to_vec();
    let Some(mut tcp) = TcpMut::new(&mut out, layers) else { return };
    let options = tcp.options();
    tcp.set_seq(0x8000_0001);
    tcp.set_ack(0xffff_fffe);
    tcp.set_window(77);
    tcp.set_flags(Flags::ECE | Flags::CWR, Flags::ECE);
    if let Some(ts) = options.ts {
        tcp.set_timestamps(ts.at, 5, u32::MAX);
    }
    if options.sack.at != 0 {
        tcp.set_sack(options.sack.at, &[(1, 2), (7, 9)]);
    }
    tcp.set_mss(536);
    drop(tcp);
    assert!(parse(&out).is_ok(), "an edited frame is a frame");
    assert_eq!(csum::verify(&out, layers), sound, "edits and the checksum");
}
