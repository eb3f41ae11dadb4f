//! Bytes of subscribers that pass on the copper wire: who is counted, and where.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use smartwire_engine::api::SubscriberKey;

use super::bpf;
use super::layout::{SubscriberWords, SHAPED};
use super::maps::Wire;
use super::{ForeignBytes, ForeignSlot, SteerError};

/// Which slots are whose.
#[derive(Debug)]
pub(super) struct Foreigners {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    free: Vec<u32>,
    slots: HashMap<SubscriberKey, (u32, bool)>,
    shaped: u32,
    /// Anybody may be.
    all: bool,
}

/// As `SW_ALL_SHAPED` of bpf/wire.h.
const ALL_SHAPED: u32 = u32::MAX;

impl Foreigners {
    /// Nobody yet: forgets whom an earlier process had registered.
    pub(super) fn new(wire: &Wire) -> Foreigners {
        while let Some(key) = bpf::map_first_key::<SubscriberWords>(&wire.subscribers) {
            if bpf::map_delete(&wire.subscribers, &key).is_err() {
                break;
            }
        }
        let table = Table { free: (0..wire.foreign().len() as u32).rev().collect(), slots: HashMap::new(), shaped: 0, all: false };
        let new = Foreigners { table: Mutex::new(table) };
        new.publish(wire, &new.lock());
        new
    }

    /// Registers a subscriber, or changes whether it is shaped.
    pub(super) fn register(&self, wire: &Wire, who: &SubscriberKey, shaped: bool) -> Result<ForeignSlot, SteerError> {
        let mut table = self.lock();
        let known = table.slots.get(who).map(|&(slot, _)| slot);
        let Some(slot) = known.or_else(|| table.free.last().copied()) else {
            return Err(SteerError::Refused(format!(
                "The other traffic of {} subscribers is counted already, which is all that this wire has room for.",
                table.slots.len()
            )));
        };
        if known.is_none() {
            wire.foreign()[slot as usize].down.store(0, Relaxed);
            wire.foreign()[slot as usize].up.store(0, Relaxed);
        }
        let value = slot | if shaped { SHAPED } else { 0 };
        bpf::map_update(&wire.subscribers, &words(who), &value)
            .map_err(|e| SteerError::kernel("register a subscriber with the copper wire", e))?;
        if known.is_none() {
            table.free.pop();
        }
        let was = table.slots.insert(*who, (slot, shaped)).is_some_and(|(_, shaped)| shaped);
        table.shaped = table.shaped + u32::from(shaped) - u32::from(was);
        self.publish(wire, &table);
        Ok(ForeignSlot(slot))
    }

    /// Stops counting; one who is not registered is fine.
    pub(super) fn unregister(&self, wire: &Wire, who: &SubscriberKey) -> Result<(), SteerError> {
        let mut table = self.lock();
        let Some((slot, shaped)) = table.slots.remove(who) else { return Ok(()) };
        table.shaped -= u32::from(shaped);
        let removed = bpf::map_delete(&wire.subscribers, &words(who));
        table.free.push(slot);
        self.publish(wire, &table);
        removed.map_err(|e| SteerError::kernel("take a subscriber from the copper wire", e))
    }

    /// All UDP comes to the engine, whose policies say who is shaped; or that of registered subscribers again.
    pub(super) fn shape_all(&self, wire: &Wire, all: bool) {
        let mut table = self.lock();
        table.all = all;
        self.publish(wire, &table);
    }

    /// Tells the programs whether it is worth looking.
    fn publish(&self, wire: &Wire, table: &Table) {
        wire.page().shaped.store(if table.all { ALL_SHAPED } else { table.shaped }, Relaxed);
        wire.page().subscribers.store(table.slots.len() as u32, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes in a slot.
pub(super) fn read(wire: &Wire, slot: ForeignSlot) -> ForeignBytes {
    wire.foreign().get(slot.0 as usize).map_or(ForeignBytes::default(), |f| ForeignBytes {
        down: f.down.load(Relaxed),
        up: f.up.load(Relaxed),
    })
}

fn words(who: &SubscriberKey) -> SubscriberWords {
    let bytes = who.addr.octets();
    let half = |i: usize| u64::from_ne_bytes(bytes[i..i + 8].try_into().unwrap_or_default());
    [half(0), half(8), who.scope]
}
