//! What the engine leaves alone: it passes byte for byte (the checkers see to that) and works.

mod common;

use common::{complete, custody_share, lte, optimized, radio, with, S};
use smartwire_engine::api::EventKind;
use smartwire_engine::{RefuseReason, Side};
use smartwire_sim::endpoint::TcpConfig;
use smartwire_sim::world::{Action, FlowSpec, World, WorldSpec};

/// Runs a download and an upload with this change at the phone's end; the reasons why they were refused.
fn reasons(change: impl Fn(&mut TcpConfig)) -> Vec<RefuseReason> {
    let mut reasons = Vec::new();
    for v6 in [false, true] {
        let flows = [FlowSpec::download(v6, 1000, 300_000), FlowSpec::upload(v6, 1001, 100_000)];
        let flows = flows.map(|mut f| {
            change(&mut f.phone_tcp);
            f
        });
        let mut world = complete(with(optimized(radio(lte(), |l| l.loss = 0.005)), flows.to_vec()), 60);
        assert_eq!(custody_share(&world), 0.0);
        reasons.extend(refused(&mut world));
    }
    reasons.dedup();
    reasons
}

fn refused(world: &mut World) -> Vec<RefuseReason> {
    let refused = |e: &smartwire_engine::Event| match e.kind {
        EventKind::Refused(reason) => Some(reason),
        _ => None,
    };
    world.take_events().iter().filter_map(refused).collect()
}

#[test]
fn fast_open_multipath_signed_and_unknown_handshakes_pass_and_work() {
    let cookie: &[u8] = &[34, 2, 1, 1];
    let experiment: &[u8] = &[254, 4, 0xf9, 0x89];
    let multipath: &[u8] = &[30, 12, 0, 0x81, 1, 2, 3, 4, 5, 6, 7, 8];
    let unknown: &[u8] = &[200, 4, 1, 2];
    assert_eq!(reasons(|t| t.syn_options = cookie), [RefuseReason::FastOpen]);
    assert_eq!(reasons(|t| t.syn_options = experiment), [RefuseReason::FastOpen]);
    assert_eq!(reasons(|t| t.syn_options = multipath), [RefuseReason::Mptcp]);
    assert_eq!(reasons(|t| t.syn_options = unknown), [RefuseReason::UnknownOption]);
    let signature: &[u8] = &[19, 18, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    assert_eq!(reasons(|t| (t.ts, t.sack, t.syn_options) = (false, false, signature)), [RefuseReason::Md5OrAo]);
}

#[test]
fn data_in_the_syn_and_accurate_ecn_pass_and_work() {
    assert_eq!(reasons(|t| t.syn_data = 100), [RefuseReason::SynData]);
    assert_eq!(reasons(|t| t.accecn = true), [RefuseReason::AccEcn]);
}

#[test]
fn a_connection_whose_answers_pass_beside_the_wire_is_left_alone() {
    for side in [Side::Access, Side::Core] {
        let spec = WorldSpec { actions: vec![(0, Action::Detour(side, 1000 * S))], ..optimized(lte()) };
        let mut world = complete(with(spec, vec![FlowSpec::download(false, 1000, 300_000)]), 60);
        assert_eq!(custody_share(&world), 0.0);
        println!("{side:?}: {:?}", refused(&mut world));
    }
}

#[test]
fn a_connection_that_began_before_the_engine_saw_it_is_left_alone() {
    // Everything passes beside the wire while the connection opens.
    let actions = vec![(0, Action::Detour(Side::Access, S)), (0, Action::Detour(Side::Core, S))];
    let spec = WorldSpec { actions, ..optimized(lte()) };
    let mut world = complete(with(spec, vec![FlowSpec::download(true, 1000, 5_000_000)]), 60);
    assert_eq!(custody_share(&world), 0.0);
    assert_eq!(refused(&mut world), [RefuseReason::MidStream]);
}

#[test]
fn udp_passes_as_it_is() {
    let spec = WorldSpec { probe_every_ns: Some(10_000_000), ..optimized(lte()) };
    let mut world = World::new(spec).unwrap();
    world.run_until(2 * S);
    let answered = world.echoes().iter().filter(|e| e.rtt_ns.is_some()).count();
    assert!(answered > 150, "{answered}");
}

#[test]
fn damaged_frames_are_never_acknowledged() {
    for v6 in [false, true] {
        let flows = vec![FlowSpec::download(v6, 1000, 2_000_000), FlowSpec::upload(v6, 1001, 500_000)];
        let mut spec = optimized(radio(lte(), |l| l.corrupt = 0.01));
        spec.internet.0.corrupt = 0.01;
        spec.internet.1.corrupt = 0.01;
        complete(with(spec, flows), 120);
    }
}
