//! A download through the engine, its counters and the frames at the wire: `look SECONDS FROM_S TO_S`.
use smartwire_sim::codec;
use smartwire_sim::endpoint::*;
use smartwire_sim::link::{spec::Rate, LinkSpec};
use smartwire_sim::world::*;

fn main() {
    let a: Vec<f64> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    let radio = |mbps| LinkSpec { rate: Rate::Mbps(mbps), queue_bytes: Some(1_000_000), delay_ms: 25.0, ..LinkSpec::default() };
    let internet = LinkSpec { delay_ms: 15.0, ..LinkSpec::default() };
    let mut f = FlowSpec::download(false, 1000, 1 << 40);
    f.phone_app = vec![Step::Send(200), Step::Eof];
    if std::env::var("CLOSE").is_ok() {
        f.phone_app = vec![Step::Send(20_000), Step::Until(2_000_000_000), Step::Fin];
        f.server_app = f.phone_app.clone();
    }
    let spec = WorldSpec {
        seed: 1, phones: vec![(radio(20.0), radio(10.0))], internet: (internet.clone(), internet),
        wire: WireSpec::Engine(Box::default()), flows: vec![f], ..WorldSpec::default()
    };
    let mut w = World::new(spec).unwrap();
    w.run_until((a[1] * 1e9) as u64);
    w.record_frames();
    w.run_until((a[2] * 1e9) as u64);
    for c in w.take_frames() {
        if let Some(t) = codec::tcp(&c.frame, true) {
            println!("{:.6} {:?} {} seq {} len {} ack {} win {} fl {:x} ts {:?} sack {:?}", c.now as f64 / 1e9, c.side, if c.out { "out" } else { "in " }, t.seg.seq, t.payload.len(), t.seg.ack, t.seg.window, t.seg.flags, t.seg.opts.ts, t.seg.opts.blocks());
        }
    }
    w.run_until((a[0] * 1e9) as u64);
    let s = w.engine().unwrap().stats();
    for (n, v) in smartwire_engine::Stats::NAMES.iter().zip(s.values()) { if v > 0 { eprintln!("{n} {v}"); } }
    eprintln!("{:?}\n{:?}", w.flow(0).1.sent, w.engine().unwrap().flows().next());
}
