//! Traffic of active subscribers that passes beside the engine, read from the copper wire's counters.

use std::collections::HashMap;
use std::sync::Arc;

use smartwire_engine::{Engine, Now, SubscriberKey};
use smartwire_io::steer::{ForeignBytes, ForeignSlot, Steer};

/// How often the counters are read.
const READ_NS: u64 = 20_000_000;
/// How often the counted subscribers are compared with the active ones.
const SYNC_NS: u64 = 250_000_000;
/// Subscribers counted at a time; the rest of a larger crowd is budgeted without knowing its other traffic.
const MOST: usize = 4096;

struct Counted {
    slot: ForeignSlot,
    last: ForeignBytes,
    /// Still active at the latest comparison.
    seen: bool,
}

/// Whose bytes are counted for one engine.
pub(crate) struct Foreign {
    steer: Arc<Steer>,
    counted: HashMap<SubscriberKey, Counted>,
    news: Vec<(SubscriberKey, u64, u64)>,
    read_at: Now,
    sync_at: Now,
}

impl Foreign {
    pub(crate) fn new(steer: Arc<Steer>) -> Foreign {
        Foreign {
            steer,
            counted: HashMap::with_capacity(MOST),
            news: Vec::with_capacity(MOST),
            read_at: Now(0),
            sync_at: Now(0),
        }
    }

    /// All UDP comes to the engine, or none but that of tunnels.
    pub(crate) fn shape(&self, all: bool) {
        self.steer.shape_all(all);
    }

    /// When there is something to read next.
    pub(crate) fn next(&self) -> Option<Now> {
        (!self.counted.is_empty()).then_some(self.read_at)
    }

    /// What was counted since the last time, per subscriber, if it is time to look.
    pub(crate) fn read(&mut self, now: Now, engine: &Engine) -> std::vec::Drain<'_, (SubscriberKey, u64, u64)> {
        if now >= self.sync_at {
            self.sync_at = now.after_ns(SYNC_NS);
            self.sync(engine);
        }
        if now >= self.read_at && !self.counted.is_empty() {
            self.read_at = now.after_ns(READ_NS);
            for (&who, c) in &mut self.counted {
                let bytes = self.steer.foreign_read(c.slot);
                let (down, up) = (bytes.down.wrapping_sub(c.last.down), bytes.up.wrapping_sub(c.last.up));
                c.last = bytes;
                if down | up != 0 {
                    self.news.push((who, down, up));
                }
            }
        }
        self.news.drain(..)
    }

    fn sync(&mut self, engine: &Engine) {
        for c in self.counted.values_mut() {
            c.seen = false;
        }
        for who in engine.subscribers().filter(|s| s.flows > 0).map(|s| s.key) {
            if let Some(c) = self.counted.get_mut(&who) {
                c.seen = true;
            } else if self.counted.len() < MOST {
                // A full map is no failure: this one is budgeted without knowing its other traffic.
                let Ok(slot) = self.steer.foreign_register(&who, false) else { continue };
                let last = self.steer.foreign_read(slot);
                self.counted.insert(who, Counted { slot, last, seen: true });
            }
        }
        let steer = &self.steer;
        self.counted.retain(|who, c| {
            if !c.seen {
                let _ = steer.foreign_unregister(who);
            }
            c.seen
        });
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        for who in self.counted.keys() {
            let _ = self.steer.foreign_unregister(who);
        }
    }
}
