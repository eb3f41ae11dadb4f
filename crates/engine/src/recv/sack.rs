//! The SACK blocks to report, newest first (RFC 2018 section 4).

use crate::seq::Off;

/// Up to four runs of what is held out of order. A run that fell off the end may be missing a while: SACK is advice.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Blocks {
    count: usize,
    list: [(Off, Off); 4],
}

impl Blocks {
    pub fn clear(&mut self) {
        self.count = 0;
    }

    pub fn iter(&self) -> impl Iterator<Item = (Off, Off)> + Clone + '_ {
        self.list[..self.count].iter().copied()
    }

    /// `[start, end)` was stored: the run that it belongs to is the newest.
    pub fn add(&mut self, start: Off, end: Off) {
        let mut run = (start, end);
        // Joining one block may bring the run in touch with another.
        while let Some(i) = self.position(|b| b.0 <= run.1 && b.1 >= run.0) {
            run = (run.0.min(self.list[i].0), run.1.max(self.list[i].1));
            self.remove(i);
        }
        let keep = self.count.min(3);
        self.list.copy_within(0..keep, 1);
        self.list[0] = run;
        self.count = keep + 1;
    }

    /// `[start, end)` came again: its run is to be reported beside the DSACK (RFC 2883 section 4).
    pub fn touch(&mut self, start: Off, end: Off) {
        if let Some(i) = self.position(|b| b.0 <= start && b.1 >= end) {
            self.list[..=i].rotate_right(1);
        }
    }

    /// All from `from` on was dropped.
    pub fn cut(&mut self, from: Off) {
        for i in (0..self.count).rev() {
            self.list[i].1 = self.list[i].1.min(from);
            if self.list[i].0 >= self.list[i].1 {
                self.remove(i);
            }
        }
    }

    /// All below `rcv_nxt` is in order.
    pub fn passed(&mut self, rcv_nxt: Off) {
        for i in (0..self.count).rev() {
            if self.list[i].0 < rcv_nxt {
                self.list[i].0 = rcv_nxt;
                if self.list[i].1 <= rcv_nxt {
                    self.remove(i);
                }
            }
        }
    }

    fn position(&self, which: impl Fn(&(Off, Off)) -> bool) -> Option<usize> {
        self.list[..self.count].iter().position(which)
    }

    fn remove(&mut self, i: usize) {
        self.list.copy_within(i + 1..self.count, i);
        self.count -= 1;
    }
}
