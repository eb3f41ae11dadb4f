use super::spec::*;
use super::*;

const MS: u64 = 1_000_000;
type Tagged = Vec<u8>;

fn link(json: &str) -> Link<Tagged> {
    let mut link = Link::new(&LinkPlan::new(&LinkSpec::from_json(json).unwrap()).unwrap(), 1);
    link.record();
    link
}

fn data(flow: u64) -> Class {
    Class { flow, payload: 1448, tag: 0 }
}

/// Everything that comes out, as (arrival ms rounded down, first byte).
fn drain(link: &mut Link<Tagged>) -> Vec<(u64, u8)> {
    let mut out = Vec::new();
    while let Some(at) = link.next_event() {
        while let Some((at, p)) = link.pop_due(at) {
            out.push((at / MS, p[0]));
        }
    }
    out
}

#[test]
fn a_constant_rate_serialises_one_packet_after_the_other() {
    let mut l = link(r#"{"rate": {"mbps": 12}, "delay_ms": 10}"#);
    for i in 0..3 {
        l.enqueue(0, vec![i], 1500, data(0));
    }
    assert_eq!(drain(&mut l), [(11, 0), (12, 1), (13, 2)]);
    let s = l.take_samples();
    assert_eq!(s[2].queue_ns(), 3 * MS);
    assert_eq!(s[2].self_inflicted_ns(), 2 * MS);
}

#[test]
fn a_slot_carries_1500_bytes_and_what_finds_no_packet_is_gone() {
    let mut l = link(r#"{"rate": {"slots": [5, 10, 10, 20]}}"#);
    l.enqueue(6 * MS, vec![0], 1500, data(0));
    l.enqueue(6 * MS, vec![1], 700, data(0));
    l.enqueue(6 * MS, vec![2], 1500, data(0));
    // 10: packet 0; 10: packet 1 and 800 bytes of packet 2; 20: the rest of it.
    assert_eq!(drain(&mut l), [(10, 0), (10, 1), (20, 2)]);
    l.enqueue(21 * MS, vec![3], 40, data(0));
    assert_eq!(drain(&mut l), [(25, 3)]);
    assert_eq!(l.take_samples()[3].self_inflicted_ns(), 0);
}

#[test]
fn the_wait_of_an_empty_queue_is_told_from_the_wait_behind_others() {
    let mut l = link(r#"{"rate": {"slots": [10, 20, 30]}, "freezes": [[25, 10]]}"#);
    for i in 0..3 {
        l.enqueue(11 * MS, vec![i], 1500, data(0));
    }
    drain(&mut l);
    let own: Vec<u64> = l.take_samples().iter().map(|s| s.self_inflicted_ns() / MS).collect();
    assert_eq!(own, [0, 20, 30]); // slots at 20, 40 (30 is frozen), 50; an empty queue would have waited until 20
}

#[test]
fn the_queue_drops_at_its_tail_when_full() {
    let mut l = link(r#"{"rate": {"mbps": 12}, "queue_bytes": 3000}"#);
    let fates: Vec<Fate> = (0..4).map(|i| l.enqueue(0, vec![i], 1500, data(0))).collect();
    assert_eq!(fates, [Fate::Crossed, Fate::Crossed, Fate::QueueFull, Fate::QueueFull]);
    assert_eq!(l.totals().packets(Fate::QueueFull), 2);
    assert_eq!(l.totals().peak_queue_bytes, 3000);
    assert_eq!(drain(&mut l).len(), 2);
}

#[test]
fn a_freeze_stops_a_serialised_link_in_the_middle_of_a_packet() {
    let mut l = link(r#"{"rate": {"mbps": 12}, "freezes": [[0.5, 100]]}"#);
    l.enqueue(0, vec![0], 1500, data(0));
    l.enqueue(0, vec![1], 1500, data(0));
    assert_eq!(drain(&mut l), [(101, 0), (102, 1)]);
}

#[test]
fn a_freeze_ordered_while_running_holds_what_waits() {
    let mut l = link(r#"{"rate": {"slots": [1]}}"#);
    l.enqueue(0, vec![0], 1500, data(0));
    l.freeze(0, 500 * MS);
    assert_eq!(drain(&mut l), [(500, 0)]);
}

#[test]
fn a_rate_step_changes_the_service_time() {
    let mut l = link(r#"{"rate": {"steps": [[0, 120], [0.05, 12]]}}"#);
    l.enqueue(0, vec![0], 1500, data(0)); // 0.05 ms at 120 carry 750 bytes, 0.5 ms at 12 the other 750
    assert_eq!(l.next_event(), Some(550_000));
}

#[test]
fn small_packets_pass_up_to_the_allowed_number_of_large_ones() {
    let mut l = link(r#"{"rate": {"mbps": 12}, "overtake": {"segments": 3, "within_ms": 50}}"#);
    for i in 0..6 {
        l.enqueue(0, vec![i], 1500, data(0));
    }
    l.enqueue(0, vec![100], 100, data(0));
    l.enqueue(0, vec![101], 100, data(0));
    let order: Vec<u8> = drain(&mut l).iter().map(|d| d.1).collect();
    assert_eq!(order, [0, 1, 2, 100, 101, 3, 4, 5]);
}

#[test]
fn small_packets_do_not_pass_what_is_old() {
    let mut l = link(r#"{"rate": {"mbps": 0.12}, "overtake": {"within_ms": 50}}"#);
    for (i, at) in [(0, 0), (1, 10), (2, 80)] {
        l.enqueue(at * MS, vec![i], 1500, data(0));
    }
    l.enqueue(90 * MS, vec![9], 100, data(0));
    let order: Vec<u8> = drain(&mut l).iter().map(|d| d.1).collect();
    assert_eq!(order, [0, 1, 9, 2]);
}

#[test]
fn the_first_data_frames_of_each_flow_are_lost_and_acks_are_not() {
    let mut l = link(r#"{"first_loss": {"frames": 2, "after_idle_ms": 1000}}"#);
    let mut fates = Vec::new();
    for (flow, at) in [(1, 0), (1, 1), (1, 2), (2, 3), (1, 500), (1, 1600), (1, 1601), (1, 1602)] {
        l.enqueue(at * MS, vec![0], 1500, data(flow));
        fates.push(l.take_samples()[0].fate == Fate::Crossed);
    }
    assert_eq!(fates, [false, false, true, false, true, false, false, true]);
    l.enqueue(0, vec![0], 52, Class { flow: 3, payload: 0, tag: 0 });
    assert_eq!(l.take_samples()[0].fate, Fate::Crossed);
}

#[test]
fn a_policer_passes_its_rate_and_bucket_and_drops_the_rest() {
    let mut l = link(r#"{"policer": {"mbps": 5, "bucket_bytes": 30000}}"#);
    for i in 0..10_000u64 {
        l.enqueue(i * MS, vec![0], 1500, data(0)); // 12 Mbit/s for 10 s
    }
    let passed = l.totals().bytes(Fate::Crossed) as f64;
    let want = 5e6 / 8.0 * 10.0 + 30_000.0;
    assert!((passed - want).abs() / want < 0.01, "{passed} of {want}");
}

#[test]
fn what_exceeds_the_mtu_is_dropped() {
    let mut l = link(r#"{"mtu": 1400}"#);
    assert_eq!(l.enqueue(0, vec![0], 1401, data(0)), Fate::TooBig);
    assert_eq!(l.enqueue(0, vec![0], 1400, data(0)), Fate::Crossed);
}

#[test]
fn random_faults_hit_their_share_and_are_the_same_for_the_same_seed() {
    let run = |seed| {
        let spec = LinkSpec::from_json(r#"{"loss": 0.01, "duplicate": 0.02, "corrupt": 0.03}"#).unwrap();
        let mut l: Link<Vec<u8>> = Link::new(&LinkPlan::new(&spec).unwrap(), seed);
        for i in 0..20_000 {
            l.enqueue(i * MS, vec![0; 60], 46, data(0));
        }
        let damaged = drain(&mut l).len();
        (*l.totals(), damaged)
    };
    let (t, out) = run(1);
    assert!((120..280).contains(&t.packets(Fate::Lost)), "{t:?}");
    assert!((300..500).contains(&t.duplicated), "{t:?}");
    assert!((480..720).contains(&t.corrupted), "{t:?}");
    assert_eq!(out as u64, 20_000 - t.packets(Fate::Lost) + t.duplicated);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn burst_loss_comes_in_bursts() {
    let mut l = link(r#"{"burst_loss": {"enter": 0.01, "leave": 0.2, "loss": 1}}"#);
    for i in 0..50_000 {
        l.enqueue(i * MS, vec![0], 1500, data(0));
    }
    let lost: Vec<bool> = l.take_samples().iter().map(|s| s.fate == Fate::BurstLost).collect();
    let total = lost.iter().filter(|&&x| x).count() as f64;
    let runs = lost.windows(2).filter(|w| !w[0] && w[1]).count() as f64;
    assert!((total / 50_000.0 - 0.0476).abs() < 0.01, "{total}");
    assert!((total / runs - 5.0).abs() < 0.7, "mean burst {}", total / runs);
}

#[test]
fn jitter_delays_and_never_reorders_but_late_packets_are_overtaken() {
    let mut l = link(r#"{"delay_ms": 20, "jitter_ms": 15}"#);
    for i in 0..200u64 {
        l.enqueue(i * MS, vec![i as u8], 1500, data(0));
    }
    let out = drain(&mut l);
    assert!(out.windows(2).all(|w| w[0].1 < w[1].1));
    assert!(out.iter().all(|&(at, i)| (20..=35).contains(&(at - u64::from(i)))));
    let mut l = link(r#"{"delay_ms": 20, "reorder": {"chance": 0.1, "late_ms": 5}}"#);
    for i in 0..200u64 {
        l.enqueue(i * MS, vec![i as u8], 1500, data(0));
    }
    let late = drain(&mut l).windows(2).filter(|w| w[0].1 > w[1].1).count();
    assert!((8..35).contains(&late), "{late} overtaken");
}

#[test]
fn healing_ends_the_faults_and_keeps_rate_queue_and_delay() {
    let mut l = link(r#"{"rate": {"mbps": 12}, "delay_ms": 5, "loss": 1, "freezes": [[0, 10000]], "mtu": 100}"#);
    assert_eq!(l.enqueue(0, vec![0], 1500, data(0)), Fate::TooBig);
    l.enqueue(0, vec![1], 60, data(0));
    l.heal(3 * MS);
    l.enqueue(3 * MS, vec![2], 1440, data(0));
    assert_eq!(drain(&mut l), [(8, 1), (9, 2)]);
}

#[test]
fn capacity_counts_slots_and_leaves_freezes_out() {
    let plan = |json: &str| LinkPlan::new(&LinkSpec::from_json(json).unwrap()).unwrap();
    let slots = plan(r#"{"rate": {"slots": [10, 20, 30]}, "freezes": [[25, 10]]}"#);
    assert_eq!(slots.capacity_bytes(1, 0, 60 * MS), Some(5 * 1500));
    assert_eq!(slots.capacity_bytes(1, 10 * MS, 20 * MS), Some(1500));
    let constant = plan(r#"{"rate": {"mbps": 8}, "freezes": [[100, 100]]}"#);
    assert_eq!(constant.capacity_bytes(1, 0, 1000 * MS), Some(900_000));
    assert_eq!(plan("{}").capacity_bytes(1, 0, 1), None);
}

#[test]
fn a_modelled_rate_has_its_mean_and_does_not_depend_on_the_traffic() {
    let json = r#"{"rate": {"model": {"mean_mbps": 10, "sigma": 0.5, "memory_ms": 500, "min_mbps": 0.5,
        "max_mbps": 60, "bunch_ms": 4}}}"#;
    let plan = LinkPlan::new(&LinkSpec::from_json(json).unwrap()).unwrap();
    let mbps = plan.capacity_bytes(5, 0, 300_000 * MS).unwrap() as f64 * 8.0 / 300e6;
    assert!((8.5..11.5).contains(&mbps), "{mbps}");
    // A saturated link carries its capacity, to the slot.
    let mut l: Link<Vec<u8>> = Link::new(&plan, 5);
    let mut sent = 0;
    for ms in 0..10_000 {
        while l.backlog().0 < 150_000 {
            l.enqueue(ms * MS, vec![0], 1500, data(0));
        }
        while l.pop_due(ms * MS).is_some() {
            sent += 1500;
        }
    }
    let want = plan.capacity_bytes(5, 0, 9_999 * MS).unwrap();
    assert!(want - sent <= 1500, "{sent} of {want}");
}
