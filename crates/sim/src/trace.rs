//! Delivery traces in mahimahi's format: each line a time in ms at which one 1500-byte packet may leave.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that may leave at one line of a trace.
pub const SLOT_BYTES: u32 = 1500;

/// The slots of one trace, which repeats when it ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    slots_ms: Arc<[u32]>,
}

impl Trace {
    /// From slot times in ms, which must not decrease and must end after 0.
    pub fn new(slots_ms: Vec<u32>) -> Result<Trace, String> {
        if let Some(i) = slots_ms.windows(2).position(|w| w[1] < w[0]) {
            return Err(format!("line {} goes back in time: a trace lists times in ms in ascending order", i + 2));
        }
        match slots_ms.last() {
            None => Err("it holds no line: a trace needs at least one time in ms".into()),
            Some(0) => Err("it ends at 0 ms: the last time is the trace's length and must be above 0".into()),
            Some(_) => Ok(Trace { slots_ms: slots_ms.into() }),
        }
    }

    /// From the text of a trace file.
    pub fn parse(text: &str) -> Result<Trace, String> {
        let mut slots = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let ms = line.parse().map_err(|_| format!("line {} is not a whole number of ms: {line:.20}", i + 1))?;
            slots.push(ms);
        }
        Trace::new(slots)
    }

    /// Reads a trace file. Errors name the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Trace, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| format!("cannot read the trace {}: {e}", path.display()))?;
        Trace::parse(&text).map_err(|e| format!("{} is not a trace: {e}", path.display()))
    }

    /// Length in ns: the last slot's time, after which it repeats.
    pub fn period_ns(&self) -> u64 {
        u64::from(*self.slots_ms.last().unwrap_or(&1)) * 1_000_000
    }

    /// Slots in one period.
    pub fn len(&self) -> usize {
        self.slots_ms.len()
    }

    /// Never true: a trace has at least one slot.
    pub fn is_empty(&self) -> bool {
        self.slots_ms.is_empty()
    }

    /// Mean rate, Mbit/s.
    pub fn mean_mbps(&self) -> f64 {
        self.len() as f64 * f64::from(SLOT_BYTES) * 8.0 * 1e3 / self.period_ns() as f64
    }

    /// Time of slot `k` of the endless trace, ns from its beginning.
    pub fn time_ns(&self, k: u64) -> u64 {
        let n = self.len() as u64;
        (k / n) * self.period_ns() + u64::from(self.slots_ms[(k % n) as usize]) * 1_000_000
    }

    /// The first slot later than `t_ns` (ns from the trace's beginning).
    pub fn first_after(&self, t_ns: u64) -> u64 {
        let n = self.len() as u64;
        let cycle = t_ns / self.period_ns();
        let rest_ms = (t_ns % self.period_ns()) / 1_000_000;
        // The period's last slot stands at its very end, which is the next cycle's 0: it counts as "at" t there.
        let within = self.slots_ms.partition_point(|&ms| u64::from(ms) <= rest_ms) as u64;
        let mut k = cycle * n + within;
        while k > 0 && self.time_ns(k - 1) > t_ns {
            k -= 1;
        }
        while self.time_ns(k) <= t_ns {
            k += 1;
        }
        k
    }
}

/// Where a recorded trace, such as `Verizon-LTE-short.down`, is expected: in the folder that `SMARTWIRE_TRACES` names, else
/// in `shared/traces` beside the checkout. They are not part of the repository, so it may not be there.
pub fn recorded(file: &str) -> PathBuf {
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces").into();
    std::env::var_os("SMARTWIRE_TRACES").map_or_else(beside, PathBuf::from).join(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_repeats_after_its_last_line() {
        let t = Trace::parse("1\n4\n4\n10\n").unwrap();
        let times: Vec<u64> = (0..6).map(|k| t.time_ns(k) / 1_000_000).collect();
        assert_eq!(times, [1, 4, 4, 10, 11, 14]);
    }

    #[test]
    fn the_first_slot_after_an_instant_is_found_across_the_repetition() {
        let t = Trace::parse("1\n4\n4\n10\n").unwrap();
        for (at_ms, want) in [(0, 0), (1, 1), (3, 1), (4, 3), (9, 3), (10, 4), (11, 5), (19, 7), (20, 8)] {
            assert_eq!(t.first_after(at_ms * 1_000_000), want, "after {at_ms} ms");
        }
        assert_eq!(t.first_after(999_999), 0);
    }

    #[test]
    fn what_is_no_trace_is_refused_with_the_line() {
        assert!(Trace::parse("1\nx\n").unwrap_err().contains("line 2"));
        assert!(Trace::parse("5\n3\n").unwrap_err().contains("line 2"));
        assert!(Trace::parse("").unwrap_err().contains("no line"));
        assert!(Trace::parse("0\n").unwrap_err().contains("0 ms"));
    }
}
