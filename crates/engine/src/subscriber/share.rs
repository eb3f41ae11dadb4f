//! How a subscriber's link is shared with what passes beside the engine and fills the same queue.
//!
//! In one queue the part that is one's own is one's part of the link, so the budget is a multiple of what others have in
//! it: it grows and shrinks with them, and nobody starves. The multiple is what drop-tail queues give: who came first
//! keeps most of the link for long; all tend to a fair share.

use super::control::bytes_in;
use super::meter::mark;
use crate::api::Now;

/// Bytes in flight for each byte of others, 1/256. The rates of others count what enters the queue, what is dropped
/// there included: the fair share is a little above one half.
const FAIR: u64 = 300;
const CAME_FIRST: u64 = 640;
const CAME_LATER: u64 = 115;
/// Every so often it comes nearer to the fair share, by one part of so many, ns.
const TENDS_EVERY_NS: u64 = 1_000_000_000;
const TENDS_PART: u64 = 64;
/// Alone on a busy link for so long before others came, it came first, ns.
const FIRST_NS: u64 = 4_000_000_000;

/// Who came when, and what follows from it.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// 1/256 of theirs; 0 while it is not decided. And when it tended to the fair one last.
    part: u64,
    tended: Now,
    /// Since when the link has been ours, and since when others have been sending.
    alone_since: Now,
    others_since: Option<Now>,
}

impl Share {
    /// Nothing is known of others.
    pub fn new(now: Now) -> Share {
        Share { part: 0, tended: now, alone_since: now, others_since: None }
    }

    /// Nobody competes from now on.
    pub fn alone(&mut self, now: Now) {
        self.alone_since = now;
    }

    /// Others send at this rate, 0: as good as nothing; `ours`, if we have just begun. However little they get beside us,
    /// they are there from then on.
    pub fn told(&mut self, now: Now, theirs: u64, ours: Option<u64>) {
        mark(&mut self.others_since, now, theirs > 0);
        if let Some(ours) = ours.filter(|_| self.part == 0 && theirs > 0) {
            self.part = if theirs > 2 * ours { CAME_LATER } else { FAIR };
        }
    }

    /// They fill the queue from now on.
    pub fn begin(&mut self, now: Now) {
        self.tended = now;
        let came = self.others_since.unwrap_or(now);
        if came.since(self.alone_since) > FIRST_NS {
            self.part = CAME_FIRST;
        } else if self.part == 0 {
            self.part = FAIR;
        }
    }

    /// Bytes that may be in flight beside others who send `theirs` bytes a second, with a round trip of `rtt` ns.
    pub fn budget(&mut self, now: Now, theirs: u64, rtt: u64) -> u64 {
        if now.since(self.tended) > TENDS_EVERY_NS {
            self.tended = now;
            let by = self.part.abs_diff(FAIR) / TENDS_PART;
            self.part = if self.part > FAIR { self.part - by } else { self.part + by };
        }
        bytes_in(theirs, rtt) * self.part / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: u64 = 1_000_000_000;

    fn part(share: &mut Share, now: Now) -> u64 {
        share.budget(now, 256_000, SEC) / 1_000
    }

    #[test]
    fn who_came_first_keeps_most_and_tends_to_the_fair_share() {
        let mut share = Share::new(Now(0));
        share.told(Now(10 * SEC), 1_000_000, None);
        share.begin(Now(11 * SEC));
        assert_eq!(part(&mut share, Now(11 * SEC)), CAME_FIRST);
        for second in 12..400 {
            part(&mut share, Now(second * SEC + second));
        }
        assert!((FAIR..FAIR + TENDS_PART).contains(&part(&mut share, Now(400 * SEC))));
    }

    #[test]
    fn who_finds_others_there_takes_less_and_who_starts_with_them_the_fair_share() {
        for (ours, wanted) in [(100_000, CAME_LATER), (900_000, FAIR)] {
            let mut share = Share::new(Now(0));
            share.told(Now(SEC), 1_000_000, Some(ours));
            share.begin(Now(2 * SEC));
            assert_eq!(part(&mut share, Now(2 * SEC)), wanted);
        }
    }
}
