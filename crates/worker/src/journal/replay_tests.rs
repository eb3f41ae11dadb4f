use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use smartwire_engine::api::{Command, Target};
use smartwire_engine::{Config, Csum, Now};
use smartwire_packet::build::Packet;
use smartwire_packet::tcp::Flags;

use super::*;
use crate::journal::{Call, Journal};
use crate::watch::Watch;

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sw-journal-{name}-{}", std::process::id()))
}

fn small() -> Config {
    Config { max_flows: 64, max_active: 64, max_half_open: 64, max_subscribers: 64, max_segments: 256, ..Config::default() }
}

/// A handshake and `data` segments of a download, then a drain; recorded to `path`.
fn record(path: &std::path::Path, data: u32) -> Digest {
    let news = Arc::new(Mutex::new(Vec::new()));
    let (config, seed) = (small(), 7);
    let journal = Journal::create(path, &config, seed, 2048, 200, news.clone()).unwrap();
    let mut watch = Watch { journal: Some(journal), tap: None };
    let mut engine = Engine::new(config, seed).unwrap();
    let mut io = Memory::new(2048, 200);
    let (a, c) = ([10, 0, 0, 7], [192, 0, 2, 1]);
    let up = Packet::new().ipv4(a.into(), c.into()).tcp(40000, 443).window(60000);
    let down = Packet::new().ipv4(c.into(), a.into()).tcp(443, 40000).window(60000);
    let mut frames = vec![
        (0, up.clone().seq(1000).flags(Flags::SYN).build()),
        (1, down.clone().seq(5000).ack(1001).flags(Flags::SYN | Flags::ACK).build()),
        (0, up.seq(1001).ack(5001).build()),
    ];
    frames.extend((0..data).map(|i| (1, down.clone().seq(5001 + 1000 * i).ack(1001).payload(&[i as u8; 1000]).build())));
    for (i, (port, bytes)) in frames.iter().enumerate() {
        let now = Now(1_000_000 * (i as u64 + 1));
        let frame = io.put(64, bytes);
        let rx = Rx { frame, off: 64, len: bytes.len() as u16, port: Port(*port), csum: Csum::Unverified };
        // Every fourth time there is no free frame.
        io.noes = if i % 4 == 3 { vec![(Question::Frame as u8, 0)] } else { vec![] };
        io.asked = [0; QUESTIONS];
        watch.call(&mut engine, now, Call::Rx(&[rx]), &mut io);
        io.asked = [0; QUESTIONS];
        watch.call(&mut engine, now, Call::Time, &mut io);
    }
    let drain = Command::Drain { target: Target::Wire, deadline: Now(10_000_000_000) };
    watch.call(&mut engine, Now(9_000_000_000), Call::Command(drain), &mut io);
    watch.call(&mut engine, Now(11_000_000_000), Call::Time, &mut io);
    drop(watch);
    assert!(news.lock().unwrap().is_empty());
    io.digest
}

#[test]
fn a_replay_sends_byte_for_byte_what_was_recorded() {
    let file = path("same");
    let digest = record(&file, 20);
    let r = replay_journal(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!((r.first_difference, r.digest, r.frames_in), (None, digest.0, 23));
    assert!(r.frames_out >= 3 && !r.cut_off);
}

#[test]
fn a_replay_of_changed_input_says_where_it_differs() {
    let file = path("changed");
    record(&file, 20);
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(1000).position(|w| w == [9; 1000]).unwrap();
    bytes[at + 500] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let r = replay_journal(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    // Two calls per frame; the tenth data frame is the thirteenth frame.
    assert_eq!(r.first_difference.map(|d| d.0), Some(24));
}

#[test]
fn a_journal_that_was_cut_off_is_replayed_up_to_there() {
    let file = path("cut");
    record(&file, 20);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 5]).unwrap();
    let r = replay_journal(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(r.cut_off && r.first_difference.is_none());
}

#[test]
fn what_is_no_journal_is_refused_with_a_sentence() {
    let file = path("none");
    std::fs::write(&file, b"something else").unwrap();
    let err = replay_journal(&file).unwrap_err().to_string();
    std::fs::remove_file(&file).unwrap();
    assert!(err.contains("it is no journal"), "{err}");
}
