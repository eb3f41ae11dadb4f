//! The event ring: the latest events in a file that whoever looks maps.
//!
//! The format stands in python/smartwire/wire/stats.py.

use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::atomic::{fence, Ordering};

use smartwire_engine::api::EventKind;
use smartwire_engine::Event;
use smartwire_io::shared::SharedWords;
use smartwire_io::IoError;

const MAGIC: &[u8; 8] = b"SWEVENT1";
const HEADER: usize = 32;
const SLOT_WORDS: usize = 8;
const SLOTS: usize = 8192;
const WRITTEN: usize = 3;

/// One wire's ring. One writer; any number of readers.
pub(crate) struct EventRing {
    memory: SharedWords,
    written: u64,
}

impl EventRing {
    /// Makes the file, empty.
    pub(crate) fn create(path: &Path) -> Result<EventRing, IoError> {
        let mut content = vec![0u8; HEADER + SLOTS * SLOT_WORDS * 8];
        content[..8].copy_from_slice(MAGIC);
        for (i, number) in [HEADER, SLOT_WORDS * 8, SLOTS].into_iter().enumerate() {
            content[8 + 4 * i..12 + 4 * i].copy_from_slice(&(number as u32).to_le_bytes());
        }
        Ok(EventRing { memory: SharedWords::create(path, &content)?, written: 0 })
    }

    /// Appends one, over the oldest.
    pub(crate) fn push(&mut self, event: &Event) {
        let (kind, reason) = code(event.kind);
        let key = &event.key;
        let last = u64::from(key.access_port)
            | u64::from(key.core_port) << 16
            | u64::from(kind) << 32
            | u64::from(reason) << 40;
        let [a0, a1] = halves(key.access_addr);
        let [c0, c1] = halves(key.core_addr);
        let words = self.memory.words();
        let slot = HEADER / 8 + (self.written % SLOTS as u64) as usize * SLOT_WORDS;
        words[slot].store(0, Ordering::Relaxed);
        // The slot is marked unfinished before anything in it changes.
        fence(Ordering::Release);
        for (i, value) in [event.now.0, a0, a1, c0, c1, last, key.scope].into_iter().enumerate() {
            words[slot + 1 + i].store(value.to_le(), Ordering::Relaxed);
        }
        self.written += 1;
        // Release: what the numbers promise is there.
        words[slot].store(self.written.to_le(), Ordering::Release);
        words[WRITTEN].store(self.written.to_le(), Ordering::Release);
    }
}

/// An address as the two little-endian words that hold its bytes.
fn halves(addr: Ipv6Addr) -> [u64; 2] {
    let o = addr.octets();
    [0, 8].map(|i| u64::from_le_bytes([o[i], o[i + 1], o[i + 2], o[i + 3], o[i + 4], o[i + 5], o[i + 6], o[i + 7]]))
}

fn code(kind: EventKind) -> (u8, u8) {
    match kind {
        EventKind::Refused(r) => (0, r as u8),
        EventKind::Optimizing => (1, 0),
        EventKind::Draining(r) => (2, r as u8),
        EventKind::HandedBack(r) => (3, r as u8),
        EventKind::Reset(r) => (4, r as u8),
        EventKind::Closed => (5, 0),
        EventKind::Found(f) => (6, f as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smartwire_engine::{FlowKey, Now, RefuseReason};

    #[test]
    fn an_event_stands_in_the_slot_of_its_number_as_the_format_says() {
        let path = std::env::temp_dir().join(format!("sw-events-{}", std::process::id()));
        let mut ring = EventRing::create(&path).unwrap();
        let key = FlowKey {
            access_addr: std::net::Ipv4Addr::new(10, 0, 0, 7).to_ipv6_mapped(),
            core_addr: "2001:db8::1".parse().unwrap(),
            access_port: 40000,
            core_port: 443,
            scope: 9,
        };
        ring.push(&Event { now: Now(77), key, kind: EventKind::Closed });
        ring.push(&Event { now: Now(78), key, kind: EventKind::Refused(RefuseReason::Mptcp) });
        let file = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(&file[24..32], &2u64.to_le_bytes());
        let slot = &file[HEADER + 64..HEADER + 128];
        assert_eq!(slot[..16], [2u64.to_le_bytes(), 78u64.to_le_bytes()].concat());
        assert_eq!(slot[16..32], key.access_addr.octets());
        assert_eq!(slot[32..48], key.core_addr.octets());
        assert_eq!(slot[48..52], [40000u16.to_le_bytes(), 443u16.to_le_bytes()].concat());
        assert_eq!(slot[52..56], [0, RefuseReason::Mptcp as u8, 0, 0]);
        assert_eq!(slot[56..64], 9u64.to_le_bytes());
    }
}
