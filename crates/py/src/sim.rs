//! Virtual time: runs over link models, and captures.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use smartwire_sim::measure;
use smartwire_sim::replay::{replay as run_capture, Packet};

use crate::guard;

/// Runs a plan (JSON, crates/sim/src/measure.rs: Plan) and returns its report as JSON. `progress` is called with the
/// share that is done; what it raises ends the run.
#[pyfunction]
pub fn simulate(py: Python<'_>, plan: &str, progress: Py<PyAny>) -> PyResult<String> {
    let plan: measure::Plan = serde_json::from_str(plan).map_err(|e| guard::error(format!("The plan is wrong: {e}.")))?;
    let mut raised = None;
    let report = guard::run(py, || {
        measure::run(&plan, &mut |share| {
            let told = Python::attach(|py| py.check_signals().and_then(|()| progress.call1(py, (share,))));
            raised = told.err();
            raised.is_none()
        })
    });
    match raised {
        Some(error) => Err(error),
        None => serde_json::to_string(&report?).map_err(guard::error),
    }
}

/// One captured frame: time in ns, interface, direction, bytes, length on the wire.
pub(crate) type Captured = (u64, u32, u8, PyBackedBytes, usize);

/// The packets that captured frames are.
pub(crate) fn packets(frames: &[Captured]) -> Vec<Packet<'_>> {
    frames
        .iter()
        .map(|(at_ns, interface, direction, frame, length)| Packet {
            at_ns: *at_ns,
            interface: *interface,
            direction: *direction,
            frame,
            length: *length,
        })
        .collect()
}

/// Runs captured frames through the engine and returns what it would have done, as JSON (crates/sim/src/replay).
#[pyfunction]
pub fn replay(py: Python<'_>, frames: Vec<Captured>) -> PyResult<String> {
    let report = guard::run(py, || {
        run_capture(&packets(&frames))
    })?;
    serde_json::to_string(&report).map_err(guard::error)
}
