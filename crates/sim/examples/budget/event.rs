//! What happens in the loop, and what travels.

use smartwire_sim::link::{Class, Packet};

use crate::case::HEADERS;
use crate::phone::Ack;

#[derive(Clone, Debug)]
pub enum Kind {
    Data { start: u64, len: u32 },
    Ack(Ack),
    Echo(u64),
    Udp,
}

#[derive(Clone, Debug)]
pub struct Pkt {
    pub kind: Kind,
    pub flow: usize,
}

impl Packet for Pkt {
    fn flip_bit(&mut self, _random: u64) {}
}

#[derive(Clone, Debug)]
pub enum Act {
    /// Into the down link at the wire.
    Down(Pkt),
    /// Into the up link at the phone.
    Up(Pkt),
    /// At the server or wire, whichever end the sender is.
    Core(Pkt),
    Start(usize),
    Stop(usize),
    Echo(u64),
    Udp,
    Foreign,
}

pub struct Timed(pub u64, pub u64, pub Act);
impl PartialEq for Timed {
    fn eq(&self, o: &Timed) -> bool {
        self.1 == o.1
    }
}
impl Eq for Timed {}
impl PartialOrd for Timed {
    fn partial_cmp(&self, o: &Timed) -> Option<std::cmp::Ordering> {
        Some(self.cmp(o))
    }
}
impl Ord for Timed {
    fn cmp(&self, o: &Timed) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(o.0, o.1))
    }
}

/// Bytes of IP, and what the link is told of them.
pub fn size(pkt: &Pkt) -> (u32, Class) {
    let (bytes, payload) = match &pkt.kind {
        Kind::Data { len, .. } => (len + HEADERS, *len),
        Kind::Ack(_) => (HEADERS + 12, 0),
        Kind::Echo(_) => (92, 0),
        Kind::Udp => (1428, 1400),
    };
    (bytes, Class { flow: pkt.flow as u64, payload, tag: 0 })
}
