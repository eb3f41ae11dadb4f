//! The corpus of the coverage-guided fuzzer, fed again: what reached each place in parser and engine once still goes well.

use std::path::Path;

use smartwire_sim::feed;
use smartwire_sim::rng::Rng;

/// Feeds all files of a corpus; how many there are.
fn all(name: &str, feed: impl Fn(&[u8])) -> usize {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        println!("{}", file.display());
        feed(&std::fs::read(file).unwrap());
    }
    files.len()
}

#[test]
fn every_frame_of_the_corpus_is_read_and_written_again() {
    assert!(all("packet", |data| _ = feed::packet(data)) > 50);
}

#[test]
fn every_sequence_of_the_corpus_leaves_nothing_behind() {
    assert!(all("engine", |data| _ = feed::engine(data)) > 50);
}

/// `SEQUENCES=n` feeds more.
#[test]
fn sequences_at_random_leave_nothing_behind() {
    let count = std::env::var("SEQUENCES").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    for seed in 0..count {
        let mut rng = Rng::stream(seed, 0xfeed);
        let length = rng.below(120);
        let bytes: Vec<u8> = (0..length).map(|_| rng.bits() as u8).collect();
        let fed = std::panic::catch_unwind(|| feed::engine(&bytes));
        assert!(fed.is_ok(), "sequence {seed}: {bytes:02x?}");
    }
}
