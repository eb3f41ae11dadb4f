//! The model endpoints over a plain wire: they are TCP, and they behave as the kernel's does.

mod common;

use common::{complete, finish, lte, option_sets, radio, with, MS, S};
use smartwire_sim::endpoint::{State, Step, TcpConfig};
use smartwire_sim::link::LinkSpec;
use smartwire_sim::measure::{run, Plan};
use smartwire_sim::trace::recorded;
use smartwire_sim::world::{Action, FlowSpec, LinkId, World, WorldSpec};

#[test]
fn downloads_and_uploads_complete_over_both_families() {
    for v6 in [false, true] {
        let flows = vec![FlowSpec::download(v6, 1000, 2_000_000), FlowSpec::upload(v6, 1001, 500_000)];
        complete(with(lte(), flows), 30);
    }
}

#[test]
fn every_combination_of_options_survives_loss_and_reordering() {
    for (name, set) in option_sets() {
        let spec = radio(lte(), |l| {
            l.loss = 0.01;
            l.reorder = Some(smartwire_sim::link::spec::Reorder { chance: 0.01, late_ms: 10.0 });
        });
        let flow = FlowSpec::download(false, 1000, 1_000_000).both(&set);
        println!("{name}");
        complete(with(spec, vec![flow]), 120);
    }
}

#[test]
fn lost_segments_are_repaired_without_a_timeout_and_nothing_else_is_sent_again() {
    // Twenty frames are lost together in mid-flow.
    let mut spec = lte();
    spec.phones[0].0.queue_bytes = Some(60_000);
    let world = complete(with(spec, vec![FlowSpec::download(false, 1000, 5_000_000)]), 30);
    let (phone, server) = world.flow(0);
    let lost = world.link(LinkId::RadioDown(0)).totals().dropped();
    assert!(lost > 20);
    assert_eq!(server.sent.timeouts, 0);
    assert!(server.sent.retransmitted <= lost + 2, "{} sent again for {lost} lost", server.sent.retransmitted);
    assert!(phone.repeated <= 3000, "{}", phone.repeated);
}

#[test]
fn a_freeze_of_ten_seconds_makes_a_plain_sender_time_out_and_then_undo() {
    let spec = WorldSpec { actions: vec![(S, Action::Freeze(LinkId::RadioDown(0), 10 * S))], ..lte() };
    let world = complete(with(spec, vec![FlowSpec::download(false, 1000, 10_000_000)]), 60);
    let server = world.flow(0).1.sent;
    assert!(server.timeouts >= 3 && server.undone >= 1, "{server:?}");
}

#[test]
fn a_half_closed_connection_goes_on_in_the_other_direction() {
    let mut flow = FlowSpec::new(true, 1000);
    flow.phone_app = vec![Step::Send(1000), Step::Fin, Step::Expect(300_000), Step::Eof];
    flow.server_app = vec![Step::Eof, Step::Wait(S), Step::Send(300_000), Step::Fin];
    complete(with(lte(), vec![flow]), 30);
}

#[test]
fn a_reset_ends_the_peer_too() {
    let mut flow = FlowSpec::download(false, 1000, 50_000_000);
    flow.phone_app = vec![Step::Send(200), Step::Expect(100_000), Step::Reset];
    let world = finish(with(lte(), vec![flow]), 30);
    let (phone, server) = world.flow(0);
    assert_eq!((phone.state, server.state), (State::Aborted, State::Reset));
}

#[test]
fn an_application_that_stops_reading_closes_the_window_and_opens_it_again() {
    let mut flow = FlowSpec::download(false, 1000, 1_000_000);
    flow.phone_tcp.rcv_buf = 100_000;
    flow.phone_app = vec![Step::Send(200), Step::StopReading, Step::Wait(8 * S), Step::Read, Step::Eof, Step::Fin];
    let world = complete(with(lte(), vec![flow]), 60);
    let (phone, server) = world.flow(0);
    assert!(phone.steps[4] > 8 * S);
    assert_eq!(server.sent.timeouts, 0, "a closed window is no loss");
}

#[test]
fn a_shrinking_window_and_a_reneging_receiver_lose_nothing() {
    let mut shrinking = FlowSpec::download(false, 1000, 2_000_000);
    shrinking.phone_tcp.rcv_buf = 200_000;
    shrinking.phone_tcp.shrink_after = Some(500_000);
    let mut reneging = FlowSpec::download(false, 1001, 1_000_000);
    reneging.phone_tcp.renege = 0.02;
    complete(with(radio(lte(), |l| l.loss = 0.005), vec![shrinking, reneging]), 120);
}

#[test]
fn an_idle_connection_is_kept_alive_and_notices_a_dead_peer() {
    let mut flow = FlowSpec::new(false, 1000);
    let keep = |t: &mut TcpConfig| t.keepalive_ns = Some(10 * S);
    flow.phone_app = vec![Step::Send(10), Step::Wait(100 * S), Step::Fin, Step::Eof];
    flow.server_app = vec![Step::Expect(10), Step::Eof, Step::Fin];
    complete(with(lte(), vec![flow.clone().both(keep)]), 200);
    let cut = |l: &mut LinkSpec| l.freezes = vec![(5000.0, 1e9)];
    let mut world = World::new(with(radio(lte(), cut), vec![flow.both(keep)])).unwrap();
    world.run_until(400 * S);
    assert_eq!(world.flow(0).1.state, State::TimedOut);
}

#[test]
fn a_path_that_shrinks_is_learned_from_icmp() {
    for v6 in [false, true] {
        let spec = WorldSpec { actions: vec![(500 * MS, Action::Mtu(LinkId::RadioDown(0), 1300))], ..lte() };
        let world = complete(with(spec, vec![FlowSpec::download(v6, 1000, 3_000_000)]), 60);
        assert!(world.link(LinkId::RadioDown(0)).totals().by_fate[3].0 > 0, "nothing was too big");
    }
}

#[test]
fn the_same_ports_can_be_used_again_after_the_end() {
    let mut again = FlowSpec::download(false, 1000, 100_000);
    again.start_ns = 20 * S;
    again.phone_tcp.isn = 9_000_000;
    again.server_tcp.isn = 9_500_000;
    complete(with(lte(), vec![FlowSpec::download(false, 1000, 100_000), again]), 60);
}

/// tcp.md section 4: real Linux 6.18 over the same traces, first 60 s, 40 ms, 2 MB, one flow.
#[test]
fn cubic_and_bbr_reproduce_what_the_kernel_does_on_the_traces() {
    let kernel = [
        ("Verizon-LTE-short", "cubic", 0.985, 4745.0),
        ("Verizon-LTE-short", "bbr", 0.960, 328.0),
        ("TMobile-UMTS-driving-180s", "cubic", 0.992, 11_179.0),
        ("TMobile-UMTS-driving-180s", "bbr", 0.977, 522.0),
    ];
    for (trace, cc, utilisation, p95) in kernel {
        let down = recorded(&format!("{trace}.down"));
        if !down.exists() {
            println!("skipped: there is no {} (SMARTWIRE_TRACES names another folder)", down.display());
            return;
        }
        let down = down.display().to_string();
        // The kernel's run had no trace on the way up.
        let up = Some("perfect".into());
        let plan = Plan { down, up, cc: cc.into(), seconds: 60.0, rtt_ms: Some(40.0), optimize: false, ..Plan::default() };
        let report = run(&plan, &mut |_| true).unwrap();
        let used = report.utilisation.unwrap();
        println!("{trace} {cc}: {used} (kernel {utilisation}), p95 {} ms (kernel {p95})", report.queue_ms.p95);
        assert!((used - utilisation).abs() < 0.03, "{trace} {cc}: {used}");
        assert!((report.queue_ms.p95 / p95 - 1.0).abs() < 0.25, "{trace} {cc}: {}", report.queue_ms.p95);
    }
}
