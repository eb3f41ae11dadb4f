//! The forwarder without an engine, for the lab.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use smartwire_worker::Options;

use crate::guard;

/// Frames between two interfaces through user space and nothing else.
#[pyclass(frozen, module = "smartwire._native")]
pub struct Bare {
    access: String,
    core: String,
    ready: AtomicBool,
    stop: AtomicBool,
}

#[pymethods]
impl Bare {
    #[new]
    fn new(access: String, core: String) -> Bare {
        Bare { access, core, ready: AtomicBool::new(false), stop: AtomicBool::new(false) }
    }

    fn run(&self, py: Python<'_>) -> PyResult<()> {
        let options = Options::new(&self.access, &self.core, PathBuf::new(), PathBuf::new());
        let ready = || self.ready.store(true, Ordering::Release);
        guard::run(py, || smartwire_worker::forward(&options, &self.stop, ready))
    }

    #[getter]
    fn ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}
