//! What a policy chooses for its subscribers beside a rate: how long the queue at the radio is, and whether what is sent is
//! paced; in virtual time.

mod common;

use common::{lte, radio, MS, S};
use smartwire_engine::policy::describe::Entry;
use smartwire_engine::policy::Description;
use smartwire_sim::link::spec::Rate;
use smartwire_sim::world::{EngineSpec, FlowSpec, LinkId, WireSpec, World, WorldSpec};

/// One download over a steady radio of 20 Mbit/s under this policy: median and longest queue at the radio from the fourth
/// second to the tenth, ms, and payload received in all ten, bytes.
fn download(v6: bool, policy: Entry) -> (u64, u64, u64) {
    let engine = EngineSpec { policies: Description { policies: vec![policy], ..Description::default() }, ..EngineSpec::default() };
    let flows = vec![FlowSpec::download(v6, 40_000, 1 << 30)];
    let spec = WorldSpec { wire: WireSpec::Engine(Box::new(engine)), flows, ..radio(lte(), |link| link.rate = Rate::Mbps(20.0)) };
    let mut world = World::new(spec).unwrap();
    world.record(LinkId::RadioDown(0));
    world.run_until(4 * S);
    world.take_samples(LinkId::RadioDown(0));
    world.run_until(10 * S);
    let mut queues: Vec<u64> = world.take_samples(LinkId::RadioDown(0)).iter().map(|s| s.queue_ns() / MS).collect();
    queues.sort_unstable();
    let stats = world.engine().expect("an engine").stats();
    assert_eq!((stats.retransmitted, stats.refused.iter().sum::<u64>()), (0, 0));
    (queues[queues.len() / 2], queues[queues.len() - 1], world.received(0).0)
}

fn policy(target_ms: Option<u16>, pacing: bool) -> Entry {
    Entry { name: "all".into(), target_ms, pacing, ..Entry::default() }
}

#[test]
fn the_queue_at_the_radio_follows_the_delay_target_of_the_subscribers_policy() {
    for v6 in [false, true] {
        let [short, usual, long] = [Some(20), None, Some(200)].map(|target| download(v6, policy(target, true)));
        println!("v6 {v6}: (median, longest ms, bytes) {short:?} for 20 ms, {usual:?} for the wire's 50, {long:?} for 200");
        assert!(short.0 <= 20 && usual.0 <= 50 && long.0 <= 200, "{short:?} {usual:?} {long:?}");
        assert!(usual.0 > short.0 && long.0 >= 2 * usual.0, "{short:?} {usual:?} {long:?}");
        // 2.4 MB a second is what the payload of full packets makes of 20 Mbit/s.
        assert!([short, usual, long].iter().all(|it| it.2 >= 9 * 2_400_000), "{short:?} {usual:?} {long:?}");
    }
}

#[test]
fn without_pacing_the_budget_still_keeps_the_queue_short() {
    for v6 in [false, true] {
        let [paced, at_once] = [true, false].map(|pacing| download(v6, policy(None, pacing)));
        println!("v6 {v6}: (median, longest ms, bytes) {paced:?} paced, {at_once:?} not");
        assert!(at_once.0 <= 50 && at_once.1 <= 2 * paced.1.max(50), "{at_once:?}, paced {paced:?}");
        assert!(at_once.2 * 100 >= paced.2 * 97, "{at_once:?}, paced {paced:?}");
    }
}
