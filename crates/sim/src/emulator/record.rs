//! The emulator's log: 16 bytes of header, then 56 bytes per packet, little-endian.
//!
//! Header: `SWLOG` 0 0 1 and the record's length as a 64-bit number. Record (Python `struct` format `<QQIIIIIIQBBBBI`):
//!
//! | field | type | meaning |
//! |---|---|---|
//! | enqueued_ns | u64 | when it came in, CLOCK_MONOTONIC |
//! | left_ns | u64 | when it left the queue or was dropped |
//! | empty_wait_us | u32 | the wait that it would have had in an empty queue |
//! | bytes | u32 | IP bytes |
//! | subscriber | u32 | index, in order of appearance since the last restart |
//! | seq | u32 | TCP sequence number, 0 for other protocols |
//! | payload | u32 | TCP payload bytes |
//! | again | u32 | of these, bytes that had crossed this link before |
//! | flow | u64 | hash of addresses, ports and protocol, the same for both directions |
//! | direction | u8 | 0 down, 1 up |
//! | fate | u8 | index into [`Fate::ALL`](crate::link::Fate::ALL): 0 crossed, 1 queue full, 2 policed, 3 too big, 4 lost, 5 lost in a burst, 6 lost first |
//! | tcp | u8 | 1 for TCP |
//! | syn | u8 | 1 if it carried SYN |
//! | zero | u32 | 0 |

use crate::link::Sample;

/// Length of one record, bytes.
pub const RECORD_BYTES: usize = 56;

/// One packet's line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The passage; times are relative to the links' start.
    pub sample: Sample,
    /// When the links started, ns of the driving clock.
    pub origin_ns: u64,
    /// Subscriber index.
    pub subscriber: u32,
    /// 0 down, 1 up.
    pub direction: u8,
    /// Payload bytes that had crossed before.
    pub again: u32,
}

impl Record {
    pub(super) fn new(sample: &Sample, origin_ns: u64, subscriber: u32, direction: u8, again: u32) -> Record {
        Record { sample: *sample, origin_ns, subscriber, direction, again }
    }

    /// The log's header.
    pub fn header() -> [u8; 16] {
        let mut out = *b"SWLOG\0\0\x01\0\0\0\0\0\0\0\0";
        out[8..].copy_from_slice(&(RECORD_BYTES as u64).to_le_bytes());
        out
    }

    /// The record as it stands in the log.
    pub fn to_bytes(&self) -> [u8; RECORD_BYTES] {
        let s = &self.sample;
        let mut out = [0; RECORD_BYTES];
        out[..8].copy_from_slice(&(self.origin_ns + s.enqueued_ns).to_le_bytes());
        out[8..16].copy_from_slice(&(self.origin_ns + s.left_ns).to_le_bytes());
        let words = [
            u32::try_from(s.empty_wait_ns / 1000).unwrap_or(u32::MAX),
            s.bytes,
            self.subscriber,
            s.class.tag as u32,
            s.class.payload,
            self.again,
        ];
        for (field, word) in out[16..40].chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_le_bytes());
        }
        out[40..48].copy_from_slice(&s.class.flow.to_le_bytes());
        out[48] = self.direction;
        out[49] = s.fate as u8;
        out[50] = (s.class.tag >> 33 & 1) as u8;
        out[51] = (s.class.tag >> 32 & 1) as u8;
        out
    }
}
