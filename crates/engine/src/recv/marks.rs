//! When the bytes arrived that X was not told about yet, and with which timestamp.
//!
//! An ordinary receiver acknowledges at once, so RFC 7323's rule for TS.Recent (the segment at Last.ACK.sent) finds the
//! right echo by itself. Here acknowledgements can be withheld for a whole window: by the time that told_ack moves, the
//! segment at its new place has long arrived, and no later one will begin at or below it. Without a note of its
//! timestamp the echo would stand still and X's round trip would seem to grow for ever.

use crate::api::Now;
use crate::seq::Off;

const SIZE: usize = 16;

/// `[end of the mark before, end)` arrived by `at`, its oldest segment with timestamp `ts`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    pub end: Off,
    pub ts: u32,
    pub at: Now,
}

/// A short list of marks in order of offset. When it is full, neighbours are joined: the later arrival and the older
/// timestamp of the two make the round trip seem longer, never shorter.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Marks {
    count: usize,
    list: [Mark; SIZE],
}

impl Marks {
    pub fn clear(&mut self) {
        self.count = 0;
    }

    pub fn push(&mut self, mark: Mark) {
        if self.count == SIZE {
            for i in 0..SIZE / 2 {
                self.list[i] = Mark { ts: self.list[2 * i].ts, ..self.list[2 * i + 1] };
            }
            self.count = SIZE / 2;
        }
        self.list[self.count] = mark;
        self.count += 1;
    }

    pub fn first(&self) -> Option<Mark> {
        self.iter().next()
    }

    pub fn last_ts(&self) -> Option<u32> {
        self.iter().last().map(|m| m.ts)
    }

    pub fn iter(&self) -> impl Iterator<Item = Mark> + '_ {
        self.list[..self.count].iter().copied()
    }

    /// X was told of all below `told`.
    pub fn told(&mut self, told: Off) {
        if self.list[..self.count].last().is_none_or(|m| m.end <= told) {
            self.count = 0;
            return;
        }
        let gone = self.list[..self.count].iter().take_while(|m| m.end <= told).count();
        self.list.copy_within(gone..self.count, 0);
        self.count -= gone;
    }
}
