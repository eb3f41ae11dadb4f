//! Built-in access links: seeded random models, so that the project needs nobody's traces.
//!
//! The figures are round numbers within what is commonly reported for each kind of network; they describe no operator.
//! A profile is a down and an up [`LinkSpec`]; its radio delay is split over both directions.

use serde::Serialize;

use crate::link::rate::RateModel;
use crate::link::spec::{BurstLoss, LinkSpec, RandomFreeze, Rate, Reorder};

/// One kind of access network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// Its name in commands: lower case, hyphens.
    pub name: &'static str,
    /// One line about what it models.
    pub text: &'static str,
    /// Round trip over the radio when nothing waits, ms (scheduling intervals come on top).
    pub radio_rtt_ms: f64,
    /// Towards the phone.
    pub down: LinkSpec,
    /// From the phone.
    pub up: LinkSpec,
}

/// The names of all profiles.
pub const NAMES: [&str; 7] = ["lte-still", "lte-driving", "umts", "5g", "geo", "leo", "wifi-lossy"];

fn model(mean: f64, sigma: f64, memory_ms: f64, min: f64, max: f64, bunch_ms: f64) -> RateModel {
    RateModel {
        mean_mbps: mean,
        sigma,
        memory_ms,
        min_mbps: min,
        max_mbps: max,
        bunch_ms,
        outage_every_ms: None,
        outage_ms: 0.0,
    }
}

fn outages(model: RateModel, every_ms: f64, length_ms: f64) -> RateModel {
    RateModel { outage_every_ms: Some(every_ms), outage_ms: length_ms, ..model }
}

fn link(rate: Rate, queue_bytes: u64, delay_ms: f64, jitter_ms: f64, seed: u64) -> LinkSpec {
    LinkSpec { rate, queue_bytes: Some(queue_bytes), delay_ms, jitter_ms, seed, ..LinkSpec::default() }
}

/// The profile of this name; `seed` makes another instance of the same kind. The error lists the names.
pub fn profile(name: &str, seed: u64) -> Result<Profile, String> {
    let (text, radio_rtt_ms, down, up) = match name {
        // A phone on a desk: 20 Mbit/s that drifts by a third within seconds; 2 MB of queue.
        "lte-still" => (
            "LTE, stationary: about 20 Mbit/s down, drifting; 2 MB queue, 50 ms",
            50.0,
            link(Rate::Model(model(20.0, 0.3, 1500.0, 2.0, 60.0, 2.0)), 2_000_000, 25.0, 3.0, seed),
            link(Rate::Model(model(8.0, 0.3, 1500.0, 0.8, 25.0, 5.0)), 1_000_000, 25.0, 4.0, seed ^ 0xA1),
        ),
        // A car: tenfold swings within a second, and handovers: about one outage of 150 ms in twelve seconds.
        "lte-driving" => (
            "LTE, driving: about 8 Mbit/s down, swings tenfold, handover gaps; 2 MB queue, 50 ms",
            50.0,
            link(
                Rate::Model(outages(model(8.0, 0.8, 800.0, 0.3, 50.0, 2.0), 12_000.0, 150.0)),
                2_000_000,
                25.0,
                5.0,
                seed,
            ),
            link(
                Rate::Model(outages(model(4.0, 0.7, 800.0, 0.2, 20.0, 5.0), 12_000.0, 150.0)),
                1_000_000,
                25.0,
                6.0,
                seed ^ 0xA2,
            ),
        ),
        // 3G: slow, with 10 ms intervals and long radio-link-control retransmissions.
        "umts" => (
            "UMTS: about 1.5 Mbit/s down, 10 ms intervals; 1 MB queue, 100 ms",
            100.0,
            link(
                Rate::Model(outages(model(1.5, 0.5, 2000.0, 0.1, 6.0, 10.0), 20_000.0, 300.0)),
                1_000_000,
                50.0,
                15.0,
                seed,
            ),
            link(Rate::Model(model(0.6, 0.4, 2000.0, 0.06, 2.0, 10.0)), 500_000, 50.0, 15.0, seed ^ 0xA3),
        ),
        // Mid-band 5G: fast, blocked now and then for tens of ms.
        "5g" => (
            "5G mid-band: about 150 Mbit/s down, short blockages; 8 MB queue, 20 ms",
            20.0,
            link(
                Rate::Model(outages(model(150.0, 0.5, 600.0, 5.0, 400.0, 1.0), 5_000.0, 40.0)),
                8_000_000,
                10.0,
                2.0,
                seed,
            ),
            link(Rate::Model(model(30.0, 0.5, 600.0, 1.0, 80.0, 2.5)), 2_000_000, 10.0, 2.0, seed ^ 0xA4),
        ),
        // A geostationary satellite: 270 ms each way, fixed rate by contract, request and grant on the way up.
        "geo" => (
            "Geostationary satellite: 25 Mbit/s down, 3 up; 3 MB queue, 560 ms",
            560.0,
            link(Rate::Mbps(25.0), 3_000_000, 280.0, 5.0, seed),
            link(Rate::Mbps(3.0), 500_000, 280.0, 20.0, seed ^ 0xA5),
        ),
        // A low-orbit constellation: about 100 Mbit/s; a freeze of tens of ms at each change of satellite (mean 15 s),
        // and a little loss.
        "leo" => (
            "Low-orbit satellite: about 100 Mbit/s down, a gap at each handover, 0.1% loss; 2 MB queue, 40 ms",
            40.0,
            LinkSpec {
                loss: 0.001,
                random_freeze: Some(RandomFreeze { every_ms: 15_000.0, min_ms: 20.0, max_ms: 120.0, seed }),
                ..link(Rate::Model(model(100.0, 0.3, 3000.0, 10.0, 220.0, 1.33)), 2_000_000, 20.0, 6.0, seed)
            },
            LinkSpec {
                loss: 0.001,
                random_freeze: Some(RandomFreeze { every_ms: 15_000.0, min_ms: 20.0, max_ms: 120.0, seed }),
                ..link(Rate::Model(model(12.0, 0.3, 3000.0, 1.0, 30.0, 1.33)), 1_000_000, 20.0, 6.0, seed ^ 0xA6)
            },
        ),
        // A busy wireless LAN: loss in bursts, packets that are late.
        "wifi-lossy" => (
            "Lossy Wi-Fi: about 40 Mbit/s, 1% loss mostly in bursts, some reordering; 512 kB queue, 8 ms",
            8.0,
            lossy(link(Rate::Model(model(40.0, 0.6, 300.0, 2.0, 120.0, 1.0)), 512_000, 4.0, 3.0, seed)),
            lossy(link(Rate::Model(model(20.0, 0.6, 300.0, 1.0, 60.0, 1.0)), 256_000, 4.0, 3.0, seed ^ 0xA7)),
        ),
        _ => return Err(format!("there is no link profile {name:?}: choose one of {}", NAMES.join(", "))),
    };
    let name = NAMES.iter().find(|n| **n == name).copied().unwrap_or("");
    Ok(Profile { name, text, radio_rtt_ms, down, up })
}

fn lossy(spec: LinkSpec) -> LinkSpec {
    LinkSpec {
        loss: 0.002,
        burst_loss: Some(BurstLoss { enter: 0.003, leave: 0.3, loss: 0.8 }),
        reorder: Some(Reorder { chance: 0.005, late_ms: 4.0 }),
        ..spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::LinkPlan;

    #[test]
    fn every_profile_is_valid_and_survives_json() {
        for name in NAMES {
            let p = profile(name, 1).unwrap();
            assert_eq!(p.name, name);
            for spec in [&p.down, &p.up] {
                assert_eq!(&LinkSpec::from_json(&spec.to_json()).unwrap(), spec, "{name}");
            }
            assert_eq!(p.down.delay_ms + p.up.delay_ms, p.radio_rtt_ms, "{name}");
        }
        assert!(profile("lte", 1).unwrap_err().contains("lte-still"));
    }

    #[test]
    fn a_profile_carries_about_its_mean_rate_and_is_the_same_for_the_same_seed() {
        for (name, mean) in [("lte-still", 20.0), ("lte-driving", 8.0), ("umts", 1.5), ("5g", 150.0), ("geo", 25.0)] {
            let mbps = |seed| {
                let plan = LinkPlan::new(&profile(name, seed).unwrap().down).unwrap();
                plan.capacity_bytes(0, 0, 200_000_000_000).unwrap() as f64 * 8.0 / 200e6
            };
            assert!((0.75 * mean..1.25 * mean).contains(&mbps(3)), "{name} carries {}", mbps(3));
            assert_eq!(mbps(3), mbps(3));
            assert!(name == "geo" || mbps(3) != mbps(4));
        }
    }
}
