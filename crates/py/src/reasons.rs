//! Reason codes with their names and sentences.

use pyo3::prelude::*;
use smartwire_engine::{Finding, RefuseReason, StopReason};

/// A reason's name and its sentence.
type Text = (String, &'static str);

/// `(refuse reasons, stop reasons, findings)`, each a list of `(name, sentence)` in the order of the codes.
#[pyfunction]
pub fn reasons() -> (Vec<Text>, Vec<Text>, Vec<Text>) {
    let refuse = RefuseReason::ALL.iter().map(|r| (r.name(), r.text())).collect();
    let stop = StopReason::ALL.iter().map(|r| (r.name(), r.text())).collect();
    let found = Finding::ALL.iter().map(|f| (f.name(), f.text())).collect();
    (refuse, stop, found)
}
