//! The record that stays of a receiver with nothing pending.

use super::types::{FrozenReceiver, RecvParams};
use super::Receiver;
use crate::api::Now;
use crate::seq::Maybe;

const FIN: u8 = 1;
const ECE: u8 = 2;
const NS: u64 = 1_000_000_000;

impl Receiver {
    /// The compact record of an idle receiver ([`Receiver::is_idle`]).
    pub fn freeze(&self) -> FrozenReceiver {
        debug_assert!(self.is_idle());
        FrozenReceiver {
            rcv_nxt: self.rcv_nxt,
            window: (self.told_right.saturating_sub(self.rcv_nxt)).min(u64::from(u32::MAX)) as u32,
            ts_recent: self.ts_recent,
            ts_recent_s: (self.ts_recent_at.0 / NS) as u32,
            ts_out: self.ts_out,
            flags: if self.fin().is_some() { FIN } else { 0 } | if self.ece { ECE } else { 0 },
            quick: self.quick,
        }
    }

    /// Becomes the receiver that [`Receiver::freeze`] left, at time `now`.
    pub fn thaw(&mut self, params: &RecvParams, frozen: &FrozenReceiver, now: Now) {
        let right = frozen.rcv_nxt + u64::from(frozen.window);
        self.begin(params, now, frozen.rcv_nxt, frozen.rcv_nxt, right, frozen.ts_recent);
        self.ts_recent_at = Now(u64::from(frozen.ts_recent_s) * NS);
        self.ts_out = frozen.ts_out;
        self.fin = Maybe::from((frozen.flags & FIN != 0).then(|| frozen.rcv_nxt - 1));
        self.ece = frozen.flags & ECE != 0;
        self.quick = frozen.quick;
    }
}
