//! What the thread that owns the ports does beside forwarding: the stats page, the audit of the frames, the state of
//! the interfaces, the resets of an earlier engine's connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use smartwire_engine::{Now, Side, Stats};
use smartwire_io::driver::Driver;
use smartwire_io::link::Net;
use smartwire_io::port::PortStats;
use smartwire_io::steer::Steer;
use smartwire_io::IoError;

use crate::page::Page;
use crate::seat::Published;
use crate::survivors::Survivors;

/// How often the page is rewritten.
const PAGE_NS: u64 = 100_000_000;
/// How often the frames are counted.
const AUDIT_NS: u64 = 1_000_000_000;

/// What the page says beside engines and ports.
pub(crate) const EXTRA: [&str; 23] = [
    "frames_total",
    "frames_free",
    "frames_filled",
    "frames_held",
    "frames_sending",
    "frames_away",
    "frames_kept",
    "frames_keepable",
    "ledger_faults",
    "bad_sends",
    "queue_dropped",
    "copper_frames",
    "copper_bytes",
    "copper_down_bytes",
    "copper_up_bytes",
    "copper_resets",
    "claimed_frames",
    "oversize_frames",
    "no_socket_frames",
    "opened",
    "survivors_reset",
    "guardian_reset",
    "stalls",
];

/// The chores of one wire.
pub(crate) struct House {
    page: Page,
    steer: Arc<Steer>,
    engines: Vec<Arc<Published>>,
    names: Vec<String>,
    survivors: Survivors,
    news: Arc<Mutex<Vec<String>>>,
    net: Net,
    /// Frames that found no room in a queue between threads.
    dropped: Arc<AtomicU64>,
    /// Times that the machine did not run the heartbeat when it was due.
    stalls: Arc<AtomicU64>,
    up: Vec<bool>,
    page_at: Now,
    audit_at: Now,
}

impl House {
    pub(crate) fn new(
        page: Page,
        steer: Arc<Steer>,
        engines: Vec<Arc<Published>>,
        names: Vec<String>,
        news: Arc<Mutex<Vec<String>>>,
        dropped: Arc<AtomicU64>,
        stalls: Arc<AtomicU64>,
    ) -> Result<House, IoError> {
        let survivors = Survivors::find(steer.custody());
        let (net, up) = (Net::here()?, vec![true; names.len()]);
        let (page_at, audit_at) = (Now(0), Now(0));
        Ok(House { page, steer, engines, names, survivors, news, net, dropped, stalls, up, page_at, audit_at })
    }

    /// When there is something to do next.
    pub(crate) fn next(&self) -> Now {
        self.page_at
    }

    /// Does what is due.
    ///
    /// # Errors
    /// The frames do not add up, or an interface is gone.
    pub(crate) fn keep(&mut self, now: Now, driver: &mut Driver) -> Result<(), IoError> {
        if cfg!(debug_assertions) || now >= self.audit_at {
            driver.frames.audit()?;
            self.audit_at = now.after_ns(AUDIT_NS);
        }
        if now < self.page_at {
            return Ok(());
        }
        self.page_at = now.after_ns(PAGE_NS);
        self.survivors.reset(now, driver);
        self.look_at_ports()?;
        self.write(now, driver);
        Ok(())
    }

    /// No engine has anything to optimize.
    pub(crate) fn nothing_to_optimize(&self) -> bool {
        self.engines.iter().all(|e| e.nothing_to_optimize())
    }

    /// Says that the wire was open for `ns` while it was claimed.
    pub(crate) fn opened(&self, ns: u64, why: &str) {
        self.tell(format!("the copper wire was open for {} ms: {why}", ns.div_ceil(1_000_000)));
    }

    fn tell(&self, text: String) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if news.len() < 100 {
            news.push(text);
        }
    }

    /// Rewrites the page.
    pub(crate) fn write(&mut self, now: Now, driver: &mut Driver) {
        // The page is as old as the oldest of what stands in it: a reader that waits for a later one has it all. So the
        // times are read before what they are of.
        let as_of = self.engines.iter().map(|e| e.at()).filter(|&at| at > 0).min().unwrap_or(now.0);
        let engines: Vec<Stats> = self.engines.iter().map(|e| e.stats()).collect();
        let ports: Vec<(PortStats, bool)> =
            driver.out.ports.iter_mut().map(|p| p.stats()).zip(self.up.iter().copied()).collect();
        let (c, s) = (driver.frames.census(), self.steer.counters());
        let kept: Vec<(u32, u32)> = self.engines.iter().map(|e| e.kept()).collect();
        let total = c.free + c.filled + c.held + c.sending + c.away;
        let extra = [
            total.into(),
            c.free.into(),
            c.filled.into(),
            c.held.into(),
            c.sending.into(),
            c.away.into(),
            kept.iter().map(|k| u64::from(k.0)).sum(),
            kept.iter().map(|k| u64::from(k.1)).sum(),
            driver.frames.faults(),
            driver.bad_sends(),
            self.dropped.load(Ordering::Relaxed),
            s.copper_frames.iter().sum(),
            s.copper_bytes.iter().sum(),
            s.copper_bytes[Side::Core as usize],
            s.copper_bytes[Side::Access as usize],
            s.resets,
            s.claimed_frames,
            s.oversize_frames,
            s.no_socket_frames,
            self.steer.open_count(),
            self.survivors.sent(),
            self.steer.guarded(),
            self.stalls.load(Ordering::Relaxed),
        ];
        self.page.write(as_of, &engines, &ports, &extra);
    }

    /// Notes which interfaces went down or came back; frames for one that is down wait and then are dropped, as on any
    /// wire that is cut.
    fn look_at_ports(&mut self) -> Result<(), IoError> {
        for i in 0..self.names.len() {
            let name = &self.names[i];
            let Ok(up) = self.net.is_up(name) else {
                return Err(IoError::new(format!("The interface {name} is gone; the wire cannot go on without it.")));
            };
            if up != self.up[i] {
                let text = if up { "is up again; packets flow" } else { "is down; the wire waits for it" };
                self.tell(format!("{name} {text}"));
                self.up[i] = up;
            }
        }
        Ok(())
    }
}
