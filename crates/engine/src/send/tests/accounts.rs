//! Random histories. Every step rebuilds all lists and accounts (see `audit`); here a second model, which knows only
//! what crossed the boundary, says what was SACKed and acknowledged.

use super::path::{Fate, Path};
use super::*;
use std::collections::BTreeMap;

/// Per segment queued: its end and whether the ACKs so far cover it.
#[derive(Default)]
struct Model {
    segs: BTreeMap<Off, (Off, bool)>,
}

impl Model {
    fn ack(&mut self, una: Off, blocks: &[(Off, Off)], nxt: Off) {
        self.segs.retain(|_, (end, _)| *end > una);
        if let Some((&start, _)) = self.segs.first_key_value() {
            if start < una {
                let seg = self.segs.remove(&start).unwrap();
                self.segs.insert(una, seg);
            }
        }
        for &(left, right) in blocks {
            if right > nxt || left >= right {
                continue;
            }
            for (start, (end, sacked)) in self.segs.range_mut(left..) {
                *sacked |= *start >= left && *end <= right && *end <= nxt;
            }
        }
    }

    fn sacked(&self) -> u32 {
        self.segs.iter().filter(|(_, (_, s))| *s).map(|(start, (end, _))| (end - start) as u32).sum()
    }
}

fn history(seed: u64, sack: bool) {
    println!("seed {seed}, sack {sack}");
    let mut dice = Dice::new(seed);
    let mut b = Bed::with(SenderParams { sack, ..params() });
    b.pool = SegPool::new(64 + dice.below(64) as u32);
    let mut model = Model::default();
    for _ in 0..300 {
        b.link_full = dice.per_mille(300);
        match dice.below(10) {
            0..=2 => {
                for _ in 0..dice.below(8) {
                    let seg = b.seg(1 + dice.below(1448) as u16, dice.per_mille(20));
                    if b.s.enqueue(&mut b.pool, &seg).is_ok() {
                        model.segs.insert(seg.start, (seg.end(), false));
                    }
                }
            }
            3..=4 => {
                b.pump();
            }
            5 => {
                b.run(dice.below(400));
            }
            _ => acknowledge(&mut b, &mut model, &mut dice),
        }
        b.audit();
        if sack {
            assert!(b.s.sacked() <= model.sacked(), "more SACKed than Y said");
            if b.s.resent_segments() == 0 {
                assert_eq!(b.s.sacked(), model.sacked());
            }
        }
        assert!(b.s.in_flight() <= (b.s.nxt() - b.s.una()) as u32);
    }
    // Whatever happened, it can be ended.
    for _ in 0..10_000 {
        if b.s.is_idle() {
            break;
        }
        b.right = b.s.end();
        b.run(300);
        b.wait(1);
        b.ack(b.s.nxt());
        b.pump();
    }
    assert!(b.s.is_idle());
    assert_eq!(b.pool.free(), b.pool.capacity());
    let mut frames: Vec<_> = b.freed.iter().map(|f| f.0).collect();
    frames.dedup();
    assert_eq!(frames.len(), b.freed.len(), "a frame freed twice");
}

fn acknowledge(b: &mut Bed, model: &mut Model, dice: &mut Dice) {
    let (una, nxt) = (b.s.una(), b.s.nxt());
    if una == nxt {
        return;
    }
    let somewhere = |dice: &mut Dice| una + dice.below(nxt - una + 1);
    let ack = if dice.per_mille(500) { somewhere(dice) } else { una };
    // Not just before something SACKed: that would be reneging.
    let mut ack = ack;
    while let Some((_, (end, true))) = model.segs.range(..=ack).next_back().filter(|(_, (end, _))| *end > ack) {
        ack = *end;
    }
    let mut blocks = Vec::new();
    for _ in 0..dice.below(5) {
        // Mostly segment boundaries, as a receiver would have them; never at una (that would be reneging).
        let (x, y) = (somewhere(dice), somewhere(dice));
        let snap = |off: Off| model.segs.range(..=off).next_back().map_or(off, |(s, _)| *s);
        let (x, y) = if dice.per_mille(900) { (snap(x), snap(y)) } else { (x, y) };
        let block = (x.min(y), x.max(y));
        if block.0 > ack.max(una) && block.1 <= nxt {
            blocks.push(block);
        }
    }
    blocks.truncate(4);
    let dsack = dice.per_mille(100).then(|| (una.saturating_sub(1000), una));
    b.right = (nxt + dice.below(30_000)).max(b.right.min(nxt));
    let input = AckIn {
        sack: if b.s.params.sack { &blocks } else { &[] },
        dsack: dsack.filter(|_| b.s.params.sack),
        pure: dice.per_mille(700),
        ts_ecr: Some(dice.below(10) as u32),
        ..b.plain(ack)
    };
    b.wait(dice.below(80));
    model.ack(ack.max(una), input.sack, nxt);
    let before = b.s.una();
    let out = b.on(input);
    assert_eq!(b.s.una(), ack.max(before));
    assert_eq!(out.advanced, ack > before);
}

#[test]
fn random_acks_sacks_and_silences_keep_every_account_right() {
    for seed in 0..400 {
        history(seed, true);
        history(seed, false);
    }
}

#[test]
fn random_paths_deliver_everything_whatever_they_do() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut dice = Dice::new(seed);
        let sack = dice.per_mille(700);
        let rtt = 10 + dice.below(300);
        let rate = dice.below(50);
        let mut p = Path::new(SenderParams { sack, ..params() }, rtt, rate, 20 + dice.below(500));
        let (loss, late, back) = (dice.below(80), dice.below(50), dice.below(80));
        let mut d = Dice::new(seed + 1);
        p.fate = Box::new(move |_, _| match () {
            () if d.per_mille(loss) => Fate::Lose,
            () if d.per_mille(late) => Fate::Late(d.below(60) * MS),
            () => Fate::Pass,
        });
        let mut d = Dice::new(seed + 2);
        p.ack_fate = Box::new(move |_| if d.per_mille(back) { Fate::Lose } else { Fate::Pass });
        let freeze = 500 + dice.below(1000);
        p.frozen = (freeze, freeze + dice.below(5000));
        p.refill = false;
        p.b.queue(500);
        p.run_to(300_000);
        assert_eq!(p.received(), 500_000, "una {} of 500,001", p.b.s.una());
        assert!(p.b.s.is_idle());
        assert_eq!(p.b.freed.len(), 500);
    }
}
