use super::path::{Fate, Path};
use super::*;

/// The share of what passes a bottleneck that never says it is full, and the share that it drops.
fn behind(mut p: Path, ms: u64) -> (Path, f64, f64) {
    p.budget = u32::MAX;
    p.window = 16 << 20;
    p.run_to(ms);
    let sent = p.b.log.iter().filter(|l| l.1 != XmitKind::Probe(ProbeKind::Zero)).count() as f64;
    let loss = p.dropped as f64 / sent;
    let rate = p.received() as f64 * 8.0 / ms as f64;
    (p, rate, loss)
}

#[test]
fn losses_below_five_percent_do_not_cut() {
    let mut p = Path::new(params(), 60, 20, 1000);
    let mut dice = Dice::new(5);
    p.fate = Box::new(move |_, _| if dice.per_mille(15) { Fate::Lose } else { Fate::Pass });
    p.run_to(10_000);
    assert_eq!(p.cuts, 0);
    assert!(p.resent() > 200);
}

/// Of 160 segments in two rounds 3 % are 5 and sometimes 9: chance, and no reason to cut.
#[test]
fn three_percent_at_random_never_cut_however_long_it_lasts() {
    for seed in 1..=5 {
        let mut p = Path::new(params(), 60, 20, 1000);
        let mut dice = Dice::new(seed);
        p.fate = Box::new(move |_, _| if dice.per_mille(30) { Fate::Lose } else { Fate::Pass });
        p.run_to(30_000);
        assert_eq!(p.cuts, 0, "seed {seed}");
        assert!(p.resent() > 1_000, "seed {seed}");
    }
}

#[test]
fn losses_above_five_percent_over_two_round_trips_cut() {
    let mut p = Path::new(params(), 60, 0, 0);
    let mut dice = Dice::new(5);
    p.fate = Box::new(move |ms, _| if ms > 300 && dice.per_mille(150) { Fate::Lose } else { Fate::Pass });
    p.run_to(300);
    assert_eq!(p.cuts, 0);
    p.run_to(700);
    assert!(p.cuts > 0);
}

/// A token bucket: what exceeds it is dropped, nothing queues.
fn policer(rate: u64, bucket: u64) -> impl FnMut(u64, &Xmit) -> Fate {
    let (mut tokens, mut last) = (bucket as f64, 0);
    move |ms, x| {
        tokens = (tokens + (ms - last) as f64 * rate as f64 / 1000.0).min(bucket as f64);
        last = ms;
        let bytes = f64::from(x.seq_len() + 60);
        if tokens < bytes {
            return Fate::Lose;
        }
        tokens -= bytes;
        Fate::Pass
    }
}

#[test]
fn a_policer_is_found_and_kept_to() {
    // 5 Mbit/s with a 30 kB bucket; the pacing that the engine adds is not here.
    let mut p = Path::new(params(), 60, 100, 1000);
    p.fate = Box::new(policer(625_000, 30_000));
    let (p, rate, loss) = behind(p, 30_000);
    println!("{rate:.0} kbit/s, {:.2} % lost, cap {:?}", loss * 100.0, p.b.s.policer());
    assert!(rate > 0.85 * 5_000.0, "{rate} kbit/s");
    assert!(loss < 0.03, "{loss}");
    assert!(p.b.s.policer().is_some_and(|r| (500_000..700_000).contains(&r)), "{:?}", p.b.s.policer());
}

#[test]
fn a_policer_that_is_gone_is_noticed() {
    let mut p = Path::new(params(), 60, 20, 1000);
    let mut police = policer(625_000, 30_000);
    p.fate = Box::new(move |ms, x| if ms < 10_000 { police(ms, x) } else { Fate::Pass });
    p.run_to(10_000);
    assert!(p.b.s.policer().is_some());
    p.run_to(30_000);
    let before = p.received();
    p.run_to(32_000);
    let rate = (p.received() - before) * 8 / 2_000;
    assert!(rate > 16_000, "{rate} kbit/s of 20,000 twenty seconds later");
}

#[test]
fn a_small_buffer_behind_a_rate_step_is_not_flooded() {
    // 64 kB in front of 10 Mbit/s.
    let p = Path::new(params(), 60, 10, 51);
    let (p, rate, loss) = behind(p, 30_000);
    println!("{rate:.0} kbit/s, {:.2} % lost, {} cuts", loss * 100.0, p.cuts);
    assert!(rate > 0.85 * 10_000.0, "{rate} kbit/s");
    assert!(loss < 0.05, "{loss}");
}

#[test]
fn an_outage_that_loses_a_flight_is_not_blamed_on_the_rate() {
    let mut p = Path::new(params(), 60, 20, 1000);
    p.b.link_full = true;
    let dead = |ms| (3_000..6_000).contains(&ms);
    p.fate = Box::new(move |ms, _| if dead(ms) { Fate::Lose } else { Fate::Pass });
    p.run_to(10_000);
    assert_eq!(p.cuts, 0);
    assert_eq!(p.b.s.ssthresh(), u32::MAX);
}
