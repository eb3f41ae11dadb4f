//! The engine's configuration by name: packet scripts and descriptions of worlds write it down so.

use std::collections::BTreeMap;

use smartwire_engine::Config;

type Get = fn(&Config) -> u64;
type Set = fn(&mut Config, u64);

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

/// A name (which ends in the unit), and how to read and write it.
const SETTINGS: &[(&str, Get, Set)] = &[
    ("max_flows", |c| c.max_flows.into(), |c, v| c.max_flows = v as u32),
    ("max_active", |c| c.max_active.into(), |c, v| c.max_active = v as u32),
    ("max_half_open", |c| c.max_half_open.into(), |c, v| c.max_half_open = v as u32),
    ("max_subscribers", |c| c.max_subscribers.into(), |c, v| c.max_subscribers = v as u32),
    ("max_segments", |c| c.max_segments.into(), |c, v| c.max_segments = v as u32),
    ("stream_bytes", |c| c.stream_bytes.into(), |c, v| c.stream_bytes = v as u32),
    ("subscriber_v6_prefix", |c| c.subscriber_v6_prefix.into(), |c, v| c.subscriber_v6_prefix = v as u8),
    ("observe", |c| c.observe.into(), |c, v| c.observe = v != 0),
    ("queue_target_ms", |c| c.queue_target_ns / MS, |c, v| c.queue_target_ns = v * MS),
    ("burst_bytes_per_ms", |c| c.burst_bytes_per_ms.into(), |c, v| c.burst_bytes_per_ms = v as u32),
    ("idle_s", |c| c.idle_ns / SECOND, |c, v| c.idle_ns = v * SECOND),
    ("delivery_limit_s", |c| c.delivery_limit_ns / SECOND, |c, v| c.delivery_limit_ns = v * SECOND),
    ("mtu", |c| c.mtu.into(), |c, v| c.mtu = v as u16),
];

/// Sets one by its name.
///
/// # Errors
/// One sentence that lists the names.
pub fn set(config: &mut Config, name: &str, value: u64) -> Result<(), String> {
    match SETTINGS.iter().find(|s| s.0 == name) {
        Some((_, _, write)) => {
            write(config, value);
            Ok(())
        }
        None => {
            let names: Vec<&str> = SETTINGS.iter().map(|s| s.0).collect();
            Err(format!("`{name}` is no setting; they are {}, frames and book", names.join(", ")))
        }
    }
}

/// Those in which `config` differs from `usual`.
pub fn changed(config: &Config, usual: &Config) -> BTreeMap<String, u64> {
    let differs = |s: &&(&str, Get, Set)| (s.1)(config) != (s.1)(usual);
    SETTINGS.iter().filter(differs).map(|s| (s.0.to_string(), (s.1)(config))).collect()
}
