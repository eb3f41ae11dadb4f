//! What happens when: orders to the engine, forged packets, changes of the path, short memory, an engine that sleeps.

use smartwire_engine::Side;

use super::{HEAL_NS, MS, S};
use crate::codec::{ACK, RST, SYN};
use crate::rng::Rng;
use crate::world::{Action, EngineSpec, FlowSpec, Forgery, LinkId, Order, Whose};

type Actions = Vec<(u64, Action)>;

fn side(rng: &mut Rng) -> Side {
    if rng.chance(0.5) { Side::Access } else { Side::Core }
}

/// Drains, bypasses, resumptions and removal at random instants.
pub(super) fn orders(rng: &mut Rng, actions: &mut Actions) {
    if !rng.chance(0.6) {
        return;
    }
    for _ in 0..rng.range(1, 4) {
        let at = rng.range(0, 20 * S);
        let order = [Order::Drain, Order::Bypass, Order::Resume][rng.below(3) as usize];
        // Enough for every byte to be delivered after healing.
        actions.push((at, Action::Order(order, Whose::Wire, 300 * S)));
    }
    if rng.chance(0.5) {
        let at = rng.range(0, 20 * S);
        actions.push((at, Action::Order(Order::Bypass, Whose::Wire, 300 * S)));
        actions.push((at, Action::RemoveWhenDrained));
    }
}

/// Orders about one connection or one subscriber.
pub(super) fn small_orders(rng: &mut Rng, flows: usize, actions: &mut Actions) {
    if !rng.chance(0.2) {
        return;
    }
    for _ in 0..rng.range(1, 3) {
        let i = rng.below(flows as u64) as usize;
        let whose = if rng.chance(0.5) { Whose::Flow(i) } else { Whose::Subscriber(i) };
        let order = [Order::Drain, Order::Bypass, Order::Resume][rng.below(3) as usize];
        actions.push((rng.range(0, 20 * S), Action::Order(order, whose, 300 * S)));
    }
}

/// Packets of somebody who knows addresses and ports, and nothing else: resets, SYNs, ACKs and data with numbers at random.
pub(super) fn blind(rng: &mut Rng, flows: &[FlowSpec], actions: &mut Actions) {
    if !rng.chance(0.2) {
        return;
    }
    for _ in 0..rng.range(1, 20) {
        let flow = rng.below(flows.len() as u64) as usize;
        let flags = [RST, RST | ACK, SYN, ACK][rng.below(4) as usize];
        let bytes = if flags == ACK { rng.below(1400) as u16 } else { 0 };
        let forgery = Forgery::Blind { flow, flags, seq: rng.bits() as u32, ack: rng.bits() as u32, bytes };
        actions.push((rng.range(S, 20 * S), Action::Forge(side(rng), forgery)));
    }
}

/// Packets of somebody who sees the connections, at random instants: close to real ones.
pub(super) fn near(rng: &mut Rng, actions: &mut Actions) {
    if !rng.chance(0.3) {
        return;
    }
    for _ in 0..rng.range(5, 60) {
        let side = if rng.chance(0.5) { Side::Access } else { Side::Core };
        let how = [Forgery::NearReset, Forgery::OldDuplicate, Forgery::FutureStamp][rng.below(3) as usize].clone();
        actions.push((rng.range(S, 20 * S), Action::Forge(side, how)));
    }
}

/// ACKs that claim what was not sent yet, and floods of ACKs that say nothing new.
pub(super) fn false_acks(rng: &mut Rng, actions: &mut Actions) {
    if !rng.chance(0.2) {
        return;
    }
    for _ in 0..rng.range(1, 30) {
        let how = if rng.chance(0.5) {
            Forgery::OptimisticAck(rng.range(20 << 20, 400 << 20) as u32)
        } else {
            Forgery::DuplicateAcks(rng.range(3, 200) as u16)
        };
        actions.push((rng.range(S, 20 * S), Action::Forge(side(rng), how)));
    }
}

/// A link that takes no large packets any more. The routers say so, or nobody does.
pub(super) fn smaller_path(rng: &mut Rng, actions: &mut Actions) {
    if rng.chance(0.15) {
        let link = if rng.chance(0.5) { LinkId::RadioDown(0) } else { LinkId::RadioUp(0) };
        actions.push((rng.range(0, 10 * S), Action::Mtu(link, rng.range(1280, 1480) as u32)));
    }
}

/// One direction, or both, goes by another way for a while.
pub(super) fn other_ways(rng: &mut Rng, actions: &mut Actions) {
    if !rng.chance(0.12) {
        return;
    }
    for _ in 0..rng.range(1, 3) {
        let length = (50.0 * 100f64.powf(rng.unit())) as u64 * MS;
        actions.push((rng.range(0, 20 * S), Action::Detour(side(rng), length)));
    }
}

/// Somebody else takes frames for a while.
pub(super) fn short_memory(rng: &mut Rng, actions: &mut Actions) {
    if !rng.chance(0.15) {
        return;
    }
    for _ in 0..rng.range(1, 4) {
        actions.push((rng.range(0, 20 * S), Action::Memory([0, 1, 5, 20, 40, 100][rng.below(6) as usize])));
    }
    actions.push((HEAL_NS, Action::Memory(100)));
}

/// The engine's process does not run for a while, and the copper wire opens.
pub(super) fn sleeps(rng: &mut Rng, actions: &mut Actions) {
    if !rng.chance(0.12) {
        return;
    }
    for _ in 0..rng.range(1, 4) {
        let length = (10.0 * 200f64.powf(rng.unit())) as u64 * MS;
        actions.push((rng.range(0, 20 * S), Action::Sleep(length)));
    }
}

/// Limits so short that custody may not be deliverable within them: both ends are then reset.
pub(super) fn short_limits(rng: &mut Rng, engine: &mut EngineSpec, actions: &mut Actions) {
    if !rng.chance(0.1) {
        return;
    }
    engine.config.delivery_limit_ns = rng.range(1, 10) * S;
    for (_, action) in actions {
        if let Action::Order(_, _, limit) = action {
            *limit = rng.range(0, 5 * S);
        }
    }
}
