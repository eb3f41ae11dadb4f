//! The receiving half of a model endpoint: reassembly, SACK and DSACK, delayed ACKs, window, timestamps and PAWS, ECN
//! echo. Offsets are those of the peer's stream: 0 is its SYN, 1 its first byte.

use super::config::TcpConfig;

#[derive(Debug)]
pub(super) struct Receiver {
    pub nxt: u64,
    /// Offset of the peer's FIN, once seen.
    pub fin: Option<u64>,
    pub eof: bool,
    /// Out of order: (start, end), most recently changed first (RFC 2018 section 4).
    ooo: Vec<(u64, u64)>,
    dsack: Option<(u64, u64)>,
    told_right: u64,
    buffer: u64,
    autotune: bool,
    /// In order and not read by the application.
    unread: u64,
    pub reading: bool,
    shift: u8,
    mss: u64,
    ts_recent: u32,
    last_ack_sent: u64,
    pending: u32,
    ack_every: u32,
    quick: u32,
    delack_ns: u64,
    delack_at: Option<u64>,
    pub ack_now: bool,
    probe_reply_at: u64,
    pub ece: bool,
    shrink_after: Option<u64>,
    /// Payload segments dropped by PAWS.
    pub paws: u64,
    /// Payload bytes that came more than once.
    pub repeated: u64,
}

impl Receiver {
    pub(super) fn new(cfg: &TcpConfig, shift: u8) -> Receiver {
        Receiver {
            nxt: 1,
            fin: None,
            eof: false,
            ooo: Vec::new(),
            dsack: None,
            told_right: 1,
            buffer: cfg.rcv_buf,
            autotune: cfg.autotune,
            unread: 0,
            reading: true,
            shift,
            mss: u64::from(cfg.mss),
            ts_recent: 0,
            last_ack_sent: 1,
            pending: 0,
            ack_every: cfg.ack_every,
            quick: 16,
            delack_ns: cfg.delack_ns,
            delack_at: None,
            ack_now: false,
            probe_reply_at: 0,
            ece: false,
            shrink_after: cfg.shrink_after,
            paws: 0,
            repeated: 0,
        }
    }

    pub(super) fn start(&mut self, ts_recent: u32) {
        self.ts_recent = ts_recent;
    }

    /// The timestamp to echo.
    pub(super) fn echo(&self) -> u32 {
        self.ts_recent
    }

    pub(super) fn delack_at(&self) -> Option<u64> {
        self.delack_at
    }

    /// RFC 7323 section 5: false means drop and acknowledge.
    pub(super) fn paws_ok(&mut self, tsval: u32, has_payload: bool) -> bool {
        if (tsval.wrapping_sub(self.ts_recent) as i32) < 0 {
            self.paws += u64::from(has_payload);
            return false;
        }
        true
    }

    /// RFC 7323 section 4.3.
    pub(super) fn note_timestamp(&mut self, tsval: u32, start: u64) {
        if start <= self.last_ack_sent && tsval.wrapping_sub(self.ts_recent) as i32 >= 0 {
            self.ts_recent = tsval;
        }
    }

    /// RFC 9293 3.10.7.4, first check.
    pub(super) fn acceptable(&self, start: u64, end: u64) -> bool {
        let right = self.told_right.max(self.nxt);
        if start == end {
            return start >= self.nxt && (start < right || start == self.nxt);
        }
        end > self.nxt && start < right.max(self.nxt + 1)
    }

    /// Takes payload `start..end`, and the FIN behind it if there is one. Data beyond the window is cut off; while the
    /// window is closed nothing is taken.
    pub(super) fn take(&mut self, now: u64, start: u64, end: u64, fin: bool) {
        if !self.acceptable(start, end + u64::from(fin)) {
            return self.refuse(now, start, end + u64::from(fin));
        }
        let right = self.told_right.max(self.nxt);
        let cut = end.min(right);
        if fin && cut == end {
            self.fin = Some(end);
        }
        if cut > start {
            self.insert(start, cut);
        }
        let before = self.nxt;
        self.advance();
        if self.fin == Some(self.nxt) && !self.eof {
            self.eof = true;
            self.nxt += 1;
            self.ack_now = true;
        }
        let gap = !self.ooo.is_empty();
        if self.nxt == before || gap || cut < end {
            self.ack_now = true;
        }
        if end - start >= self.mss / 2 && self.nxt > before {
            self.pending += 1;
        }
        if self.quick > 0 {
            self.quick -= 1;
            self.ack_now = true;
        }
        if self.pending >= self.ack_every {
            self.ack_now = true;
        }
        if self.delack_at.is_none() {
            self.delack_at = Some(now + self.delack_ns);
        }
    }

    fn refuse(&mut self, now: u64, start: u64, end: u64) {
        if end > start {
            if end <= self.nxt {
                self.repeated += end - start;
                self.dsack = Some((start, end));
            }
            self.ack_now = true;
            return;
        }
        // As Linux: at most one answer per 500 ms to what carries nothing (tcp_invalid_ratelimit).
        if now >= self.probe_reply_at {
            self.probe_reply_at = now + 500_000_000;
            self.ack_now = true;
        }
    }

    fn insert(&mut self, start: u64, end: u64) {
        let (mut s, mut e) = (start.max(self.nxt), end);
        if start < self.nxt {
            self.dsack = Some((start, end.min(self.nxt)));
            self.repeated += end.min(self.nxt) - start;
        }
        if s >= e {
            return;
        }
        let mut again = 0;
        self.ooo.retain(|&(a, b)| {
            let touches = a <= e && s <= b;
            if touches {
                again += b.min(end).saturating_sub(a.max(start));
                (s, e) = (s.min(a), e.max(b));
            }
            !touches
        });
        if again > 0 {
            self.repeated += again;
            self.dsack = Some((start.max(self.nxt), end));
        }
        self.ooo.insert(0, (s, e));
    }

    fn advance(&mut self) {
        while let Some(i) = self.ooo.iter().position(|r| r.0 <= self.nxt) {
            let (_, end) = self.ooo.remove(i);
            if end > self.nxt {
                if !self.reading {
                    self.unread += end - self.nxt;
                }
                self.nxt = end;
            }
        }
    }

    /// Forgets everything out of order, as a kernel short of memory may.
    pub(super) fn renege(&mut self) {
        self.ooo.clear();
    }

    /// Up to `most` SACK blocks, a DSACK first. None are sent where there is nothing to say.
    pub(super) fn blocks(&mut self, most: usize) -> Vec<(u64, u64)> {
        let mut blocks: Vec<(u64, u64)> = self.dsack.take().into_iter().collect();
        blocks.extend(self.ooo.iter().copied().take(most.saturating_sub(blocks.len())));
        blocks.truncate(most);
        blocks
    }

    /// How large the window may be when everything is read.
    fn space(&self) -> u64 {
        const INITIAL: u64 = 65_535;
        if self.autotune {
            self.buffer.min(INITIAL + 2 * self.nxt)
        } else {
            self.buffer
        }
    }

    /// The window field to send, and notes what it promises.
    pub(super) fn window(&mut self) -> u16 {
        let mut buffer = self.space();
        if self.shrink_after.is_some_and(|after| self.nxt > after) {
            buffer /= 4;
        }
        let shrinks = buffer < self.space();
        let fresh = self.nxt + buffer.saturating_sub(self.unread);
        let told = self.told_right.saturating_sub(self.nxt);
        let unit = 1u64 << self.shift;
        let field = if fresh < self.told_right && !shrinks {
            // The edge must not go back (RFC 9293 3.8.6), so round up.
            told.div_ceil(unit)
        } else {
            (fresh - self.nxt) / unit
        };
        let field = field.min(u64::from(u16::MAX));
        self.told_right = self.nxt + (field << self.shift);
        field as u16
    }

    /// Announces so many sixteenths of a window field only.
    pub(super) fn narrow(&mut self, field: u16, sixteenths: u16) -> u16 {
        let field = field / 16 * sixteenths;
        self.told_right = self.nxt + (u64::from(field) << self.shift);
        field
    }

    /// ACKs on the way from the last one to the next, in so many steps: number, window field.
    pub(super) fn steps(&self, steps: u64) -> Vec<(u64, u16)> {
        let new = self.nxt - self.last_ack_sent;
        let field = |ack| ((self.told_right.saturating_sub(ack)) >> self.shift).min(u64::from(u16::MAX)) as u16;
        (1..steps.min(new)).map(|i| self.last_ack_sent + new * i / steps).map(|ack| (ack, field(ack))).collect()
    }

    /// The window of a SYN, which is never scaled.
    pub(super) fn syn_window(&mut self) -> u16 {
        let window = self.buffer.min(u64::from(u16::MAX));
        self.told_right = 1 + window;
        window as u16
    }

    /// An ACK goes out.
    pub(super) fn acked(&mut self) {
        self.pending = 0;
        self.delack_at = None;
        self.ack_now = false;
        self.last_ack_sent = self.nxt;
    }

    /// The application reads again (or no longer). True if the window opened enough to say so.
    pub(super) fn set_reading(&mut self, on: bool) -> bool {
        self.reading = on;
        if !on {
            return false;
        }
        self.unread = 0;
        let fresh = self.nxt + self.space();
        fresh >= self.told_right + 2 * self.mss || fresh >= self.told_right + self.space() / 2
    }
}
