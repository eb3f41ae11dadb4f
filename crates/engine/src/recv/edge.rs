//! The window shown to X (tcp.md 2.3): encoded with Y's shift, never retracted (I2), never crept beyond its limit.

use super::types::Onward;
use super::Receiver;
use crate::seq::Off;

impl Receiver {
    /// Chooses the acknowledgement, at most `target`, and the window field beside it, and moves told_right.
    pub(super) fn encode(&mut self, target: Off, onward: &Onward) -> (Off, u16) {
        let shift = self.params.shift;
        let unit = 1u64 << shift;
        let (wish, limit) = self.edges(target, onward);
        let room = wish.max(self.told_right).saturating_sub(target);
        // Rounded up where that keeps within the limit: the edge must not go back. Rounded down else.
        let up = target + room.div_ceil(unit) * unit;
        let down = target + room / unit * unit;
        let right = if up <= limit.max(self.told_right) { up } else { down };
        if right >= self.told_right {
            return self.show(target, right);
        }
        // The edge may not grow: acknowledge only so much that the distance to it can be expressed.
        let ack = self.told_right - (self.told_right - target).div_ceil(unit) * unit;
        if ack >= self.told_ack {
            return self.show(ack, self.told_right);
        }
        // Only an edge that Y's own packets drew can lie so: one step beyond it, once.
        let steps = (self.told_right - self.told_ack).div_ceil(unit);
        self.show(self.told_ack, self.told_ack + steps * unit)
    }

    fn show(&mut self, ack: Off, right: Off) -> (Off, u16) {
        let field = ((right - ack) >> self.params.shift).min(u64::from(u16::MAX));
        let right = ack + (field << self.params.shift);
        debug_assert!(right >= self.told_right, "the window edge went back");
        self.told_right = right;
        (ack, field as u16)
    }

    /// Where the edge should be, and how far rounding may carry it.
    fn edges(&self, ack: Off, onward: &Onward) -> (Off, Off) {
        if self.draining.is_some() {
            // What Y itself promises; X was told more before, perhaps, and that stays.
            return (onward.right, onward.right);
        }
        // Half of what is free, since a small segment costs a whole frame; never less than two segments (never-zero
        // mode), which also keeps silly windows away (RFC 9293 section 3.8.6.2.2).
        let floor = ack + 2 * u64::from(self.params.mss);
        let floor_up = ack + (floor - ack).next_multiple_of(1 << self.params.shift);
        let wish = self.rcv_nxt + u64::from(onward.room / 2);
        let limit = self.rcv_nxt + u64::from(onward.room);
        (wish.max(floor), limit.max(floor_up))
    }

    /// X waits, or soon will, and its window can at least double (Linux `__tcp_select_window` callers do the same).
    pub(super) fn window_update_due(&self, onward: &Onward) -> bool {
        if self.fin.is_some() {
            return false;
        }
        let (wish, _) = self.edges(self.told_ack, onward);
        let most = self.told_ack + (u64::from(u16::MAX) << self.params.shift);
        let growth = wish.min(most).saturating_sub(self.told_right);
        let left = self.told_right.saturating_sub(self.rcv_nxt);
        growth >= 2 * u64::from(self.params.mss) && growth >= left
    }
}
