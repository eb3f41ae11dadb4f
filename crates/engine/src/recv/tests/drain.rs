use super::*;

/// X sends 1,000 bytes per ms with at most 60 kB outstanding; Y acknowledges `rtt` ms after arrival. Returns the delays,
/// ms, between a byte's arrival and its acknowledgement to X, with the time since the drain began.
fn run(rtt: u64, for_ms: u64) -> (Bed, Vec<(u64, u64)>) {
    let mut b = Bed::new().warmed();
    let mut arrived = Vec::new();
    let mut delays = Vec::new();
    let mut next = 0;
    for ms in 0..for_ms {
        if ms == 500 {
            b.r.drain(b.now);
        }
        if b.r.rcv_nxt() - b.r.told_ack() < 60_000 && b.r.rcv_nxt() + 1000 <= b.r.told_right() {
            b.data(b.r.rcv_nxt(), 1000);
            arrived.push((b.r.rcv_nxt(), ms));
        }
        while next < arrived.len() && arrived[next].1 + rtt <= ms {
            b.onward.una = arrived[next].0;
            next += 1;
        }
        b.onward.right = b.onward.una + (1 << 20);
        if b.due().is_some_and(|d| d < MS) {
            let before = b.r.told_ack();
            b.ack();
            for (_, at) in arrived.iter().filter(|(end, _)| (before + 1..=b.r.told_ack()).contains(end)) {
                if ms >= 500 {
                    delays.push((ms - 500, ms - at));
                }
            }
        }
        b.wait(MS);
    }
    (b, delays)
}

#[test]
fn while_draining_the_ack_comes_to_follow_y_and_custody_runs_empty() {
    let (b, delays) = run(80, 3_000);
    assert!(b.r.told_ack() <= b.onward.una, "no custody is left");
    assert!(delays.iter().filter(|(t, _)| *t > 1_000).all(|(_, d)| (80..=125).contains(d)));
}

#[test]
fn the_delay_of_acknowledgements_grows_slowly_enough_for_a_timer_to_follow() {
    let (_, delays) = run(150, 3_000);
    // RFC 6298 with Linux's floor of 200 ms on the variance term: the timer must stay above each delay.
    let (mut srtt, mut var) = (1.0, 0.5f64);
    let mut last = 0;
    for (t, d) in delays {
        let d = d as f64;
        assert!(d < srtt + f64::max(200.0, 4.0 * var), "at {t} ms a delay of {d} ms meets a timer at {srtt} + 200");
        assert!(t - last < 200, "{} ms of silence at {t} ms", t - last);
        last = t;
        var += (f64::abs(d - srtt) - var) / 4.0;
        srtt += (d - srtt) / 8.0;
    }
}

#[test]
fn a_silent_y_gets_no_more_custody_once_the_ramp_is_over() {
    let mut b = Bed::new().warmed();
    b.r.drain(b.now);
    b.wait(2_000 * MS);
    b.data(b.r.rcv_nxt(), 1000);
    b.data(b.r.rcv_nxt(), 1000);
    assert_eq!(b.due(), None);
    b.wait(60_000 * MS);
    assert_eq!(b.due(), None);
    b.onward.una = b.r.rcv_nxt();
    assert_eq!(b.due(), Some(0));
}

#[test]
fn the_edge_stays_put_until_y_s_own_reaches_it() {
    let mut b = Bed::new().warmed();
    let right = b.r.told_right();
    b.r.drain(b.now);
    b.onward.room = 64 << 20;
    b.onward.right = b.onward.una + 128;
    for _ in 0..20 {
        b.data(b.r.rcv_nxt(), 1280);
        b.y_has_all();
        b.onward.right = b.onward.una + 128;
        b.ack();
        assert_eq!(b.r.told_right(), right);
    }
    b.onward.right = right + 128 * 1000;
    assert_eq!(b.due(), None, "there is enough left");
    b.ack();
    assert_eq!(b.r.told_right(), right + 128 * 1000);
}

#[test]
fn what_y_has_in_full_is_acknowledged_in_full() {
    // The rounding of the window would leave a rest that X sends again.
    let mut b = Bed::with(RecvParams { shift: 14, ..params() }, 8).warmed();
    b.ack();
    b.r.drain(b.now);
    b.onward.right = b.onward.una + 128;
    b.data(b.r.rcv_nxt(), 333);
    b.y_has_all();
    assert!(b.due().is_some());
    assert_eq!(b.ack().ack, b.r.rcv_nxt());
}

#[test]
fn the_final_acknowledgement_carries_y_s_own_numbers() {
    let mut b = Bed::new().warmed();
    b.r.drain(b.now);
    b.data(b.r.rcv_nxt(), 1000);
    b.y_has_all();
    b.onward.right = b.onward.una + 128 * 7;
    let f = b.r.compose_final(b.now, &b.onward);
    assert_eq!((f.ack, f.window), (b.onward.una, 7));
}
