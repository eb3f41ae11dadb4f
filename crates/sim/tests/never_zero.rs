//! No window is ever shut: a radio that is silent for ten seconds, and senders that take a zero window badly.

mod common;

use common::{lte, MS, S};
use smartwire_engine::{Config, Side};
use smartwire_sim::endpoint::Step;
use smartwire_packet::{parse, proto, tcp::Flags, tcp::Tcp};
use smartwire_sim::world::{Action, Captured, EngineSpec, FlowSpec, LinkId, WireSpec, World, WorldSpec};

/// Frame memory that one flow may fill, bytes: half of it is acknowledged ahead without delay, the other half lasts a
/// silence of ten seconds at one segment in 75 ms on average.
const RESERVE: u32 = 600 * 2048;

/// A download over a radio that is silent from 5 to 15 s, through an engine whose flows have no more than the reserve.
fn frozen(v6: bool) -> WorldSpec {
    let config = Config { stream_bytes: RESERVE, ..EngineSpec::default().config };
    let engine = EngineSpec { config, ..EngineSpec::default() };
    let mut flow = FlowSpec::download(v6, 40_000, 30_000_000);
    flow.server_tcp.zero_window_pause_ns = 5 * S;
    let freeze = |link| (5 * S, Action::Freeze(link, 10 * S));
    WorldSpec {
        wire: WireSpec::Engine(Box::new(engine)),
        flows: vec![flow],
        actions: vec![freeze(LinkId::RadioDown(0)), freeze(LinkId::RadioUp(0))],
        ..lte()
    }
}

/// (time, window field, it carries a new acknowledgement) of what was shown to the server.
fn shown(seen: &[Captured]) -> Vec<(u64, u16, bool)> {
    let mut told = None;
    let left = seen.iter().filter(|c| c.out && c.side == Side::Core);
    left.filter_map(|c| {
        let layers = parse(&c.frame).ok().filter(|layers| layers.proto == proto::TCP)?;
        let tcp = Tcp::new(&c.frame, &layers)?;
        let news = told.replace(tcp.ack()).is_none_or(|before| before != tcp.ack());
        (!tcp.flags().contains(Flags::SYN)).then(|| (c.now, tcp.window(), news))
    })
    .collect()
}

#[test]
fn a_silence_of_ten_seconds_neither_shuts_the_window_nor_makes_the_sender_wait_or_repeat() {
    for v6 in [false, true] {
        let mut world = World::new(frozen(v6)).unwrap();
        world.record_frames();
        world.run_until(40 * S);
        let (phone, server) = world.flow(0);
        assert!(phone.finished, "v6 {v6}: {phone:?}");
        let totals = server.sent;
        assert_eq!((totals.pauses, totals.timeouts, totals.retransmitted), (0, 0, 0), "v6 {v6}: {totals:?}");
        let shown = shown(&world.take_frames());
        let shut = shown.iter().find(|(_, window, _)| *window == 0);
        assert_eq!(shut, None, "v6 {v6}");
        // All through the silence something new is acknowledged every now and then, less and less often.
        let news: Vec<u64> = shown.iter().filter(|(_, _, news)| *news).map(|(at, ..)| *at).collect();
        let gaps = news.windows(2).filter(|two| two[0] > 5 * S && two[1] < 15 * S).map(|two| two[1] - two[0]);
        let longest = gaps.max().expect("acknowledgements in the silence");
        assert!(longest <= 200 * MS, "v6 {v6}: nothing was acknowledged for {} ms", longest / MS);
        assert!(news.iter().any(|at| *at > 14 * S && *at < 15 * S), "v6 {v6}: the last second is silent");
    }
}

#[test]
fn a_sender_that_is_shown_a_zero_window_by_its_peer_pauses_in_this_model() {
    // What the test above relies on: a plain wire, and a phone that takes nothing, shuts the window.
    let mut flow = FlowSpec::download(false, 40_000, 3_000_000);
    flow.server_tcp.zero_window_pause_ns = 5 * S;
    flow.phone_tcp.rcv_buf = 20_000;
    flow.phone_app = vec![Step::Send(200), Step::StopReading];
    let mut world = World::new(WorldSpec { flows: vec![flow], wire: WireSpec::Copper, ..lte() }).unwrap();
    world.run_until(10 * S);
    assert!(world.flow(0).1.sent.pauses > 0, "{:?}", world.flow(0).1);
}
