//! How connections end, pause and come back, with the engine between their ends.

mod common;

use common::{assert_nothing_is_left, complete, custody_share, finish, lte, optimized, radio, with, S};
use smartwire_engine::Side;
use smartwire_sim::endpoint::{State, Step, TcpConfig};
use smartwire_sim::world::{Action, FlowSpec, LinkId, World, WorldSpec};

#[test]
fn a_half_closed_connection_goes_on_in_the_other_direction() {
    for v6 in [false, true] {
        let mut flow = FlowSpec::new(v6, 1000);
        flow.phone_app = vec![Step::Send(50_000), Step::Fin, Step::Expect(2_000_000), Step::Eof];
        flow.server_app = vec![Step::Eof, Step::Wait(3 * S), Step::Send(2_000_000), Step::Fin];
        let mut world = complete(with(optimized(radio(lte(), |l| l.loss = 0.01)), vec![flow]), 60);
        assert!(custody_share(&world) > 0.99);
        assert_nothing_is_left(&mut world);
    }
}

#[test]
fn both_ends_may_close_at_once() {
    let mut flow = FlowSpec::new(false, 1000);
    flow.phone_app = vec![Step::Send(20_000), Step::Until(2 * S), Step::Fin];
    flow.server_app = vec![Step::Send(20_000), Step::Until(2 * S), Step::Fin];
    let mut world = complete(with(optimized(lte()), vec![flow]), 30);
    assert_nothing_is_left(&mut world);
}

#[test]
fn a_reset_by_the_phone_reaches_the_server() {
    for v6 in [false, true] {
        let mut flow = FlowSpec::download(v6, 1000, 50_000_000);
        flow.phone_app = vec![Step::Send(200), Step::Expect(1_000_000), Step::Reset];
        let mut world = finish(with(optimized(lte()), vec![flow]), 30);
        let (phone, server) = world.flow(0);
        assert_eq!((phone.state, server.state), (State::Aborted, State::Reset));
        assert_nothing_is_left(&mut world);
    }
}

#[test]
fn a_reset_by_the_server_comes_after_what_the_phone_was_promised() {
    for v6 in [false, true] {
        let mut flow = FlowSpec::download(v6, 1000, 1_000_000);
        flow.server_app = vec![Step::Expect(200), Step::Send(1_000_000), Step::Flushed, Step::Reset];
        let mut world = finish(with(optimized(lte()), vec![flow]), 60);
        let (phone, server) = world.flow(0);
        assert_eq!((phone.state, server.state), (State::Reset, State::Aborted));
        assert_eq!(phone.received, server.acked, "the server was told that all of it had arrived");
        assert_nothing_is_left(&mut world);
    }
}

#[test]
fn a_window_that_closes_and_opens_again_loses_nothing() {
    for v6 in [false, true] {
        let mut flow = FlowSpec::download(v6, 1000, 8_000_000);
        flow.phone_tcp.rcv_buf = 300_000;
        flow.phone_app =
            vec![Step::Send(200), Step::StopReading, Step::Wait(30 * S), Step::Read, Step::Eof, Step::Fin];
        let world = complete(with(optimized(lte()), vec![flow]), 120);
        let (_, server) = world.flow(0);
        assert_eq!(server.sent.retransmitted, 0, "the engine kept the server waiting without an answer");
    }
}

#[test]
fn a_tiny_receive_buffer_is_respected() {
    let mut flow = FlowSpec::download(false, 1000, 1_000_000);
    flow.phone_tcp.rcv_buf = 20_000;
    flow.phone_tcp.ws = None;
    complete(with(optimized(lte()), vec![flow]), 60);
}

#[test]
fn a_window_that_shrinks_and_a_receiver_that_reneges_lose_nothing() {
    let mut shrinking = FlowSpec::download(false, 1000, 2_000_000);
    shrinking.phone_tcp.rcv_buf = 200_000;
    shrinking.phone_tcp.shrink_after = Some(500_000);
    let mut reneging = FlowSpec::download(true, 1001, 1_000_000);
    reneging.phone_tcp.renege = 0.02;
    complete(with(optimized(radio(lte(), |l| l.loss = 0.005)), vec![shrinking, reneging]), 120);
}

#[test]
fn stretch_acks_do_not_slow_the_engine() {
    let mut flow = FlowSpec::download(false, 1000, 10_000_000);
    flow.phone_tcp.ack_every = 16;
    let world = complete(with(optimized(lte()), vec![flow]), 60);
    let end = *world.flow(0).0.steps.last().unwrap();
    assert!(end < 6 * S, "{} s for 10 MB at 20 Mbit/s", end as f64 / 1e9);
}

#[test]
fn keepalives_keep_an_idle_connection_and_find_a_dead_peer() {
    let keep = |t: &mut TcpConfig| t.keepalive_ns = Some(10 * S);
    let mut flow = FlowSpec::new(false, 1000);
    flow.phone_app = vec![Step::Send(10), Step::Wait(100 * S), Step::Fin, Step::Eof];
    flow.server_app = vec![Step::Expect(10), Step::Eof, Step::Fin];
    complete(with(optimized(lte()), vec![flow.clone().both(keep)]), 200);
    let cut = |l: &mut smartwire_sim::link::LinkSpec| l.freezes = vec![(5000.0, 1e9)];
    let mut world = World::new(with(optimized(radio(lte(), cut)), vec![flow.both(keep)])).unwrap();
    world.run_until(400 * S);
    assert_eq!(world.flow(0).1.state, State::TimedOut, "the engine hid the dead peer");
}

#[test]
fn a_connection_that_was_idle_for_minutes_goes_on() {
    for v6 in [false, true] {
        let mut flow = FlowSpec::new(v6, 1000);
        flow.phone_app = vec![Step::Send(500), Step::Expect(300_000), Step::Wait(300 * S), Step::Send(500), Step::Eof, Step::Fin];
        flow.server_app = vec![Step::Expect(500), Step::Send(300_000), Step::Expect(1000), Step::Send(300_000), Step::Fin];
        complete(with(optimized(lte()), vec![flow]), 400);
    }
}

#[test]
fn the_same_ports_are_used_again_after_the_end() {
    let mut again = FlowSpec::download(false, 1000, 100_000);
    again.start_ns = 20 * S;
    again.phone_tcp.isn = 9_000_000;
    again.server_tcp.isn = 9_500_000;
    let world = complete(with(optimized(lte()), vec![FlowSpec::download(false, 1000, 100_000), again]), 60);
    assert!(custody_share(&world) > 0.9, "{}", custody_share(&world));
}

#[test]
fn a_path_that_shrinks_is_learned_by_both_from_icmp_and_custody_is_cut() {
    for v6 in [false, true] {
        let spec = optimized(lte());
        let spec = WorldSpec { actions: vec![(S / 2, Action::Mtu(LinkId::RadioDown(0), 1300))], ..spec };
        complete(with(spec, vec![FlowSpec::download(v6, 1000, 3_000_000)]), 60);
    }
}

#[test]
fn a_server_that_pushes_first_is_served() {
    let mut flow = FlowSpec::new(true, 1000);
    flow.opens = Side::Access;
    flow.server_app = vec![Step::Send(400_000), Step::Eof, Step::Fin];
    flow.phone_app = vec![Step::Expect(400_000), Step::Fin];
    complete(with(optimized(lte()), vec![flow]), 30);
}
#[test]
fn a_path_that_shrinks_in_silence_is_found_by_the_engine() {
    for v6 in [false, true] {
        let spec = WorldSpec { icmp: false, ..optimized(lte()) };
        let spec = WorldSpec { actions: vec![(S / 2, Action::Mtu(LinkId::RadioDown(0), 1300))], ..spec };
        let mut flow = FlowSpec::download(v6, 1000, 1_500_000);
        // All of it is under custody before the path shrinks: the server can't repair it.
        flow.server_tcp.iw = 1000;
        flow.phone_app.pop();
        flow.server_app.pop();
        flow.phone_app = vec![Step::Send(200), Step::Expect(1_500_000), Step::Fin];
        flow.server_app = vec![Step::Expect(200), Step::Send(1_500_000), Step::Eof, Step::Fin];
        complete(with(spec, vec![flow]), 120);
    }
}

