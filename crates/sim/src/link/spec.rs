//! What a link is made of, as JSON: the lab's emulator and the simulator read the same description.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::link::rate::RateModel;

/// One direction of a link. Everything is optional: the default is a perfect wire.
///
/// Order of effects: MTU and policer at the entry, the drop-tail queue, the rate (with its freezes), then on the air
/// the losses, corruption, duplication and the delay. Times are ms from the link's start, rates Mbit/s of IP bytes,
/// probabilities 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkSpec {
    /// How fast packets leave the queue.
    pub rate: Rate,
    /// Drop-tail queue in bytes; absent: endless. A packet that finds the queue empty always enters.
    pub queue_bytes: Option<u64>,
    /// Fixed delay after the queue.
    pub delay_ms: f64,
    /// Uniform extra delay from 0 to this, never reordering.
    pub jitter_ms: f64,
    /// Random loss on the air.
    pub loss: f64,
    /// Burst loss on the air.
    pub burst_loss: Option<BurstLoss>,
    /// Packets that arrive twice.
    pub duplicate: f64,
    /// Packets that arrive with one bit flipped, anywhere behind the Ethernet header.
    pub corrupt: f64,
    /// Packets of ECN-capable transports that arrive with the congestion mark (RFC 3168).
    pub mark: f64,
    /// Packets that are late, and overtaken.
    pub reorder: Option<Reorder>,
    /// Small packets ahead of large ones.
    pub overtake: Option<Overtake>,
    /// Times at which nothing leaves: `[start ms, length ms]` each.
    pub freezes: Vec<(f64, f64)>,
    /// Freezes at random.
    pub random_freeze: Option<RandomFreeze>,
    /// Loss at the start of each flow.
    pub first_loss: Option<FirstLoss>,
    /// Token bucket at the entry that drops what exceeds it.
    pub policer: Option<Policer>,
    /// Largest IP packet that enters; larger ones are dropped.
    pub mtu: Option<u32>,
    /// Seed of everything random here.
    pub seed: u64,
}

/// How fast packets leave the queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rate {
    /// At once.
    #[default]
    Unlimited,
    /// Constant, Mbit/s.
    Mbps(f64),
    /// Constant between steps: `[from ms, Mbit/s]` each, the first from 0.
    Steps(Vec<(f64, f64)>),
    /// As a mahimahi trace file says.
    Trace {
        /// The file.
        file: PathBuf,
        /// Where in the trace the link starts.
        #[serde(default)]
        offset_ms: f64,
    },
    /// As these slots say: a trace given in place, ms.
    Slots(Vec<u32>),
    /// A seeded random rate.
    Model(RateModel),
}

/// Gilbert and Elliott's two-state loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurstLoss {
    /// Chance per packet to enter the bad state.
    pub enter: f64,
    /// Chance per packet to leave it.
    pub leave: f64,
    /// Loss within it.
    pub loss: f64,
}

/// Some packets are late by a fixed time and are overtaken by those behind them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reorder {
    /// Chance per packet.
    pub chance: f64,
    /// How late.
    pub late_ms: f64,
}

/// Small packets pass large ones that wait, as radio schedulers and HARQ let them; order among the small and among the
/// large stays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overtake {
    /// IP packets up to this size are small, bytes.
    pub small_bytes: u32,
    /// Most large packets that one small packet passes in the queue.
    pub segments: u32,
    /// Large packets that are older than this are not passed in the queue; and on the air a large packet takes
    /// `air_ms` longer than a small one.
    pub within_ms: f64,
    /// Extra delay of large packets on the air.
    pub air_ms: f64,
}

impl Default for Overtake {
    fn default() -> Overtake {
        Overtake { small_bytes: 600, segments: 30, within_ms: 50.0, air_ms: 0.0 }
    }
}

/// Freezes at random times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomFreeze {
    /// Mean time from the end of one to the start of the next (exponential).
    pub every_ms: f64,
    /// Shortest.
    pub min_ms: f64,
    /// Longest (lengths are uniform in the logarithm).
    pub max_ms: f64,
    /// Seed of its own: two directions with the same one freeze together.
    #[serde(default)]
    pub seed: u64,
}

/// The first data frames of a flow that reach the radio are lost, retransmissions counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstLoss {
    /// How many frames with TCP payload.
    pub frames: u32,
    /// Again after the flow was idle for this long; absent: at its start only.
    #[serde(default)]
    pub after_idle_ms: Option<f64>,
}

/// A token bucket that drops.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policer {
    /// Rate.
    pub mbps: f64,
    /// Depth.
    pub bucket_bytes: u64,
}

fn check(ok: bool, what: &str) -> Result<(), String> {
    if ok {
        Ok(())
    } else {
        Err(what.into())
    }
}

fn probability(p: f64, name: &str) -> Result<(), String> {
    check((0.0..=1.0).contains(&p), &format!("{name} is {p}: give a probability from 0 to 1"))
}

fn positive(x: f64, name: &str) -> Result<(), String> {
    check(x > 0.0 && x.is_finite(), &format!("{name} is {x}: give a number above 0"))
}

fn not_negative(x: f64, name: &str) -> Result<(), String> {
    check(x >= 0.0 && x.is_finite(), &format!("{name} is {x}: give 0 or more"))
}

impl LinkSpec {
    /// Reads a description; the error is one sentence that says which field is wrong and what it should be.
    pub fn from_json(text: &str) -> Result<LinkSpec, String> {
        let spec: LinkSpec = serde_json::from_str(text).map_err(|e| format!("the link description is not valid: {e}"))?;
        spec.check()?;
        Ok(spec)
    }

    /// The description as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether every number is in its range.
    pub fn check(&self) -> Result<(), String> {
        match &self.rate {
            Rate::Unlimited | Rate::Slots(_) => {}
            Rate::Mbps(mbps) => positive(*mbps, "rate.mbps")?,
            Rate::Trace { offset_ms, .. } => not_negative(*offset_ms, "rate.trace.offset_ms")?,
            Rate::Model(m) => m.check()?,
            Rate::Steps(steps) => {
                check(steps.first().is_some_and(|s| s.0 == 0.0), "rate.steps must begin with a step at 0 ms")?;
                check(steps.windows(2).all(|w| w[0].0 < w[1].0), "rate.steps must be in ascending order of time")?;
                for (_, mbps) in steps {
                    positive(*mbps, "a rate in rate.steps")?;
                }
            }
        }
        not_negative(self.delay_ms, "delay_ms")?;
        not_negative(self.jitter_ms, "jitter_ms")?;
        probability(self.loss, "loss")?;
        probability(self.duplicate, "duplicate")?;
        probability(self.corrupt, "corrupt")?;
        probability(self.mark, "mark")?;
        if let Some(b) = self.burst_loss {
            probability(b.enter, "burst_loss.enter")?;
            probability(b.leave, "burst_loss.leave")?;
            probability(b.loss, "burst_loss.loss")?;
        }
        if let Some(r) = self.reorder {
            probability(r.chance, "reorder.chance")?;
            not_negative(r.late_ms, "reorder.late_ms")?;
        }
        if let Some(o) = self.overtake {
            not_negative(o.within_ms, "overtake.within_ms")?;
            not_negative(o.air_ms, "overtake.air_ms")?;
        }
        for (start, length) in &self.freezes {
            not_negative(*start, "a freeze's start")?;
            positive(*length, "a freeze's length")?;
        }
        if let Some(r) = self.random_freeze {
            positive(r.every_ms, "random_freeze.every_ms")?;
            positive(r.min_ms, "random_freeze.min_ms")?;
            check(r.max_ms >= r.min_ms, "random_freeze.max_ms must be at least min_ms")?;
        }
        if let Some(p) = self.policer {
            positive(p.mbps, "policer.mbps")?;
            check(p.bucket_bytes >= 1500, "policer.bucket_bytes must hold one packet: at least 1500")?;
        }
        check(self.mtu.is_none_or(|m| m >= 68), "mtu must be at least 68 bytes (RFC 791)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_survives_json() {
        let spec = LinkSpec {
            rate: Rate::Steps(vec![(0.0, 100.0), (500.0, 10.0)]),
            queue_bytes: Some(64_000),
            overtake: Some(Overtake::default()),
            first_loss: Some(FirstLoss { frames: 10, after_idle_ms: None }),
            ..LinkSpec::default()
        };
        assert_eq!(LinkSpec::from_json(&spec.to_json()).unwrap(), spec);
    }

    #[test]
    fn short_forms_are_understood() {
        assert_eq!(LinkSpec::from_json("{}").unwrap(), LinkSpec::default());
        let spec = LinkSpec::from_json(r#"{"rate": {"trace": {"file": "x.down"}}, "delay_ms": 25}"#).unwrap();
        assert_eq!(spec.rate, Rate::Trace { file: "x.down".into(), offset_ms: 0.0 });
    }

    #[test]
    fn a_wrong_number_or_field_is_named() {
        for (text, word) in [
            (r#"{"loss": 1.5}"#, "loss"),
            (r#"{"rate": {"mbps": 0}}"#, "rate.mbps"),
            (r#"{"rate": {"steps": [[5, 1]]}}"#, "rate.steps"),
            (r#"{"policer": {"mbps": 5, "bucket_bytes": 10}}"#, "bucket_bytes"),
            (r#"{"lost": 1}"#, "lost"),
        ] {
            assert!(LinkSpec::from_json(text).unwrap_err().contains(word), "{text}");
        }
    }
}
