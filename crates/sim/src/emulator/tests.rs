use super::*;
use crate::codec::{Path, Seg, ACK, SYN};

const MS: u64 = 1_000_000;
const START: u64 = 5_000 * MS;

fn path(phone: &str, down: bool) -> Path {
    let v4 = |x: &str| match x.parse::<IpAddr>().unwrap() {
        IpAddr::V4(a) => a.to_ipv6_mapped(),
        IpAddr::V6(a) => a,
    };
    let far = if phone.contains(':') { "2001:db8:ff::1" } else { "192.0.2.1" };
    let path = Path {
        src_mac: [2; 6],
        dst_mac: [4; 6],
        tags: vec![],
        src: v4(far),
        dst: v4(phone),
        sport: 80,
        dport: 5000,
        ttl: 60,
        dscp: 0,
        label: 0,
    };
    if down {
        path
    } else {
        path.reversed()
    }
}

fn segment(phone: &str, down: bool, seq: u32, len: usize, flags: u8) -> Vec<u8> {
    path(phone, down).tcp(&Seg { seq, flags, payload: vec![7; len], ..Seg::default() }, 0)
}

fn emulator(json: &str) -> Emulator {
    Emulator::new(&EmulatorSpec::from_json(json).unwrap(), START).unwrap()
}

/// Runs until nothing is pending: (ms since start, direction, frame length).
fn finish(e: &mut Emulator) -> Vec<(u64, Direction, usize)> {
    let mut out = Vec::new();
    while let Some(at) = e.next_event() {
        e.pop_due(at, &mut |d, f| out.push(((at - START) / MS, d, f.len())));
    }
    out
}

fn never(_: Direction, _: &[u8]) {
    panic!("a frame came out that should wait");
}

#[test]
fn each_subscriber_has_a_queue_of_its_own_and_all_addresses_of_a_prefix_or_group_share_one() {
    let mut e = emulator(r#"{"down": {"rate": {"mbps": 12}}, "groups": [["10.0.0.1", "2001:db8:5::"]]}"#);
    let full = 1500 - 40;
    for phone in ["10.0.0.1", "2001:db8:5::99", "10.0.0.2", "2001:db8:7::1", "2001:db8:7::2"] {
        let len = if phone.contains(':') { full - 20 } else { full };
        e.on_frame(START, Direction::Down, &segment(phone, true, 1, len, ACK), &mut never);
    }
    let times: Vec<u64> = finish(&mut e).iter().map(|x| x.0).collect();
    // Three queues: the group's two packets one after the other, 10.0.0.2 alone, the /64's two one after the other.
    assert_eq!(times, [1, 1, 1, 2, 2]);
}

#[test]
fn a_shared_link_has_one_queue_for_all() {
    let mut e = emulator(r#"{"shared": true, "up": {"rate": {"mbps": 12}}}"#);
    for phone in ["10.0.0.1", "10.0.0.2"] {
        e.on_frame(START, Direction::Up, &segment(phone, false, 1, 1460, ACK), &mut never);
    }
    assert_eq!(finish(&mut e), [(1, Direction::Up, 1514), (2, Direction::Up, 1514)]);
}

#[test]
fn what_is_not_ip_passes_at_once() {
    let mut e = emulator(r#"{"down": {"delay_ms": 100}}"#);
    let mut arp = vec![0xff; 42];
    (arp[12], arp[13]) = (0x08, 0x06);
    let mut seen = 0;
    e.on_frame(START, Direction::Down, &arp, &mut |d, f| {
        assert_eq!((d, f), (Direction::Down, &arp[..]));
        seen += 1;
    });
    assert_eq!(seen, 1);
    assert_eq!(e.next_event(), None);
}

#[test]
fn the_log_tells_queueing_delay_and_bytes_that_cross_twice() {
    let mut e = emulator(r#"{"down": {"rate": {"mbps": 12}}, "log": "unused"}"#);
    for (seq, flags) in [(99, SYN), (100, ACK), (1000, ACK), (550, ACK)] {
        let len = if flags == SYN { 0 } else { 900 };
        e.on_frame(START, Direction::Down, &segment("10.0.0.1", true, seq, len, flags), &mut never);
    }
    finish(&mut e);
    let records: Vec<Record> = e.drain_records().collect();
    assert_eq!(records.iter().map(|r| r.again).collect::<Vec<_>>(), [0, 0, 0, 900]);
    let line = records[3].to_bytes();
    assert_eq!(u64::from_le_bytes(line[..8].try_into().unwrap()), START);
    assert_eq!(u32::from_le_bytes(line[28..32].try_into().unwrap()), 550);
    assert_eq!(u32::from_le_bytes(line[32..36].try_into().unwrap()), 900);
    assert_eq!(u32::from_le_bytes(line[36..40].try_into().unwrap()), 900);
    assert!(records[3].sample.self_inflicted_ns() > records[1].sample.self_inflicted_ns());
}

#[test]
fn a_freeze_ordered_in_one_direction_leaves_the_other_alone() {
    let mut e = emulator("{}");
    let out = &mut |_: Direction, _: &[u8]| {};
    e.on_frame(START, Direction::Down, &segment("10.0.0.1", true, 1, 10, ACK), out);
    finish(&mut e);
    e.control(START, serde_json::from_str(r#"{"freeze": {"ms": 50, "down": true}}"#).unwrap());
    e.on_frame(START, Direction::Down, &segment("10.0.0.1", true, 1, 10, ACK), out);
    e.on_frame(START, Direction::Up, &segment("10.0.0.1", false, 1, 10, ACK), out);
    assert_eq!(finish(&mut e), [(0, Direction::Up, 64), (50, Direction::Down, 64)]);
}

#[test]
fn a_restart_begins_the_trace_anew() {
    let mut e = emulator(r#"{"down": {"rate": {"slots": [30, 100]}}}"#);
    let out = &mut |_: Direction, _: &[u8]| {};
    e.on_frame(START + 40 * MS, Direction::Down, &segment("10.0.0.1", true, 1, 10, ACK), out);
    assert_eq!(e.next_event(), Some(START + 100 * MS));
    e.control(START + 50 * MS, Control::Restart {});
    assert_eq!(e.next_event(), None);
    e.on_frame(START + 50 * MS, Direction::Down, &segment("10.0.0.1", true, 1, 10, ACK), out);
    assert_eq!(e.next_event(), Some(START + 80 * MS));
}
