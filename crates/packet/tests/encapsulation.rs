//! Every encapsulation, hand-checked offsets and properties of the parser.

mod common;

use common::{encapsulations, segment_in, Rng};
use smartwire_packet::tcp::Tcp;
use smartwire_packet::{csum, parse};

#[test]
fn every_encapsulation_leads_to_the_inner_segment() {
    let mut rng = Rng::seeded("every_encapsulation");
    for (name, packet) in encapsulations() {
        for _ in 0..50 {
            let frame = segment_in(&mut rng, packet.clone(), 100);
            let layers = parse(&frame).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(layers.is_tcp(), "{name}");
            assert!(csum::verify(&frame, &layers), "{name}: {layers:?}");
            assert!(Tcp::new(&frame, &layers).is_some(), "{name}");
        }
    }
}
