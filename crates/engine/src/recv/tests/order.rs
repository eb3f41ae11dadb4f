//! Every order of five segments, in the manner of FreeBSD's rcv-data-segments scripts, checked against a model of bytes.

use super::*;

/// What is known of each byte: which copies arrived, and in which segment it went to the sender.
struct Model {
    arrived: Vec<Vec<u32>>,
}

impl Model {
    fn new(end: Off) -> Model {
        Model { arrived: vec![Vec::new(); end as usize + 2] }
    }

    fn arrive(&mut self, copy: u32, seg: &SegIn) {
        for off in seg.seq..seg.end() {
            self.arrived[off as usize].push(copy);
        }
    }

    /// A held or delivered byte comes from a copy that contained it, and the SACK blocks tell the truth.
    fn check(&self, b: &Bed, f: &AckFields) {
        for seg in &b.delivered {
            for off in seg.start..seg.end() {
                assert!(self.arrived[off as usize].contains(&seg.frame.0), "byte {off} from {:?}", seg.frame);
            }
        }
        for (left, right) in f.sack().iter().skip(usize::from(f.dsack)) {
            assert!(left < right && *left > f.ack);
            let mut held = *left;
            for seg in b.r.overlapping(&b.pool, *left, *right) {
                assert_eq!(seg.start.max(*left), held, "a gap within a block");
                held = seg.end().min(*right);
            }
            assert_eq!(held, *right, "a block of bytes that are not held");
        }
        if f.dsack {
            let (left, right) = f.sack()[0];
            assert!((left..right).all(|off| self.arrived[off as usize].len() > 1), "a DSACK of what came once");
        }
    }
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(n - 1) {
        for at in 0..n {
            let mut p = shorter.clone();
            p.insert(at, n - 1);
            all.push(p);
        }
    }
    all
}

/// Feeds `segs` in the order given, then again from the lowest until all is in; everything is checked at every step.
fn play(segs: &[(Off, u32, bool)], order: &[usize], places: u32) {
    let last = segs.iter().map(|s| s.0 + u64::from(s.1) + u64::from(s.2)).max().unwrap();
    let mut b = Bed::with(params(), places);
    let mut model = Model::new(last);
    let step = |b: &mut Bed, model: &mut Model, i: usize| {
        let (seq, len, fin) = segs[i];
        let seg = SegIn { fin, ..b.seg(seq, len) };
        model.arrive(b.next_frame + 1, &seg);
        let verdict = b.feed(&seg);
        let f = b.ack();
        model.check(b, &f);
        if let (Verdict::Ahead(_), Some(first)) = (verdict, f.sack().get(usize::from(f.dsack))) {
            let kept = b.r.overlapping(&b.pool, seg.seq, seg.end()).any(|s| s.start >= first.0 && s.end() <= first.1);
            assert!(kept || b.pool.free() == 0, "{order:?}: the first block holds what came last");
        }
        assert_eq!(b.held.len() as u32, places - b.pool.free());
        assert_eq!(b.r.held(), b.held.len() as u32 * 2048);
    };
    for &i in order {
        step(&mut b, &mut model, i);
    }
    for _ in 0..segs.len() {
        for i in 0..segs.len() {
            step(&mut b, &mut model, i);
        }
    }
    assert_eq!(b.r.rcv_nxt(), last, "{order:?}");
    assert_eq!(b.r.fin().is_some(), segs.iter().any(|s| s.2));
    assert!(b.held.is_empty(), "{order:?}: {} frames left", b.held.len());
}

fn every_order(segs: &[(Off, u32, bool)]) {
    for order in permutations(segs.len()) {
        for places in [5, 2, 1, 0] {
            play(segs, &order, places);
        }
    }
}

#[test]
fn five_segments_arrive_in_every_order() {
    every_order(&[(1, 100, false), (101, 100, false), (201, 100, false), (301, 100, false), (401, 100, true)]);
}

#[test]
fn five_segments_of_unequal_size_and_a_bare_fin_arrive_in_every_order() {
    every_order(&[(1, 1, false), (2, 999, false), (1001, 7, false), (1008, 300, false), (1308, 0, true)]);
}

#[test]
fn five_overlapping_segments_arrive_in_every_order() {
    every_order(&[(1, 150, false), (101, 150, false), (51, 70, false), (201, 100, false), (241, 160, true)]);
}

#[test]
fn small_ones_inside_a_large_one_arrive_in_every_order() {
    every_order(&[(1, 500, false), (101, 50, false), (201, 50, false), (301, 50, false), (451, 100, false)]);
}

#[test]
fn duplicates_arrive_in_every_order() {
    every_order(&[(1, 100, false), (1, 100, false), (101, 100, false), (101, 100, false), (201, 100, true)]);
}

#[test]
fn segments_that_repeat_a_byte_of_the_neighbour_arrive_in_every_order() {
    every_order(&[(1, 101, false), (101, 101, false), (201, 101, false), (301, 101, false), (401, 100, false)]);
}

#[test]
fn random_segments_over_a_random_pool_always_end_whole() {
    for seed in 0..300u64 {
        let mut dice = Dice::new(seed);
        let mut segs = Vec::new();
        // Cover everything once, then throw in anything.
        let mut at = 1;
        while at < 1000 {
            let len = 1 + dice.below(200);
            segs.push((at, len as u32, false));
            at += len;
        }
        segs.push((at, 0, true));
        for _ in 0..dice.below(12) {
            let start = 1 + dice.below(at - 1);
            segs.push((start, 1 + dice.below((at - start).min(300)) as u32, false));
        }
        let mut order: Vec<usize> = (0..segs.len()).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, dice.below(i as u64 + 1) as usize);
        }
        println!("seed {seed}");
        play(&segs, &order, dice.below(20) as u32);
    }
}
