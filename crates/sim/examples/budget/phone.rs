//! The receiving end of one flow: what arrived, when it acknowledges, and what time its timestamp clock shows.

use smartwire_sim::crossings::Ranges;

const MS: u64 = 1_000_000;
/// A single segment waits so long for a second one (Linux' delayed ACK at its least).
const DELAYED_ACK_NS: u64 = 40 * MS;

/// An acknowledgement on the wire.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ack {
    pub ack: u64,
    pub sack: [(u64, u64); 3],
    pub sacks: usize,
    pub dsack: Option<(u64, u64)>,
    pub tsval: Option<u32>,
}

/// A timestamp clock (RFC 7323): ticks per second, what it showed at time 0, and how wrong it goes.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// 0: timestamps were not negotiated.
    pub hz: u32,
    pub offset: u32,
    pub skew_ppm: i64,
}

impl Clock {
    pub fn read(&self, now: u64) -> Option<u32> {
        let skewed = now as i128 + now as i128 * i128::from(self.skew_ppm) / 1_000_000;
        let ticks = skewed * i128::from(self.hz) / 1_000_000_000;
        (self.hz > 0).then_some(self.offset.wrapping_add(ticks as u32))
    }
}

/// Receiver state.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    got: Ranges,
    rcv_nxt: u64,
    /// Left edges of the blocks to report, newest first.
    recent: Vec<u64>,
    /// Segments not acknowledged yet, and when they have to be at the latest.
    held: u32,
    pub due: Option<u64>,
    /// Bytes that arrived for the first time, and again.
    pub bytes: u64,
    pub again: u64,
}

impl Receiver {
    pub fn new(start: u64) -> Receiver {
        Receiver { rcv_nxt: start, ..Receiver::default() }
    }

    /// A segment arrives; the ACK that goes out for it now, if any. An empty one asks for an ACK.
    pub fn segment(&mut self, now: u64, start: u64, len: u64) -> Option<Ack> {
        if len == 0 {
            return Some(self.ack(None));
        }
        let dup = self.got.add(start, start + len);
        self.bytes += len - dup;
        self.again += dup;
        let in_order = start <= self.rcv_nxt && start + len > self.rcv_nxt;
        let had_holes = self.holes();
        if in_order {
            let spans = self.got.spans();
            let k = spans.partition_point(|s| s.0 <= self.rcv_nxt);
            self.rcv_nxt = if k > 0 { spans[k - 1].1.max(self.rcv_nxt) } else { self.rcv_nxt };
            self.recent.retain(|&l| l > self.rcv_nxt);
        } else if dup < len {
            self.recent.retain(|&l| l != start);
            self.recent.insert(0, start);
            self.recent.truncate(16);
        }
        if dup > 0 {
            return Some(self.ack(Some((start, start + len))));
        }
        if !in_order || had_holes {
            return Some(self.ack(None));
        }
        self.held += 1;
        if self.held >= 2 {
            return Some(self.ack(None));
        }
        self.due = Some(now + DELAYED_ACK_NS);
        None
    }

    /// The delayed ACK is due.
    pub fn timer(&mut self) -> Ack {
        self.ack(None)
    }

    fn holes(&self) -> bool {
        self.got.spans().last().is_some_and(|s| s.0 > self.rcv_nxt)
    }

    fn ack(&mut self, dsack: Option<(u64, u64)>) -> Ack {
        self.held = 0;
        self.due = None;
        let mut out = Ack { ack: self.rcv_nxt, dsack, ..Ack::default() };
        let spans = self.got.spans();
        for &left in &self.recent {
            let k = spans.partition_point(|s| s.0 <= left);
            if k == 0 || spans[k - 1].0 <= self.rcv_nxt {
                continue;
            }
            let block = spans[k - 1];
            if out.sacks < 3 && !out.sack[..out.sacks].contains(&block) {
                out.sack[out.sacks] = block;
                out.sacks += 1;
            }
        }
        out
    }
}
