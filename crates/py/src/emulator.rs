//! The radio emulator in real time, between two interfaces, and the built-in link profiles.

use std::sync::atomic::Ordering;

use pyo3::prelude::*;
use smartwire_sim::emulator::run::{run, Handle};
use smartwire_sim::profiles;

use crate::guard;

/// A link emulator between two interfaces of the network namespace that calls `run`.
#[pyclass(frozen, module = "smartwire._native")]
pub struct Emulator {
    spec: String,
    access: String,
    core: String,
    handle: Handle,
}

#[pymethods]
impl Emulator {
    #[new]
    fn new(spec: String, access: String, core: String) -> Emulator {
        Emulator { spec, access, core, handle: Handle::default() }
    }

    fn run(&self, py: Python<'_>) -> PyResult<String> {
        guard::run(py, || run(&self.spec, &self.access, &self.core, &self.handle))
    }

    fn order(&self, order: &str) -> PyResult<()> {
        let order = serde_json::from_str(order).map_err(|e| guard::error(format!("The order is not understood: {e}.")))?;
        self.handle.orders.lock().map_err(guard::error)?.push(order);
        Ok(())
    }

    fn stop(&self) {
        self.handle.stop.store(true, Ordering::Relaxed);
    }
}

/// Names of the built-in profiles.
#[pyfunction]
pub fn profile_names() -> Vec<&'static str> {
    profiles::NAMES.to_vec()
}

/// A built-in profile as JSON.
#[pyfunction]
#[pyo3(signature = (name, seed = 1))]
pub fn profile(name: &str, seed: u64) -> PyResult<String> {
    let profile = profiles::profile(name, seed).map_err(guard::error)?;
    serde_json::to_string(&profile).map_err(guard::error)
}
