//! What a measurement says.

use super::Spent;

/// Kinds of packets whose cost is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 1,448 bytes from the core, IPv4.
    DataV4,
    /// The same, IPv6.
    DataV6,
    /// A pure acknowledgement from the access side, IPv4.
    AckV4,
    /// The same, IPv6.
    AckV6,
}

impl Class {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// Their names, in order.
    pub const NAMES: [&'static str; Class::COUNT] = ["data_ipv4", "data_ipv6", "ack_ipv4", "ack_ipv6"];
}

/// The figures. Times are averages in the unit of the meter (nanoseconds), per received packet.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Flows resident.
    pub flows: u32,
    /// Flows on which data was acknowledged by the engine after all were established.
    pub used: u32,
    /// Packets measured in mixed batches.
    pub packets: u64,
    /// Engine, all of it, in mixed batches.
    pub ns_per_packet: f64,
    /// Of these, [`smartwire_engine::Engine::on_time`]: timers, pacing, retransmission.
    pub ns_timers: f64,
    /// Writing the packets, playing the endpoints, checking what leaves; not in the figures above.
    pub ns_generator: f64,
    /// Engine per class, timers apart, in batches of one class: (sum, packets).
    pub(super) classes: [(u64, u64); Class::COUNT],
    /// Timers while measuring by class.
    pub ns_class_timers: f64,
    /// Engine per packet of a handshake.
    pub ns_handshake: f64,
    /// Growth of resident memory over the established IPv6 flows, per flow.
    pub bytes_per_flow: f64,
    /// Resident memory of this process now.
    pub resident_bytes: u64,
    /// Frames that left.
    pub frames_out: u64,
    /// Data segments that left towards clients.
    pub data_out: u64,
    /// Of these, lost on the radio.
    pub lost: u64,
    /// Data segments that left in a frame of the engine's own.
    pub payload_copies: u64,
    /// Data segments sent again, by the engine's count.
    pub retransmitted: u64,
    /// Probes, by the engine's count.
    pub probes: u64,
    /// Frames that left with a wrong checksum or that could not be parsed.
    pub damaged: u64,
    /// Resets that left.
    pub resets: u64,
    /// Bytes that servers saw acknowledged.
    pub acknowledged: u64,
    /// Of these, before the client had acknowledged them.
    pub early: u64,
    /// The most that a client acknowledged and its server had not been told of by then, bytes.
    pub most_late: u32,
    /// Of the headers of all frames that left, with their times: two engines that do the same have the same.
    pub digest: u64,
}

impl Report {
    /// Average of a class; 0 where there was none.
    pub fn ns_of(&self, class: usize) -> f64 {
        let (sum, packets) = self.classes[class];
        per(sum, packets)
    }

    /// FNV-1a, a word at a time, over the time and what may hold headers.
    pub(super) fn digest(&mut self, now: u64, port: u8, frame: &[u8]) {
        let mut add = |word: u64| self.digest = (self.digest ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        add(now ^ u64::from(port) << 56);
        for word in frame[..frame.len().min(112)].chunks_exact(8) {
            add(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
    }

    pub(super) fn mixed(&mut self, spent: Spent) {
        self.packets = spent.packets;
        self.ns_per_packet = per(spent.rx + spent.timers, spent.packets);
        self.ns_timers = per(spent.timers, spent.packets);
    }

    pub(super) fn class(&mut self, class: Class, packets: u64, spent: u64) {
        let (sum, count) = &mut self.classes[class as usize];
        *sum += spent;
        *count += packets;
    }

    pub(super) fn timers(&mut self, spent: Spent) {
        self.ns_class_timers = per(spent.timers, spent.packets);
    }

    pub(super) fn handshakes(&mut self, spent: Spent, flows: u32) {
        debug_assert_eq!(spent.packets, 3 * u64::from(flows));
        self.ns_handshake = per(spent.rx + spent.timers, spent.packets);
    }

    pub(super) fn generator(&mut self, spent: Spent) {
        self.ns_generator = per(spent.generator, spent.packets);
        self.resident_bytes = resident_bytes();
    }
}

fn per(sum: u64, count: u64) -> f64 {
    sum as f64 / count.max(1) as f64
}

/// Resident memory of this process; 0 where /proc does not say.
pub(super) fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * 4096
}
