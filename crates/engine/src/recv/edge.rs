//! The window shown to X (tcp.md 2.3): encoded with Y's shift, never retracted (I2), never crept beyond its limit.

use super::types::Onward;
use super::Receiver;
use crate::broken::{breaks, Broken};
use crate::seq::Off;

impl Receiver {
    /// Chooses the acknowledgement, at most `target`, the right edge, and the window field that says so.
    #[inline]
    pub(super) fn encode(&self, target: Off, onward: &Onward) -> (Off, Off, u16) {
        // A unit of the window field is a power of two.
        let below = (1u64 << self.params.shift) - 1;
        let (wish, limit) = self.edges(target, onward);
        let told_right = if breaks(Broken::EdgeRetracted) { target } else { self.told_right };
        let room = wish.max(told_right).saturating_sub(target);
        // Rounded up where that keeps within the limit: the edge must not go back. Rounded down else.
        let up = target + ((room + below) & !below);
        let down = target + (room & !below);
        let right = if up <= limit.max(told_right) { up } else { down };
        if right >= told_right {
            return self.field(target, right);
        }
        // The edge may not grow: acknowledge only so much that the distance to it can be expressed.
        let distance = (self.told_right - target + below) & !below;
        match self.told_right.checked_sub(distance).filter(|ack| *ack >= self.told_ack) {
            Some(ack) => self.field(ack, self.told_right),
            // Only an edge that Y's own packets drew can lie so: up to a unit beyond it, once.
            None => self.field(self.told_ack, self.told_ack + ((self.told_right - self.told_ack + below) & !below)),
        }
    }

    fn field(&self, ack: Off, right: Off) -> (Off, Off, u16) {
        let field = ((right - ack) >> self.params.shift).min(u64::from(u16::MAX));
        (ack, ack + (field << self.params.shift), field as u16)
    }

    /// Where the edge should be, and how far rounding may carry it.
    #[inline]
    fn edges(&self, ack: Off, onward: &Onward) -> (Off, Off) {
        let unit = 1u64 << self.params.shift;
        // With everything delivered the acknowledgement is worth more than the edge: X would resend a remainder that is
        // withheld, and what was promised needs no memory.
        let all = onward.una >= self.rcv_nxt && ack == self.rcv_nxt;
        let least = if all { self.told_right + unit } else { 0 };
        if self.is_draining() || onward.passive {
            // What Y itself promises; X was told more before, perhaps, and that stays.
            return (onward.right, onward.right.max(self.told_right).max(least));
        }
        // Half of what is free, since a small segment costs a whole frame; never less than two segments (never-zero
        // mode), which also keeps silly windows away (RFC 9293 section 3.8.6.2.2).
        let floor = 2 * u64::from(self.params.mss);
        // Where acknowledgements begin to slow down the window is shut but for that floor: what X sends beyond it would
        // only wait to be acknowledged, and X would take the wait for the round trip of its path.
        let calm = if onward.custody > 0 { onward.una + u64::from(onward.custody / 2) } else { Off::MAX };
        let wish = calm.min(self.rcv_nxt + u64::from(onward.room / 2));
        let limit = (self.rcv_nxt + u64::from(onward.room)).max(least);
        if self.told_right < ack + floor {
            (wish.max(ack + floor), limit.max(ack + floor.next_multiple_of(unit)))
        } else {
            (wish, limit)
        }
    }

    /// The edge could grow to `right`, X would have at least twice as much to send in (Linux asks the same), and it has
    /// used up what it had, or nearly.
    pub(super) fn window_update_due(&self, right: Off) -> bool {
        let mss = u64::from(self.params.mss);
        let left = self.told_right.saturating_sub(self.rcv_nxt);
        let growth = right.saturating_sub(self.told_right);
        let short = left <= (4 * mss).max((self.told_right - self.told_ack) / 2);
        self.rcv_nxt > 1 && self.fin().is_none() && short && growth >= 2 * mss && growth >= left
    }
}
