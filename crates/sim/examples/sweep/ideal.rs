//! An ideal controller for comparison: it stands at the queue, knows no loss, no delayed ACK and no jitter, always has
//! something to send, and keeps in flight what was delivered in the last 200 ms times (least round trip + 50 ms).

use std::collections::VecDeque;

const RATE_MS: usize = 200;
const AHEAD_MS: usize = 50;
const PACKET: u64 = 1500;

/// What came of it.
pub struct Outcome {
    /// Share of the capacity.
    pub used: f64,
    /// 95th percentile of the time that a packet waits because of others, ms.
    pub p95_ms: f64,
}

/// Over a link that carries `capacity[i]` bytes in ms `i`, with a round trip of `rtt_ms`.
pub fn run(capacity: &[u64], rtt_ms: usize) -> Outcome {
    // Packets in the queue by the ms that they came in; bytes delivered per ms.
    let mut queue: VecDeque<usize> = VecDeque::new();
    let mut delivered = vec![0u64; capacity.len()];
    let (mut in_flight, mut credit, mut waits) = (0, 0, Vec::new());
    // In an empty queue a packet waits for the next chance to send one.
    let mut next_chance = vec![0; capacity.len() + 1];
    for i in (0..capacity.len()).rev() {
        next_chance[i] = if capacity[i] > 0 { 0 } else { next_chance[i + 1] + 1 };
    }
    for now in 0..capacity.len() {
        // Acknowledged: what was delivered a round trip ago.
        in_flight -= now.checked_sub(rtt_ms).map_or(0, |then| delivered[then]);
        let window = now.saturating_sub(rtt_ms + RATE_MS)..now.saturating_sub(rtt_ms);
        let rate = delivered[window].iter().sum::<u64>();
        let budget = (rate * (rtt_ms + AHEAD_MS) as u64 / RATE_MS as u64).max(10 * PACKET);
        while in_flight + PACKET <= budget {
            in_flight += PACKET;
            queue.push_back(now);
        }
        credit = if queue.is_empty() { 0 } else { credit + capacity[now] };
        while credit >= PACKET {
            let Some(came) = queue.pop_front() else { break };
            credit -= PACKET;
            delivered[now] += PACKET;
            waits.push((now - came).saturating_sub(next_chance[came]));
        }
    }
    waits.sort_unstable();
    let p95 = waits.get(waits.len().saturating_sub(1) * 95 / 100).copied().unwrap_or(0);
    let (used, all) = (delivered.iter().sum::<u64>(), capacity.iter().sum::<u64>());
    Outcome { used: used as f64 / all.max(1) as f64, p95_ms: p95 as f64 }
}
