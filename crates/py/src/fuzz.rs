//! Random worlds.

use std::time::Duration;

use pyo3::prelude::*;
use smartwire_sim::fuzz::{self, file, Plan};

use crate::guard;

/// What is said of a failure: seed, what went wrong, and the file of the smallest world in which it does, for the first
/// of its kind.
type Failure = (u64, String, Option<String>);

/// Runs the worlds of `seeds` seeds from `from` (crates/sim/src/fuzz). Returns how many were run, how much virtual time
/// passed in them in ns, and what failed. `progress` is called with how many were run and how many failed; what it raises
/// ends the run.
#[pyfunction]
#[pyo3(signature = (from_seed, seeds, jobs, limit_s, shrink_runs, progress))]
pub fn fuzz_worlds(
    py: Python<'_>,
    from_seed: u64,
    seeds: u64,
    jobs: usize,
    limit_s: Option<f64>,
    shrink_runs: u32,
    progress: Py<PyAny>,
) -> PyResult<(u64, u64, Vec<Failure>)> {
    let limit = limit_s.map(|s| Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX));
    let plan = Plan { from: from_seed, seeds, jobs, limit, shrink_runs };
    let mut raised = None;
    let outcome = guard::run(py, || {
        Ok::<_, String>(fuzz::run(&plan, &mut |ran, failed| {
            let told = Python::attach(|py| py.check_signals().and_then(|()| progress.call1(py, (ran, failed))));
            raised = told.err();
            raised.is_none()
        }))
    })?;
    if let Some(error) = raised {
        return Err(error);
    }
    let written = |f: &fuzz::Failure| f.world.as_ref().map(|world| file::write(f.seed, &f.what, world));
    let failures = outcome.failures.iter().map(|f| (f.seed, f.what.clone(), written(f))).collect();
    Ok((outcome.ran, outcome.virtual_ns, failures))
}

/// Runs the world that stands in a file again. Returns what goes wrong in it, or nothing.
#[pyfunction]
pub fn fuzz_again(py: Python<'_>, text: &str) -> PyResult<Option<String>> {
    guard::run(py, || file::read(text).map(|written| fuzz::verdict(&written.world).err()))
}
