//! Whose turn it is among the flows of a subscriber: deficit round robin with new flows first, as FQ-CoDel does it
//! (RFC 8290 section 4.2), without its queues: a flow here is a sender that has something to send.
//!
//! Lists are doubly linked through one preallocated array indexed by flow handle; nothing is allocated.

/// No flow.
const NONE: u32 = u32::MAX;
/// Bytes that a flow may send before the next one's turn: two full segments, what a delayed ACK covers.
pub const QUANTUM: i32 = 2 * 1514;

/// Which list a flow is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Out,
    New,
    Old,
}

/// What is kept per flow handle.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    next: u32,
    prev: u32,
    deficit: i32,
    in_flight: u32,
    place: Place,
    /// False for a flow that only keeps its turn: one that was served as new and has nothing more to send stays in
    /// the old list for one round, or it could be new again for ever (RFC 8290 section 4.2).
    ready: bool,
}

/// Both lists of one subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Lists {
    heads: [u32; 2],
    tails: [u32; 2],
    /// Flows that have something to send.
    pub ready: u32,
}

impl Default for Lists {
    fn default() -> Lists {
        Lists { heads: [NONE; 2], tails: [NONE; 2], ready: 0 }
    }
}

/// The flows of all subscribers.
#[derive(Debug)]
pub struct Flows {
    nodes: Vec<Node>,
}

impl Flows {
    /// For flow handles below `capacity`.
    pub fn new(capacity: u32) -> Flows {
        Flows { nodes: vec![Node::default(); capacity as usize] }
    }

    /// Asks for what is kept of a flow.
    pub fn prefetch(&self, flow: u32) {
        smartwire_packet::csum::prefetch_slice(&self.nodes, flow as usize);
    }

    /// Notes what a flow has in flight; returns what it had before.
    #[inline]
    pub fn set_in_flight(&mut self, flow: u32, bytes: u32) -> u32 {
        std::mem::replace(&mut self.nodes[flow as usize].in_flight, bytes)
    }

    /// The flow has something to send. One that was idle comes before all that were not.
    #[inline]
    pub fn ready(&mut self, lists: &mut Lists, flow: u32) {
        let node = &mut self.nodes[flow as usize];
        if node.ready {
            return;
        }
        node.ready = true;
        lists.ready += 1;
        if node.place == Place::Out {
            node.deficit = QUANTUM;
            self.push(lists, flow, Place::New);
        }
    }

    /// The flow has nothing to send for now.
    #[inline]
    pub fn unready(&mut self, lists: &mut Lists, flow: u32) {
        let node = &mut self.nodes[flow as usize];
        if node.ready {
            node.ready = false;
            lists.ready -= 1;
        }
    }

    /// The flow is gone.
    pub fn remove(&mut self, lists: &mut Lists, flow: u32) {
        self.unready(lists, flow);
        self.take(lists, flow);
    }

    /// Whose turn it is, and how many bytes it may send before the next one's. It keeps its turn until
    /// [`Flows::charge`] has used it up or it has nothing more to send.
    pub fn turn(&mut self, lists: &mut Lists) -> Option<(u32, u32)> {
        // Each flow is moved at most twice before one with a deficit is found, or none is left.
        while lists.ready > 0 {
            let new = lists.heads[0] != NONE;
            let flow = lists.heads[usize::from(!new)];
            let node = &mut self.nodes[flow as usize];
            if node.deficit <= 0 {
                node.deficit += QUANTUM;
                self.take(lists, flow);
                self.push(lists, flow, Place::Old);
            } else if !node.ready {
                self.take(lists, flow);
                if new {
                    self.push(lists, flow, Place::Old);
                }
            } else {
                return Some((flow, node.deficit as u32));
            }
        }
        None
    }

    /// The flow sent so many bytes.
    #[inline]
    pub fn charge(&mut self, flow: u32, bytes: u32) {
        let node = &mut self.nodes[flow as usize];
        node.deficit = node.deficit.saturating_sub(bytes as i32).max(-64 * QUANTUM);
    }

    fn push(&mut self, lists: &mut Lists, flow: u32, place: Place) {
        let list = usize::from(place == Place::Old);
        let last = lists.tails[list];
        match last {
            NONE => lists.heads[list] = flow,
            _ => self.nodes[last as usize].next = flow,
        }
        lists.tails[list] = flow;
        let node = &mut self.nodes[flow as usize];
        (node.next, node.prev, node.place) = (NONE, last, place);
    }

    fn take(&mut self, lists: &mut Lists, flow: u32) {
        let Node { next, prev, place, .. } = self.nodes[flow as usize];
        let list = match place {
            Place::Out => return,
            Place::New => 0,
            Place::Old => 1,
        };
        match prev {
            NONE => lists.heads[list] = next,
            _ => self.nodes[prev as usize].next = next,
        }
        match next {
            NONE => lists.tails[list] = prev,
            _ => self.nodes[next as usize].prev = prev,
        }
        self.nodes[flow as usize].place = Place::Out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves `rounds` turns of packets of `size(flow)` bytes; bytes per flow.
    fn serve(flows: &mut Flows, lists: &mut Lists, rounds: usize, size: impl Fn(u32) -> u32) -> Vec<u64> {
        let mut sent = vec![0; flows.nodes.len()];
        for _ in 0..rounds {
            let (flow, _) = flows.turn(lists).expect("a ready flow");
            flows.charge(flow, size(flow));
            sent[flow as usize] += u64::from(size(flow));
        }
        sent
    }

    #[test]
    fn flows_with_packets_of_different_sizes_get_equal_bytes() {
        let (mut flows, mut lists) = (Flows::new(4), Lists::default());
        for flow in 0..4 {
            flows.ready(&mut lists, flow);
        }
        let sent = serve(&mut flows, &mut lists, 20_000, |flow| [1448, 536, 100, 1400][flow as usize]);
        let (low, high) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
        assert!(high - low < 2 * QUANTUM as u64, "{sent:?}");
    }

    #[test]
    fn a_flow_that_was_idle_comes_before_the_bulk_but_once_only() {
        let (mut flows, mut lists) = (Flows::new(3), Lists::default());
        flows.ready(&mut lists, 0);
        serve(&mut flows, &mut lists, 100, |_| 1448);
        flows.ready(&mut lists, 1);
        assert_eq!(flows.turn(&mut lists).unwrap().0, 1);
        flows.charge(1, 1448);
        flows.unready(&mut lists, 1);
        // It left and comes back at once: no second priority before the bulk flow had its turn.
        assert_eq!(flows.turn(&mut lists).unwrap().0, 0);
        flows.ready(&mut lists, 1);
        let sent = serve(&mut flows, &mut lists, 1000, |_| 1448);
        assert!(sent[0].abs_diff(sent[1]) <= 3 * QUANTUM as u64, "{sent:?}");
    }

    #[test]
    fn a_flow_that_comes_and_goes_for_ever_cannot_starve_the_others() {
        let (mut flows, mut lists) = (Flows::new(2), Lists::default());
        flows.ready(&mut lists, 0);
        let mut sent = [0u64; 2];
        for _ in 0..10_000 {
            flows.ready(&mut lists, 1);
            let (flow, _) = flows.turn(&mut lists).unwrap();
            flows.charge(flow, 1448);
            sent[flow as usize] += 1448;
            if flow == 1 {
                flows.unready(&mut lists, 1);
            }
        }
        assert!(sent[0] * 3 > sent[1], "{sent:?}");
    }

    #[test]
    fn removing_flows_in_any_order_leaves_the_lists_whole() {
        let (mut flows, mut lists) = (Flows::new(5), Lists::default());
        for flow in 0..5 {
            flows.ready(&mut lists, flow);
        }
        serve(&mut flows, &mut lists, 7, |_| 1448);
        for flow in [2, 0, 4] {
            flows.remove(&mut lists, flow);
        }
        let sent = serve(&mut flows, &mut lists, 100, |_| 1448);
        assert!(sent[1] > 0 && sent[3] > 0 && sent[0] + sent[2] + sent[4] == 0);
        flows.remove(&mut lists, 1);
        flows.remove(&mut lists, 3);
        assert_eq!(flows.turn(&mut lists), None);
        assert_eq!(lists.ready, 0);
    }
}
