//! Who shares with whom: flows of one subscriber, and subscribers.

mod common;

use common::{lte, optimized, with, MS, S};
use smartwire_sim::endpoint::Step;
use smartwire_sim::world::{Action, FlowSpec, LinkId, World, WorldSpec};

/// A download without end, to that phone.
fn bulk(phone: usize, port: u16) -> FlowSpec {
    FlowSpec {
        phone,
        phone_app: vec![Step::Send(200), Step::Eof],
        server_app: vec![Step::Expect(200), Step::Send(1 << 40)],
        ..FlowSpec::new(false, port)
    }
}

/// When the last byte of flow 0 came, from its start, ns.
fn took(flows: Vec<FlowSpec>, seconds: u64) -> u64 {
    let start = flows[0].start_ns;
    let mut world = World::new(with(optimized(lte()), flows)).unwrap();
    world.record_delivery(0);
    world.run_until(seconds * S);
    let &(at, bytes) = world.delivery(0).last().expect("something came");
    assert!(bytes >= 100_000, "{bytes} bytes");
    at - start
}

#[test]
fn a_small_download_beside_bulk_ones_takes_at_most_twice_its_time_on_an_idle_link() {
    for (flows, start) in [(1, 5 * S), (1, 5 * S + 333 * MS), (4, 5 * S)] {
        let small = FlowSpec { start_ns: start, ..FlowSpec::download(false, 999, 100_000) };
        let idle = took(vec![small.clone()], 10);
        let beside = took([vec![small], (0..flows).map(|i| bulk(0, 1000 + i)).collect()].concat(), 10);
        println!("{flows} bulk downloads: {} ms, alone {} ms", beside / MS, idle / MS);
        assert!(beside <= 2 * idle, "{flows} bulk downloads: {} ms, alone {} ms", beside / MS, idle / MS);
    }
}

/// What the first phone gets over time in 6 s, with this beside it at the second.
fn first_phone(beside: Vec<FlowSpec>, actions: Vec<(u64, Action)>) -> Vec<(u64, u64)> {
    let mut spec = with(optimized(lte()), [vec![bulk(0, 1000), bulk(0, 1001)], beside].concat());
    spec.phones = vec![spec.phones[0].clone(); 2];
    spec.phones[1].0.loss = 0.01;
    let mut world = World::new(WorldSpec { actions, ..spec }).unwrap();
    (world.record_delivery(0), world.record_delivery(1));
    world.run_until(6 * S);
    (0..2).flat_map(|flow| world.delivery(flow).iter().copied()).collect()
}

#[test]
fn two_subscribers_never_disturb_each_other() {
    let alone = first_phone(Vec::new(), Vec::new());
    let frozen = (2 * S, Action::Freeze(LinkId::RadioDown(1), 2 * S));
    let beside = first_phone((0..16).map(|i| bulk(1, 2000 + i)).collect(), vec![frozen]);
    assert!(alone.last().is_some_and(|last| last.1 > 5_000_000));
    let first = alone.iter().zip(&beside).find(|(a, b)| a != b);
    assert_eq!(alone.len(), beside.len());
    assert_eq!(first, None, "one's downloads are not what they are without the other's (time ns, bytes)");
}

#[test]
fn one_download_and_fifty_of_another_subscriber_get_the_same_link_and_the_fifty_equal_shares_of_theirs() {
    let received = |flows: Vec<FlowSpec>| {
        let mut spec = with(optimized(lte()), flows);
        spec.phones = vec![spec.phones[0].clone(); 2];
        let count = spec.flows.len();
        let mut world = World::new(spec).unwrap();
        world.run_until(5 * S);
        let before: Vec<u64> = (0..count).map(|flow| world.received(flow).0).collect();
        world.run_until(15 * S);
        (0..count).map(|flow| world.received(flow).0 - before[flow]).collect::<Vec<_>>()
    };
    let alone = received(vec![bulk(0, 1000)])[0];
    let beside = received([vec![bulk(0, 1000)], (0..50).map(|i| bulk(1, 2000 + i)).collect()].concat());
    assert_eq!(beside[0], alone, "the one is not what it is without the fifty");
    let (sum, squares) = beside[1..].iter().fold((0.0, 0.0), |(a, b), &x| (a + x as f64, b + (x as f64).powi(2)));
    let jain = sum * sum / (50.0 * squares);
    println!("one {alone} bytes, fifty {sum} bytes, Jain's index {jain:.3}");
    assert!(sum >= 0.95 * alone as f64 && jain >= 0.95, "fifty: {sum} bytes, Jain's index {jain:.3}, one: {alone}");
}
