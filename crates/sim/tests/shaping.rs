//! Rates of policies: what a subscriber gets over all its connections and datagrams, in virtual time.

mod common;

use common::{lte, radio, MS, S};
use smartwire_engine::policy::describe::{Entry, Prefixes};
use smartwire_engine::policy::Description;
use smartwire_engine::Side;
use smartwire_packet::build::Packet;
use smartwire_packet::{parse, proto};
use smartwire_sim::link::spec::Rate;
use smartwire_sim::world::{phone_addr, server_addr, Action, Captured, EngineSpec, FlowSpec, LinkId, WireSpec, World, WorldSpec};

/// Bytes per second: 10 Mbit/s.
const RATE: u64 = 1_250_000;
const BURST: u64 = 30_000;

fn limit(name: &str, rate: u64) -> Entry {
    Entry { name: name.into(), rate: Some(rate), burst: Some(BURST as u32), ..Entry::default() }
}

fn policies(policies: Vec<Entry>) -> Description {
    Description { policies, ..Description::default() }
}

/// A radio of 50 Mbit/s for each of so many phones, which all have a rate of 10.
fn shaped(phones: usize) -> WorldSpec {
    let mut spec = radio(lte(), |link| link.rate = Rate::Mbps(50.0));
    spec.phones = vec![spec.phones[0].clone(); phones];
    let engine = EngineSpec { policies: policies(vec![limit("all", RATE)]), ..EngineSpec::default() };
    WorldSpec { wire: WireSpec::Engine(Box::new(engine)), ..spec }
}

fn bulk(phone: usize, v6: bool, port: u16) -> FlowSpec {
    FlowSpec { phone, ..FlowSpec::download(v6, port, 1 << 30) }
}

/// Runs for so many seconds and returns what was seen at the wire.
fn run(spec: WorldSpec, seconds: u64) -> (World, Vec<Captured>) {
    let mut world = World::new(spec).unwrap();
    world.record_frames();
    world.record(LinkId::RadioDown(0));
    world.run_until(seconds * S);
    let seen = world.take_frames();
    (world, seen)
}

/// (time, bytes) of the frames that left towards a phone; of a protocol, if that is given.
fn towards(seen: &[Captured], phone: usize, protocol: Option<u8>) -> Vec<(u64, u64)> {
    let ours = |frame: &[u8]| {
        let layers = parse(frame).expect("a packet");
        let to = [false, true].map(|v6| phone_addr(phone, v6)).contains(&layers.dst(frame));
        to && protocol.is_none_or(|p| layers.proto == p)
    };
    let left = seen.iter().filter(|c| c.out && c.side == Side::Access && ours(&c.frame));
    left.map(|c| (c.now, c.frame.len() as u64)).collect()
}

fn within(left: &[(u64, u64)], from: u64, to: u64) -> u64 {
    left.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, bytes)| bytes).sum()
}

/// No second carries more than rate and burst, and each second from `from` on at least 97 percent of the rate.
fn keeps_its_rate(what: &str, left: &[(u64, u64)], (from, to): (u64, u64), rate: u64) {
    for start in (0..to * S - S).step_by(50 * MS as usize) {
        let bytes = within(left, start, start + S);
        assert!(bytes <= rate + BURST, "{what}: {bytes} bytes in the second from {} ms", start / MS);
        if start >= from * S {
            assert!(bytes * 100 >= rate * 97, "{what}: only {bytes} bytes in the second from {} ms", start / MS);
        }
    }
}

#[test]
fn tcp_gets_its_rate_and_no_more_without_a_loss_and_with_a_short_queue() {
    for (v6, flows) in [(false, 1), (true, 1), (false, 5), (true, 5)] {
        let flows_of = (0..flows).map(|i| bulk(0, v6, 40_000 + i)).collect();
        let (mut world, seen) = run(WorldSpec { flows: flows_of, ..shaped(1) }, 8);
        let what = format!("v6 {v6}, {flows} flows");
        keeps_its_rate(&what, &towards(&seen, 0, None), (2, 8), RATE);
        let stats = world.engine().expect("an engine").stats();
        assert_eq!((stats.retransmitted, stats.duplicate_segments, stats.probes), (0, 0, 0), "{what}");
        assert_eq!(stats.refused.iter().sum::<u64>(), 0, "{what}");
        // What the servers were told has arrived is what each of them may have.
        assert!(stats.custody_bytes < 200_000 + u64::from(flows) * 300_000, "{what}: {} bytes in custody", stats.custody_bytes);
        let samples = world.take_samples(LinkId::RadioDown(0));
        let longest = samples.iter().map(|s| s.queue_ns()).max().unwrap_or(0) / MS;
        assert!(longest <= 10, "{what}: {longest} ms of queue at the radio");
        let each: Vec<u64> = (0..flows).map(|i| world.received(usize::from(i)).0).collect();
        let (least, most) = (each.iter().min().unwrap(), each.iter().max().unwrap());
        assert!(least * 100 >= most * 85, "{what}: not shared evenly: {each:?}");
    }
}

#[test]
fn a_rate_is_kept_behind_a_long_way_to_the_server() {
    let mut spec = WorldSpec { flows: vec![bulk(0, false, 40_000)], ..shaped(1) };
    spec.internet.0.delay_ms = 300.0;
    spec.internet.1.delay_ms = 300.0;
    let (world, seen) = run(spec, 20);
    let left = towards(&seen, 0, None);
    keeps_its_rate("600 ms", &left, (10, 20), RATE);
    assert_eq!(world.engine().expect("an engine").stats().retransmitted, 0);
}

#[test]
fn a_small_download_does_not_wait_behind_a_large_one_of_the_same_rate() {
    let small = FlowSpec { start_ns: 4 * S, ..FlowSpec::download(false, 40_001, 100_000) };
    let (world, _) = run(WorldSpec { flows: vec![bulk(0, false, 40_000), small], ..shaped(1) }, 8);
    // Alone it takes 80 ms at its rate, and three round trips; half of the rate doubles the first.
    let took = world.flow(1).0.steps[1] / MS - 4_000;
    assert!(took < 500, "{took} ms");
}

#[test]
fn two_subscribers_do_not_disturb_each_other() {
    let mut flows: Vec<FlowSpec> = (0..12).map(|i| bulk(0, i % 2 == 0, 40_000 + i)).collect();
    flows.push(bulk(1, false, 41_000));
    let (world, seen) = run(WorldSpec { flows, ..shaped(2) }, 8);
    // IPv4 and IPv6 of one phone are two subscribers: nothing tells that they are one.
    let (many, one) = (towards(&seen, 0, None), towards(&seen, 1, None));
    assert!(within(&many, 3 * S, 8 * S) <= 10 * RATE + 2 * BURST);
    keeps_its_rate("the one with a single connection", &one, (2, 8), RATE);
    assert_eq!(world.engine().expect("an engine").stats().retransmitted, 0);
}

/// Datagrams of 1,200 bytes at a steady rate from the server to a phone, from `from` to `to` (s).
fn datagrams(phone: usize, v6: bool, bytes_per_s: u64, (from, to): (u64, u64)) -> Vec<(u64, Action)> {
    let (src, dst) = (server_addr(v6), phone_addr(phone, v6));
    let ip = |addr: std::net::Ipv6Addr| addr.to_ipv4_mapped().map_or(addr.into(), std::net::IpAddr::from);
    let frame = Packet::new().ip(ip(src), ip(dst)).udp(443, 50_000).payload(&[7; 1200]).build();
    let every = S * frame.len() as u64 / bytes_per_s;
    let at = |i: u64| from * S + i * every;
    (0..(to - from) * S / every).map(|i| (at(i), Action::Inject(Side::Core, frame.clone()))).collect()
}

#[test]
fn datagrams_get_the_rate_too_and_what_fills_their_queue_is_dropped_and_counted() {
    for v6 in [false, true] {
        let actions = datagrams(0, v6, 2 * RATE, (1, 6));
        let came = actions.len() as u64;
        let (world, seen) = run(WorldSpec { actions, ..shaped(1) }, 8);
        let left = towards(&seen, 0, Some(proto::UDP));
        keeps_its_rate("datagrams", &left[..], (1, 6), RATE);
        let stats = world.engine().expect("an engine").stats();
        assert_eq!(left.len() as u64 + stats.datagrams_dropped, came);
        assert!(stats.datagrams_dropped > came / 3, "{} of {came}", stats.datagrams_dropped);
        // What waits is 200 ms of the rate at most.
        let last = left.last().expect("some left").0;
        assert!((6 * S..6 * S + 210 * MS).contains(&last), "the last one left at {} ms", last / MS);
        assert_eq!(world.io().expect("an engine").owned_frames(), 0);
    }
}

#[test]
fn datagrams_below_the_rate_pass_at_once() {
    let actions = datagrams(0, false, RATE / 2, (1, 4));
    let came = actions.len();
    let (world, seen) = run(WorldSpec { actions, ..shaped(1) }, 5);
    assert_eq!(towards(&seen, 0, Some(proto::UDP)).len(), came);
    let stats = world.engine().expect("an engine").stats();
    assert_eq!((stats.datagrams_waited, stats.datagrams_dropped), (0, 0));
}

#[test]
fn connections_and_datagrams_share_a_rate_evenly() {
    for v6 in [false, true] {
        let actions = datagrams(0, v6, 2 * RATE, (2, 10));
        let (world, seen) = run(WorldSpec { actions, flows: vec![bulk(0, v6, 40_000)], ..shaped(1) }, 10);
        keeps_its_rate("both", &towards(&seen, 0, None), (3, 10), RATE);
        let [tcp, udp] = [proto::TCP, proto::UDP].map(|p| within(&towards(&seen, 0, Some(p)), 4 * S, 10 * S));
        assert!(tcp * 100 >= udp * 80 && udp * 100 >= tcp * 80, "{tcp} and {udp} bytes");
        assert_eq!(world.engine().expect("an engine").stats().retransmitted, 0);
    }
}

#[test]
fn another_table_changes_the_rate_of_connections_that_there_are() {
    let flows = vec![bulk(0, false, 40_000), bulk(0, false, 40_001)];
    let change = |at: u64, entry| (at * S, Action::Policies(policies(vec![entry])));
    let actions = vec![change(4, limit("all", RATE / 2)), change(8, limit("all", 2 * RATE)), change(12, Entry::default())];
    let (world, seen) = run(WorldSpec { flows, actions, ..shaped(1) }, 15);
    let left = towards(&seen, 0, None);
    let second = |from: u64| within(&left, from * S, (from + 1) * S) as f64 / RATE as f64;
    for (from, expected) in [(3, 1.0), (5, 0.5), (7, 0.5), (10, 2.0), (11, 2.0)] {
        assert!((second(from) - expected).abs() < 0.04, "second {from}: {} times the rate", second(from));
    }
    assert!(second(14) > 4.0, "without a rate: {}", second(14));
    assert_eq!(world.engine().expect("an engine").stats().retransmitted, 0);
}

#[test]
fn each_policy_has_a_rate_of_its_own() {
    let mut spec = shaped(1);
    let video = Entry { ports: Some(vec![(8443, 8443)]), ..limit("video", RATE / 5) };
    let engine = EngineSpec { policies: policies(vec![video, limit("all", RATE)]), ..EngineSpec::default() };
    spec.wire = WireSpec::Engine(Box::new(engine));
    spec.flows = vec![bulk(0, false, 40_000), FlowSpec { ports: (40_001, 8443), ..bulk(0, false, 40_001) }];
    let (world, seen) = run(spec, 8);
    let left = towards(&seen, 0, None);
    let got = within(&left, 3 * S, 7 * S);
    let both = 4 * (RATE + RATE / 5);
    assert!(got <= both + 2 * BURST && got * 100 >= both * 97, "{got} of {both}");
    let [other, video] = [0, 1].map(|i| world.received(i).0);
    assert!(other > 4 * video && other < 6 * video, "{other} and {video} bytes");
}

#[test]
fn a_subscriber_that_no_policy_limits_is_not_limited() {
    let mut spec = shaped(2);
    let first = Some(Prefixes { prefixes: vec!["10.64.0.2/32".into()], lists: vec![] });
    let engine = EngineSpec { policies: policies(vec![Entry { access: first, ..limit("first", RATE) }]), ..EngineSpec::default() };
    spec.wire = WireSpec::Engine(Box::new(engine));
    spec.flows = vec![bulk(0, false, 40_000), bulk(1, false, 40_001)];
    let (_, seen) = run(spec, 6);
    keeps_its_rate("the first", &towards(&seen, 0, None), (2, 6), RATE);
    assert!(within(&towards(&seen, 1, None), 4 * S, 5 * S) > 4 * RATE);
}
