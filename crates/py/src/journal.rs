//! Replaying a journal.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use smartwire_worker as worker;

use crate::guard;

/// Runs a journal through an engine in virtual time and compares its output with what was recorded.
#[pyfunction]
pub fn replay_journal(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let r = guard::run(py, || worker::replay_journal(&path))?;
    let d = PyDict::new(py);
    d.set_item("identical", r.first_difference.is_none())?;
    d.set_item("first_difference", r.first_difference)?;
    d.set_item("calls", r.calls)?;
    d.set_item("frames_in", r.frames_in)?;
    d.set_item("frames_out", r.frames_out)?;
    d.set_item("bytes_out", r.bytes_out)?;
    d.set_item("digest", r.digest)?;
    d.set_item("duration_s", r.duration_ns as f64 / 1e9)?;
    d.set_item("cut_off", r.cut_off)?;
    let counters = PyDict::new(py);
    for (name, value) in smartwire_engine::Stats::NAMES.iter().zip(r.stats.values()) {
        counters.set_item(name, value)?;
    }
    d.set_item("counters", counters)?;
    Ok(d)
}
