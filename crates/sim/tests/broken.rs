//! Tests of the tests: engines with one mistake each (`smartwire_engine::broken`), every one of which a packet script must
//! notice by name, and the random worlds within so many seeds.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;

use smartwire_engine::broken::{self, Broken};
use smartwire_sim::{faults, fuzz};
use smartwire_sim::script::{run_text, Choice};

/// A mistake, the script that notices it, and the seed by which the random worlds have.
const MISTAKES: &[(Broken, &str, u64)] = &[
    (Broken::FinAckedEarly, "close/a_fin_is_acknowledged_only_after_its_receiver_has_done_so", 20),
    (Broken::NoRatchet, "stamps/queued_data_carries_the_newest_timestamp", 20),
    (Broken::CustodyDroppedAtStop, "drain/custody_is_delivered_before_the_flow_is_handed_back", 20),
    (Broken::ResetAtSendersEdge, "reset/a_reset_waits_some_seconds_for_what_is_in_custody", 400),
    (Broken::EdgeRetracted, "window/acknowledgements_slow_down_as_custody_fills", 20),
    (Broken::ChecksumNotVerified, "ack/a_damaged_segment_is_never_acknowledged", 20),
    (Broken::SackNotRenewed, "sack/blocks_on_data_are_the_wires_own", 400),
    (Broken::RawAckPassed, "ack/both_directions_at_once_do_not_disturb_each_other", 20),
    (Broken::PawsSkipped, "stamps/an_old_timestamp_is_dropped_and_answered", 20),
    (Broken::ForgedTimestampLearned, "stamps/a_forged_timestamp_on_a_segment_outside_the_window_is_not_learned", 100),
    (Broken::BeyondTheWindow, "window/nothing_is_sent_beyond_the_receivers_window", 20),
    (Broken::DuplicatesForwarded, "sack/a_segment_that_comes_twice_is_answered_with_dsack", 20),
    (Broken::MarkPassedOn, "ecn/a_mark_is_echoed_here_and_not_passed_on", 20),
    (Broken::ResetBelievedInWindow, "reset/a_near_miss_is_challenged_once", 20),
    (Broken::KeepaliveAnsweredHere, "keepalive/without_custody_the_real_peer_answers", 400),
    (Broken::BookNotWritten, "ack/data_is_acknowledged_at_once_and_goes_on_as_it_is", 20),
    (Broken::AckedWithoutRoom, "memory/a_flow_that_holds_something_drops_what_it_cannot_hold", 200),
    (Broken::NoLastWord, "drain/custody_is_delivered_before_the_flow_is_handed_back", 20),
    (Broken::AckAheadOfData, "stamps/acks_of_the_engine_have_the_number_that_goes_next", 20),
    (Broken::NoProbes, "loss/a_lost_tail_is_probed_for", 20),
    (Broken::FrameLeaked, "drain/what_was_reported_ahead_goes_to_the_receiver_before_the_hand_back", 400),
    (Broken::HoleNotReported, "sack/a_hole_is_reported_with_sack_at_once", 20),
    (Broken::SilentGiveUp, "stop/custody_that_nobody_takes_ends_in_resets", 400),
];

/// Whether something goes wrong with this mistake, a panic among it.
fn noticed(which: Broken, goes_well: impl Fn() -> bool) -> bool {
    broken::set(Some(which));
    let well = catch_unwind(AssertUnwindSafe(goes_well)).unwrap_or(false);
    broken::set(None);
    !well
}

#[test]
fn every_mistake_is_noticed_by_the_script_that_is_named_for_it() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tcp");
    for (which, name, _) in MISTAKES {
        let text = std::fs::read_to_string(scripts.join(name).with_extension("pkt")).unwrap();
        let goes_well = || run_text(name, &text, &Choice::default()).ok;
        assert!(goes_well(), "{name} fails without any mistake");
        assert!(noticed(*which, goes_well), "{name} does not notice {which:?}");
    }
}

/// The mistakes that the worlds do not notice by the seeds that they are said to.
fn missed(mistakes: impl Iterator<Item = &'static (Broken, &'static str, u64)>) -> Vec<Broken> {
    let goes_well = |seed: u64| fuzz::verdict(&faults::world(seed)).is_ok();
    let found = |which, by| (1..=by).any(|seed| noticed(which, || goes_well(seed)) && goes_well(seed));
    mistakes.filter(|(which, _, by)| !found(*which, *by)).map(|m| m.0).collect()
}

/// Those that take more seeds than this have a test of their own, which runs beside.
const RARE: u64 = 20;

#[test]
fn every_mistake_is_noticed_by_the_random_worlds() {
    let missed = missed(MISTAKES.iter().filter(|m| m.2 <= RARE));
    assert!(missed.is_empty(), "the worlds of the first seeds do not notice {missed:?}");
}

#[test]
fn rare_mistakes_are_noticed_by_the_random_worlds_too() {
    let missed = missed(MISTAKES.iter().filter(|m| m.2 > RARE));
    assert!(missed.is_empty(), "the worlds of the first seeds do not notice {missed:?}");
}
