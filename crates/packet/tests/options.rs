//! TCP options, read and written.

mod common;

use common::{tcp_options, Rng};
use smartwire_packet::build::OptionBytes;
use smartwire_packet::tcp::{Kinds, Options};

fn scan(bytes: &[u8]) -> Options {
    Options::scan(bytes)
}

#[test]
fn a_syn_as_linux_sends_it() {
    let o = scan(&[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7]);
    assert_eq!((o.mss, o.wscale, o.sack_perm()), (Some(1460), Some(7), true));
    let ts = o.ts.unwrap();
    assert_eq!((ts.val, ts.ecr, ts.at), (9, 0, 26));
    assert!(o.kinds.is_subset(Kinds::ORDINARY) && !o.malformed());
}

#[test]
fn the_usual_timestamps_read_the_same_on_the_quick_way_and_on_the_slow() {
    let quick = scan(&[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
    let slow = scan(&[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1, 1]);
    assert_eq!(quick, slow);
    assert_eq!(quick.ts.unwrap().at, 22);
}

#[test]
fn one_to_four_sack_blocks_are_read_in_their_order() {
    for n in 1..=4_u32 {
        let blocks: Vec<_> = (0..n).map(|i| (1000 - i, 2000 + i)).collect();
        let o = scan(OptionBytes::new().sack(&blocks).bytes());
        assert_eq!((o.sack.blocks(), o.sack.at), (&blocks[..], 22));
    }
    assert_eq!((scan(&[]).sack.at, scan(&[]).sack.blocks().len()), (0, 0));
}

#[test]
fn options_that_mark_a_connection_as_odd_are_each_known() {
    for (bytes, kind) in [
        (&[19, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], Kinds::MD5),
        (&[29, 16, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Kinds::AO),
        (&[30, 12, 0, 0x81, 1, 2, 3, 4, 5, 6, 7, 8], Kinds::MPTCP),
        (&[34, 2], Kinds::TFO),
        (&[34, 10, 1, 2, 3, 4, 5, 6, 7, 8], Kinds::TFO),
        (&[254, 4, 0xf9, 0x89], Kinds::TFO),
        (&[253, 12, 0xf9, 0x89, 1, 2, 3, 4, 5, 6, 7, 8], Kinds::TFO),
        (&[172, 11, 0, 0, 1, 0, 0, 1, 0, 0, 1], Kinds::ACCECN),
        (&[174, 2], Kinds::ACCECN),
        (&[254, 4, 0xac, 0xce], Kinds::ACCECN),
        (&[254, 2], Kinds::UNKNOWN),
        (&[253, 4, 1, 2], Kinds::UNKNOWN),
        (&[77, 3, 0], Kinds::UNKNOWN),
        (&[6, 6, 0, 0, 0, 0], Kinds::UNKNOWN),
    ] {
        let o = scan(bytes);
        assert_eq!(o.kinds, kind, "{bytes:?}");
        assert!(!o.kinds.is_subset(Kinds::ORDINARY));
    }
}

#[test]
fn a_length_that_does_not_fit_its_kind_is_malformed_and_scanning_goes_on() {
    for bad in [
        &[2, 3, 0][..],
        &[3, 2],
        &[4, 3, 0],
        &[5, 2],
        &[5, 9, 0, 0, 0, 0, 0, 0, 0],
        &[8, 9, 0, 0, 0, 0, 0, 0, 0],
        &[19, 4, 0, 0],
        &[30, 2],
        &[172, 3, 0],
    ] {
        let mut bytes = bad.to_vec();
        bytes.extend([2, 4, 1, 2]);
        let o = scan(&bytes);
        assert!(o.malformed(), "{bad:?}");
        if bad[0] != 2 {
            assert_eq!(o.mss, Some(0x102), "{bad:?}");
        }
    }
}

#[test]
fn a_length_that_does_not_fit_the_header_ends_the_scan() {
    for bad in [&[2, 0, 1, 1][..], &[2, 1, 1, 1], &[8, 10, 0, 0], &[2]] {
        let o = scan(bad);
        assert!(o.malformed() && o.mss.is_none() && o.ts.is_none(), "{bad:?}");
    }
}

#[test]
fn nothing_behind_the_end_of_list_counts() {
    let o = scan(&[1, 0, 2, 4, 1, 1]);
    assert_eq!((o.kinds, o.mss), (Kinds(Kinds::NOP.0 | Kinds::EOL.0), None));
}

#[test]
fn of_a_kind_seen_twice_the_first_counts() {
    let o = scan(&[2, 4, 1, 1, 2, 4, 2, 2]);
    assert_eq!(o.mss, Some(0x101));
    assert!(o.kinds.contains(Kinds::DUPLICATE));
    assert!(!scan(&[1, 1, 1, 1]).kinds.contains(Kinds::DUPLICATE));
}

#[test]
fn more_bytes_than_a_header_has_are_not_read() {
    let mut long = vec![1; 300];
    long[250] = 2;
    long[251] = 4;
    assert_eq!(scan(&long).kinds, Kinds::NOP);
}

#[test]
fn every_cut_of_valid_options_is_read_without_inventing_anything() {
    let mut rng = Rng::seeded("cut_options");
    for _ in 0..2_000 {
        let bytes = tcp_options(&mut rng);
        let whole = scan(&bytes);
        assert!(!whole.malformed());
        for cut in 0..bytes.len() {
            let part = scan(&bytes[..cut]);
            assert!(part.mss.is_none() || part.mss == whole.mss);
            assert!(part.ts.is_none() || part.ts == whole.ts);
            assert!(part.sack.blocks().is_empty() || part.sack == whole.sack);
        }
    }
}

#[test]
fn what_is_written_is_read_back() {
    let o = OptionBytes::new().mss(1400).sack_perm().wscale(9).timestamps(7, 8);
    assert_eq!(o.bytes().len() % 4, 0);
    let read = scan(o.bytes());
    assert_eq!((read.mss, read.wscale, read.sack_perm()), (Some(1400), Some(9), true));
    assert_eq!(read.ts.map(|t| (t.val, t.ecr)), Some((7, 8)));
}

#[test]
fn sack_blocks_are_written_as_far_as_they_fit_beside_timestamps() {
    let blocks: Vec<_> = (0..9).map(|i| (i * 10, i * 10 + 5)).collect();
    assert_eq!(scan(OptionBytes::new().sack(&blocks).bytes()).sack.blocks(), &blocks[..4]);
    assert_eq!(scan(OptionBytes::new().timestamps(1, 2).sack(&blocks).bytes()).sack.blocks(), &blocks[..3]);
    assert_eq!(OptionBytes::new().sack(&[]).bytes(), &[]);
}

#[test]
fn what_does_not_fit_is_left_out_whole_and_the_rest_padded_with_nops() {
    let full = OptionBytes::new().raw(&[1; 36]);
    assert_eq!(full.timestamps(1, 2).bytes(), full.bytes());
    assert_eq!(OptionBytes::new().raw(&[34, 2, 1]).bytes(), &[34, 2, 1, 1]);
    assert_eq!(OptionBytes::new().raw(&[2; 41]).bytes(), &[]);
}
