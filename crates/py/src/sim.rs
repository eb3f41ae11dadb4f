//! Virtual time: runs over link models.

use pyo3::prelude::*;
use smartwire_sim::measure;

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
