//! The raw socket on a real veth pair. Skips, saying why, without root.
mod common;

use common::Lab;
use smartwire_io::raw::RawSocket;

#[test]
fn frames_cross_a_veth_pair_in_order_with_their_tags() {
    let Some(lab) = Lab::new("raw") else { return };
    lab.veth("a0", "a1");
    lab.enter();
    let (mut a, mut b) = (RawSocket::open("a0").unwrap(), RawSocket::open("a1").unwrap());
    let frames: Vec<Vec<u8>> = (0..200u16).map(|i| tagged(i, 60 + usize::from(i) * 7)).collect();
    let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    assert_eq!(a.send(&slices).unwrap(), 200);
    let mut got = Vec::new();
    for _ in 0..1000 {
        b.recv(|f| {
            assert!(!f.truncated);
            if f.bytes[12..14] == [0x81, 0x00] {
                got.push(f.bytes.to_vec());
            }
        })
        .unwrap();
        if got.len() >= 200 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert_eq!(got, frames);
}

#[test]
fn a_frame_beyond_the_mtu_is_refused_with_the_command_that_helps() {
    let Some(lab) = Lab::new("rawmtu") else { return };
    lab.veth("a0", "a1");
    lab.enter();
    let mut a = RawSocket::open("a0").unwrap();
    let err = a.send(&[&[0u8; 4000]]).unwrap_err().to_string();
    assert!(err.contains("ip link set dev a0 mtu"), "{err}");
}

/// A frame with one 802.1Q tag, numbered in its VLAN id.
fn tagged(number: u16, len: usize) -> Vec<u8> {
    let mut f = vec![0u8; len];
    f[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    f[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    f[12..14].copy_from_slice(&[0x81, 0x00]);
    f[14..16].copy_from_slice(&(number + 1).to_be_bytes());
    f[16..18].copy_from_slice(&[0x88, 0xb5]);
    f
}
