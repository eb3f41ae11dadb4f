//! Packet scripts.

use pyo3::prelude::*;
use smartwire_sim::script::{from_capture, run_text, Choice, VARIANTS};

use crate::guard;
use crate::sim::{packets, Captured};

/// Runs the packet script of this text in all variants, or in one, and returns its report as JSON
/// (crates/sim/src/script/report.rs: Report).
#[pyfunction]
#[pyo3(signature = (path, text, variant=None, verbose=false))]
pub fn run_script(py: Python<'_>, path: &str, text: &str, variant: Option<String>, verbose: bool) -> PyResult<String> {
    let choice = Choice { variant, verbose };
    let report = guard::run(py, || Ok::<_, String>(run_text(path, text, &choice)))?;
    serde_json::to_string(&report).map_err(guard::error)
}

/// Writes the script of a connection in a capture (crates/sim/src/script/record.rs).
#[pyfunction]
#[pyo3(signature = (name, frames, flow=None, most=400))]
pub fn script_from(py: Python<'_>, name: &str, frames: Vec<Captured>, flow: Option<usize>, most: usize) -> PyResult<String> {
    guard::run(py, || {
        from_capture(name, &packets(&frames), flow, most)
    })
}

/// Names of the circumstances in which each script runs.
#[pyfunction]
pub fn script_variants() -> Vec<String> {
    VARIANTS.iter().map(|v| v.name()).collect()
}
