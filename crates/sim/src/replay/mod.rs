//! A capture, run through the engine in virtual time: what it would have done.
//!
//! The ends in a capture can't answer, so this shows decisions (optimized or refused, and why), acknowledgements that
//! would have been sent early, and what is odd about the connections; not how much faster they would have become.

mod account;
mod sides;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use smartwire_engine::api::EventKind;
use smartwire_engine::{Config, Side};

use crate::codec;
use crate::world::{EngineSpec, Optimizer};
pub use account::FlowReport;
use account::{Account, Key};
pub(crate) use sides::assign;
pub use sides::Layout;

/// A captured frame.
#[derive(Clone, Debug)]
pub struct Packet<'a> {
    /// When, ns of any clock.
    pub at_ns: u64,
    /// Number of the interface within the file.
    pub interface: u32,
    /// 1 inbound, 2 outbound, 0 unknown.
    pub direction: u8,
    /// From the Ethernet destination on.
    pub frame: &'a [u8],
    /// Length on the wire, above the frame's if the capture cut it.
    pub length: usize,
}

/// What the engine would have done.
#[derive(Clone, Debug, Serialize)]
pub struct ReplayReport {
    /// How the file's frames were told apart.
    pub layout: Layout,
    /// Frames in the file, and those that came in at the wire.
    pub packets: usize,
    /// Frames that came in at the wire; the others left it, or are copies.
    pub packets_in: usize,
    /// Frames that the capture cut short, which no engine can judge.
    pub packets_cut: usize,
    /// From the first frame to the last.
    pub seconds: f64,
    /// Connections that would have been optimized.
    pub optimized: usize,
    /// Reasons against the others.
    pub refused: BTreeMap<String, usize>,
    /// Payload of optimized connections, of all payload.
    pub custody_share: f64,
    /// Segments that the engine would have sent again, probes, and acknowledgements of its own.
    pub retransmitted_packets: u64,
    /// Probes of the engine.
    pub probes: u64,
    /// Acknowledgements of the engine's own.
    pub acks_made: u64,
    /// Per connection, in the order of their first frame.
    pub flows: Vec<FlowReport>,
}

/// Runs a capture through an engine.
///
/// # Errors
/// One sentence if there is nothing to run.
pub fn replay(packets: &[Packet<'_>]) -> Result<ReplayReport, String> {
    if packets.is_empty() {
        return Err("the capture holds no packets".into());
    }
    let (layout, sided) = sides::assign(packets);
    let origin = sided.iter().map(|s| s.at_ns).min().unwrap_or(0);
    let mut run = Run::new()?;
    let mut cut = 0;
    for s in &sided {
        if s.length > s.frame.len() {
            cut += 1;
            continue;
        }
        run.frame(s.at_ns - origin, s.side, s.frame);
    }
    let all: Vec<u64> = packets.iter().map(|p| p.at_ns).collect();
    let length = all.iter().max().unwrap_or(&0) - all.iter().min().unwrap_or(&0);
    Ok(run.report(layout, packets.len(), sided.len(), cut, length))
}

struct Run {
    wire: Optimizer,
    accounts: HashMap<Key, Account>,
    order: Vec<Key>,
}

impl Run {
    fn new() -> Result<Run, String> {
        let config = Config { max_flows: 1 << 16, max_active: 1 << 14, ..EngineSpec::default().config };
        let spec = EngineSpec { config, book: 1 << 16, ..EngineSpec::default() };
        let mut wire = Optimizer::new(&spec, 1)?;
        // What came in of a capture need not add up: losses of the capture itself are no fault of the engine's.
        wire.trust();
        Ok(Run { wire, accounts: HashMap::new(), order: Vec::new() })
    }

    fn frame(&mut self, now: u64, side: Side, frame: &[u8]) {
        while let Some(at) = self.wire.engine.next_deadline().filter(|at| at.0 <= now) {
            let out = self.wire.time(at.0);
            self.settle(out.unwrap_or_default());
        }
        if let Some(t) = codec::tcp(frame, false) {
            let key = account::key(side, &t);
            let account = self.accounts.entry(key).or_insert_with(|| {
                self.order.push(key);
                Account::default()
            });
            account.came_in(now, side, &t);
        }
        let out = self.wire.frames(now, side, &[frame.to_vec()]);
        self.settle(out.unwrap_or_default());
    }

    fn settle(&mut self, out: Vec<(Side, Vec<u8>)>) {
        for event in std::mem::take(&mut self.wire.events) {
            let k = &event.key;
            let key = (k.access_addr, k.access_port, k.core_addr, k.core_port);
            let Some(account) = self.accounts.get_mut(&key) else { continue };
            match event.kind {
                EventKind::Refused(reason) => account.refused = Some(reason),
                EventKind::Optimizing => account.optimized = true,
                EventKind::HandedBack(reason) | EventKind::Reset(reason) => account.stopped = Some(reason),
                EventKind::Draining(_) | EventKind::Found(_) | EventKind::Closed => {}
            }
        }
        for (side, frame) in out {
            let Some(t) = codec::tcp(&frame, false) else { continue };
            if let Some(account) = self.accounts.get_mut(&account::key(side.other(), &t)) {
                account.went_out(side, &t);
            }
        }
    }

    fn report(self, layout: Layout, packets: usize, packets_in: usize, packets_cut: usize, length: u64) -> ReplayReport {
        let stats = self.wire.engine.stats();
        let flows: Vec<FlowReport> = self.order.iter().map(|key| self.accounts[key].report(key)).collect();
        let mut refused = BTreeMap::new();
        for account in self.accounts.values() {
            if let Some(reason) = account.refused {
                *refused.entry(reason.name()).or_insert(0) += 1;
            }
        }
        let share = self.wire.share();
        let total = share.under_custody + share.beside;
        ReplayReport {
            layout,
            packets,
            packets_in,
            packets_cut,
            seconds: length as f64 / 1e9,
            optimized: self.accounts.values().filter(|a| a.optimized).count(),
            refused,
            custody_share: if total == 0 { 0.0 } else { share.under_custody as f64 / total as f64 },
            retransmitted_packets: stats.retransmitted,
            probes: stats.probes,
            acks_made: stats.acks_made,
            flows,
        }
    }
}
