//! The smallest world that fails as a larger one does: one simplification after the other is tried, the large ones first,
//! and kept if the world still fails in the same way. Where the failure is that something does not end, the simpler world
//! must also end well over a plain wire, or it would be the world that is at fault.

use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::Value;

use super::{kind, verdict};
use crate::endpoint::{Step, TcpConfig};
use crate::link::LinkSpec;
use crate::tunnel::Tunnel;
use crate::world::{Action, EngineSpec, FlowSpec, Forgery, Whose, WireSpec, WorldSpec};

/// Makes a failing world smaller, with at most so many runs. Returns it, and what goes wrong in it.
pub fn shrink(spec: &WorldSpec, what: &str, runs: u32) -> (WorldSpec, String) {
    let (mut best, mut told) = (spec.clone(), what.to_string());
    let wanted = kind(what);
    let mut left = runs;
    loop {
        let mut smaller = false;
        let mut k = 0;
        while left > 0 {
            let Some(next) = simpler(&best).into_iter().nth(k) else { break };
            left -= 1;
            match verdict(&next) {
                Err(what) if kind(&what) == wanted && sound(&next, &wanted) => {
                    (best, told, smaller) = (next, what, true);
                }
                _ => k += 1,
            }
        }
        if !smaller || left == 0 {
            return (best, told);
        }
    }
}

/// Does the world end well without an engine?
fn sound(spec: &WorldSpec, wanted: &str) -> bool {
    let over_copper = WorldSpec { wire: WireSpec::Copper, ..spec.clone() };
    !wanted.contains("ended") || verdict(&over_copper).is_ok()
}

/// All that could be left out of a world, or be made simpler, one at a time.
fn simpler(spec: &WorldSpec) -> Vec<WorldSpec> {
    let mut all = Vec::new();
    if spec.flows.len() > 1 {
        all.extend((0..spec.flows.len()).map(|i| without_flow(spec, i)));
    }
    all.extend(fewer(&spec.actions, |a| matches!(a, Action::Heal)).into_iter().map(|actions| WorldSpec { actions, ..spec.clone() }));
    for i in 0..spec.flows.len() {
        all.extend(simpler_flows(&spec.flows[i]).into_iter().map(|flow| {
            let mut flows = spec.flows.clone();
            flows[i] = flow;
            WorldSpec { flows, ..spec.clone() }
        }));
    }
    if let WireSpec::Engine(engine) = &spec.wire {
        let wires = nearer(&**engine, &EngineSpec::default()).into_iter();
        all.extend(wires.map(|engine| WorldSpec { wire: WireSpec::Engine(Box::new(engine)), ..spec.clone() }));
    }
    for i in 0..spec.phones.len() {
        let set = |pair| {
            let mut phones = spec.phones.clone();
            phones[i] = pair;
            WorldSpec { phones, ..spec.clone() }
        };
        all.extend(simpler_links(&spec.phones[i]).into_iter().map(set));
    }
    all.extend(simpler_links(&spec.internet).into_iter().map(|internet| WorldSpec { internet, ..spec.clone() }));
    all
}

/// The world without one connection, and without what happens to it alone.
fn without_flow(spec: &WorldSpec, gone: usize) -> WorldSpec {
    let mut next = spec.clone();
    next.flows.remove(gone);
    let moved = |i: usize| (i != gone).then_some(i - usize::from(i > gone));
    next.actions.retain_mut(|(_, action)| {
        let place = match action {
            Action::Order(_, Whose::Flow(i) | Whose::Subscriber(i), _) => i,
            Action::Forge(_, Forgery::Blind { flow, .. }) => flow,
            _ => return true,
        };
        moved(*place).map(|i| *place = i).is_some()
    });
    next
}

/// A list without halves, quarters and so on down to single members of it; what `keep` names stays.
fn fewer(list: &[(u64, Action)], keep: impl Fn(&Action) -> bool) -> Vec<Vec<(u64, Action)>> {
    let mut all = Vec::new();
    let mut size = list.len();
    while size > 0 {
        for from in (0..list.len()).step_by(size) {
            let part = from..from + size;
            let rest: Vec<_> =
                list.iter().enumerate().filter(|(i, a)| !part.contains(i) || keep(&a.1)).map(|(_, a)| a.clone()).collect();
            if rest.len() < list.len() {
                all.push(rest);
            }
        }
        size /= 2;
    }
    all
}

fn simpler_links(pair: &(LinkSpec, LinkSpec)) -> Vec<(LinkSpec, LinkSpec)> {
    let usual = LinkSpec::default();
    let both = if *pair == (usual.clone(), usual.clone()) { None } else { Some((usual.clone(), usual.clone())) };
    let down = nearer(&pair.0, &usual).into_iter().map(|down| (down, pair.1.clone()));
    let up = nearer(&pair.1, &usual).into_iter().map(|up| (pair.0.clone(), up));
    both.into_iter().chain(down).chain(up).collect()
}

fn simpler_flows(flow: &FlowSpec) -> Vec<FlowSpec> {
    let mut all = Vec::new();
    for divisor in [16, 4, 2] {
        let smaller = scaled(flow, divisor);
        if (&smaller.phone_app, &smaller.server_app) != (&flow.phone_app, &flow.server_app) {
            all.push(smaller);
        }
    }
    if flow.start_ns > 0 {
        all.push(FlowSpec { start_ns: 0, ..flow.clone() });
    }
    if flow.tunnel != Tunnel::default() {
        all.push(FlowSpec { tunnel: Tunnel::default(), ..flow.clone() });
    }
    let usual = TcpConfig::default();
    all.extend(nearer(&flow.phone_tcp, &usual).into_iter().map(|phone_tcp| FlowSpec { phone_tcp, ..flow.clone() }));
    all.extend(nearer(&flow.server_tcp, &usual).into_iter().map(|server_tcp| FlowSpec { server_tcp, ..flow.clone() }));
    all
}

/// The same conversation about fewer bytes, with shorter pauses. What is expected is rounded down and what is sent up, so
/// that everything expected comes.
fn scaled(flow: &FlowSpec, divisor: u64) -> FlowSpec {
    let step = |s: &Step| match *s {
        Step::Send(bytes) => Step::Send(bytes.div_ceil(divisor)),
        Step::Expect(bytes) => Step::Expect(bytes / divisor),
        Step::Wait(ns) => Step::Wait(ns / divisor),
        other => other,
    };
    let app = |steps: &[Step]| steps.iter().map(step).collect();
    FlowSpec { phone_app: app(&flow.phone_app), server_app: app(&flow.server_app), ..flow.clone() }
}

/// Copies of something with one of its fields as it usually is.
fn nearer<T: Serialize + DeserializeOwned>(thing: &T, usual: &T) -> Vec<T> {
    let (Ok(Value::Object(is)), Ok(Value::Object(usual))) = (serde_json::to_value(thing), serde_json::to_value(usual)) else {
        return Vec::new();
    };
    let differs = is.iter().filter(|(name, value)| usual.get(*name) != Some(*value));
    let reset = differs.filter_map(|(name, _)| {
        let mut next = is.clone();
        next.insert(name.clone(), usual.get(name)?.clone());
        serde_json::from_value(Value::Object(next)).ok()
    });
    reset.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults;

    #[test]
    fn a_description_of_a_world_can_be_written_down_and_read_again() {
        for seed in 0..50 {
            let text = serde_json::to_string(&faults::world(seed)).unwrap();
            let again: WorldSpec = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&again).unwrap(), text);
        }
    }

    #[test]
    fn what_belongs_to_a_connection_goes_with_it_and_the_rest_moves_up() {
        let flows = vec![FlowSpec::new(false, 1), FlowSpec::new(false, 2), FlowSpec::new(false, 3)];
        let order = |i| (0, Action::Order(crate::world::Order::Drain, Whose::Flow(i), 1));
        let spec = WorldSpec { flows, actions: vec![order(0), order(1), order(2)], ..WorldSpec::default() };
        let next = without_flow(&spec, 1);
        let left: Vec<_> = next.actions.iter().map(|a| format!("{:?}", a.1)).collect();
        assert_eq!(left, ["Order(Drain, Flow(0), 1)", "Order(Drain, Flow(1), 1)"]);
        assert_eq!(next.flows.iter().map(|f| f.ports.0).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn every_simplification_is_one_and_comes_to_an_end() {
        let mut spec = faults::world(5);
        for _ in 0..10_000 {
            let Some(next) = simpler(&spec).into_iter().next_back() else { return };
            assert_ne!(serde_json::to_string(&next).unwrap(), serde_json::to_string(&spec).unwrap());
            spec = next;
        }
        panic!("the world can be made simpler without end");
    }
}
