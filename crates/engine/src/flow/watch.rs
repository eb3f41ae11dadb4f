//! What is wrong with the neighbours of a connection, for the operator: each is counted and named once per connection.

use super::record::Record;
use super::{Cx, Flow};
use crate::api::{EventKind, Io, Now};
use crate::reason::Finding;

/// An initial window of so many segments or fewer is named (RFC 6928 asks for ten).
const SMALL_WINDOW: u8 = 2;
/// Full segments that the flight after it must bring, so that the application had more to send all along.
const NEXT_FLIGHT: u8 = 3;
/// So many old segments in a row are no repair any more: one segment goes again per timeout (RFC 6298 section 5.4).
const REPEATS: u8 = 10;
/// On a shorter round trip our own delays blur one flight into the next, ns.
const LEAST_RTT_NS: u64 = 2_000_000;

/// What was noticed of a source so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    /// When its first data came; `None` before, and once its initial window is known.
    began: Option<Now>,
    /// Full segments of its first flight, and of the next one.
    flights: [u8; 2],
    /// Old segments in a row.
    old: u8,
    /// Findings named, a bit each.
    named: u8,
}

/// Counts and names a finding about a flow.
pub(crate) fn name<I: Io>(cx: &mut Cx<'_, I>, rec: &Record, what: Finding) {
    cx.sh.stats.found[what as usize] += 1;
    cx.event(rec, EventKind::Found(what));
}

impl Flow<'_> {
    fn found<I: Io>(&mut self, cx: &mut Cx<'_, I>, x: usize, what: Finding) {
        let bit = 1 << what as u8;
        if self.act.watch[x].named & bit == 0 {
            self.act.watch[x].named |= bit;
            name(cx, self.rec, what);
        }
    }

    /// New data of side `x` came: `len` bytes from offset `at`.
    #[inline]
    pub(crate) fn watch_data<I: Io>(&mut self, cx: &mut Cx<'_, I>, x: usize, at: u64, len: u32) {
        let watch = &mut self.act.watch[x];
        watch.old = 0;
        if at == 1 {
            watch.began = Some(cx.now);
        }
        if watch.began.is_some() {
            self.watch_start(cx, x, len);
        }
    }

    /// An initial window is the full segments that come before the first acknowledgement can have had an effect.
    fn watch_start<I: Io>(&mut self, cx: &mut Cx<'_, I>, x: usize, len: u32) {
        // The round trip to a side is what the sender towards it measures.
        let rtt = self.act.tx[1 - x].srtt();
        let full = len >= u32::from(self.rec.mss[1 - x]) * 9 / 10;
        let watch = &mut self.act.watch[x];
        let Some(began) = watch.began else { return };
        let since = cx.now.since(began);
        let next = since > rtt / 4 * 3;
        watch.flights[usize::from(next)] = watch.flights[usize::from(next)].saturating_add(1);
        let enough = watch.flights[0] > SMALL_WINDOW || since > rtt / 4 * 7;
        if !full || enough || rtt < LEAST_RTT_NS {
            watch.began = None;
        } else if watch.flights[1] >= NEXT_FLIGHT {
            watch.began = None;
            self.found(cx, x, Finding::SmallInitialWindow);
        }
    }

    /// Side `x` sent again what it had been told long ago had arrived.
    pub(crate) fn watch_old<I: Io>(&mut self, cx: &mut Cx<'_, I>, x: usize) {
        let watch = &mut self.act.watch[x];
        watch.old = watch.old.saturating_add(1);
        if watch.old == REPEATS {
            self.found(cx, x, Finding::RepeatsInBulk);
        }
    }

    /// Full segments of stream `s` do not pass and were cut. Where those of the other stream are kept shorter, the limit
    /// is on the wrong one.
    pub(crate) fn watch_cut<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: usize) {
        let reversed = self.rec.mss[s] < self.rec.mss[1 - s];
        self.found(cx, s, if reversed { Finding::MssReversed } else { Finding::SegmentsTooLarge });
    }
}
