//! The sending end of a flow: the engine's own sender, and what stands around it.

use smartwire_engine::send::{Seg, SegPool, Sender, SenderParams};
use smartwire_engine::subscriber::OneWay;
use smartwire_engine::FrameId;

use crate::bbr::Bbr;
use crate::case::{FlowSpec, Who, MS, MSS};
use crate::phone::Receiver;

/// Receive buffer of every endpoint (the lab's setting).
pub const WINDOW: u64 = 16 << 20;

/// Linux' CUBIC leaves slow start when the round trip grows (HyStart, delay increase); from there it grows as CUBIC does
/// after a cut. The engine's sender has no such thing, so it is put around it, until the first loss.
#[derive(Clone, Copy, Debug, Default)]
pub struct HyStart {
    over: u32,
    left: Option<(u64, u32)>,
}

impl HyStart {
    pub fn on_ack(&mut self, now: u64, s: &Sender, rtt: Option<u64>) {
        let Some(rtt) = rtt else { return };
        let min = s.min_rtt();
        let long = rtt > min + (min / 8).clamp(4 * MS, 16 * MS);
        self.over = if long { self.over + 1 } else { 0 };
        if self.over >= 8 && self.left.is_none() && s.in_flight() > 16 * MSS {
            self.left = Some((now, s.in_flight()));
        }
    }

    pub fn allowance(&self, now: u64, s: &Sender) -> u32 {
        match self.left {
            Some((at, window)) if s.ssthresh() == u32::MAX => {
                let t = (now - at) as f64 / 1e9;
                let window = f64::from(window) + 0.4 * t * t * t * f64::from(MSS);
                (window as u32).saturating_sub(s.in_flight())
            }
            _ => u32::MAX,
        }
    }
}

/// A flow of the loop.
pub struct Flow {
    pub spec: FlowSpec,
    pub sender: Sender,
    pub bbr: Option<Bbr>,
    pub hystart: HyStart,
    pub oneway: OneWay,
    pub rx: Receiver,
    pub running: bool,
    pub queued: u64,
    pub wake: Option<u64>,
    pub done: Option<u64>,
    pub bins: Vec<u64>,
    pub sent_bytes: u64,
}

impl Flow {
    pub fn new(spec: FlowSpec) -> Flow {
        let params = SenderParams { mss: MSS as u16, sack: true, ts: true, ecn: false };
        let mut sender = Sender::new(&params, 1, 1 + WINDOW);
        let bbr = matches!(spec.who, Who::Bbr { .. }).then(Bbr::new);
        if bbr.is_some() {
            sender.raise_cwnd_to(1 << 28);
        }
        Flow {
            spec,
            sender,
            bbr,
            hystart: HyStart::default(),
            oneway: OneWay::default(),
            rx: Receiver::new(1),
            running: false,
            queued: 0,
            wake: None,
            done: None,
            bins: Vec::new(),
            sent_bytes: 0,
        }
    }

    /// The application has always something to send, up to its size.
    pub fn fill(&mut self, pool: &mut SegPool) {
        while self.sender.backlog() < 64 * MSS && self.queued < self.spec.size {
            let len = (self.spec.size - self.queued).min(u64::from(MSS)) as u16;
            let seg = Seg {
                start: self.sender.end(),
                frame: FrameId(0),
                off: 0,
                frame_len: len + 66,
                payload_off: 66,
                len,
                held: 2048,
                l4: 34,
                fin: false,
                whole: true,
            };
            if self.sender.enqueue(pool, &seg).is_err() {
                return;
            }
            self.queued += u64::from(len);
        }
    }
}
