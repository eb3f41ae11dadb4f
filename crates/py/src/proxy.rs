//! BPF maps and programs of the proxy engine.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use smartwire_io::steer::{proxy, SteerError};
use smartwire_io::IoError;
use smartwire_worker::steer_error;

use crate::guard;

fn run<T: Send>(py: Python<'_>, body: impl FnOnce() -> Result<T, SteerError> + Send) -> PyResult<T> {
    guard::run(py, || -> Result<T, IoError> { body().map_err(steer_error) })
}

/// A BPF map.
#[pyclass(frozen, module = "smartwire._native")]
pub struct BpfMap {
    map: proxy::Map,
}

#[pymethods]
impl BpfMap {
    #[new]
    fn new(py: Python<'_>, kind: &str, name: &str, key: usize, value: usize, entries: u32) -> PyResult<BpfMap> {
        Ok(BpfMap { map: run(py, || proxy::Map::new(kind, name, key, value, entries))? })
    }

    #[staticmethod]
    fn of_maps(py: Python<'_>, name: &str, entries: u32, inner: &Bound<'_, BpfMap>) -> PyResult<BpfMap> {
        let inner = inner.get();
        Ok(BpfMap { map: run(py, || proxy::Map::of_maps(name, entries, &inner.map))? })
    }

    #[staticmethod]
    fn of_wire(py: Python<'_>, ifindex: u32, symbol: &str) -> PyResult<BpfMap> {
        Ok(BpfMap { map: run(py, || proxy::Map::of_wire(ifindex, symbol))? })
    }

    fn fd(&self) -> RawFd {
        self.map.fd()
    }

    fn update(&self, py: Python<'_>, keys: &[u8], values: &[u8]) -> PyResult<()> {
        run(py, || self.map.update(keys, values))
    }

    fn get<'py>(&self, py: Python<'py>, key: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(run(py, || self.map.get(key))?.map(|v| PyBytes::new(py, &v)))
    }

    fn delete(&self, py: Python<'_>, keys: &[u8]) -> PyResult<usize> {
        run(py, || self.map.delete(keys))
    }

    fn dump<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let (keys, values) = run(py, || self.map.dump())?;
        Ok((PyBytes::new(py, &keys), PyBytes::new(py, &values)))
    }
}

/// What keeps an sk_lookup program attached.
#[pyclass(frozen, module = "smartwire._native")]
pub struct BpfLink {
    fd: OwnedFd,
}

#[pymethods]
impl BpfLink {
    fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// A loaded BPF program of the proxy.
#[pyclass(frozen, module = "smartwire._native")]
pub struct BpfProgram {
    program: proxy::Program,
}

#[pymethods]
impl BpfProgram {
    #[new]
    fn new(py: Python<'_>, which: &str, maps: HashMap<String, Py<BpfMap>>) -> PyResult<BpfProgram> {
        let program = run(py, || proxy::Program::load(which, |name| maps.get(name).map(|m| m.get().map.fd())))?;
        Ok(BpfProgram { program })
    }

    fn attach_tc(&self, py: Python<'_>, ifindex: u32) -> PyResult<()> {
        run(py, || self.program.attach_tc(ifindex))
    }

    fn attach_alone(&self, py: Python<'_>, ifindex: u32) -> PyResult<()> {
        run(py, || self.program.attach_alone(ifindex))
    }

    fn attach_netns(&self, py: Python<'_>, netns: RawFd) -> PyResult<BpfLink> {
        Ok(BpfLink { fd: run(py, || self.program.attach_netns(netns))? })
    }

    fn time(&self, py: Python<'_>, frame: &[u8], repeat: u32) -> PyResult<(u32, u32)> {
        run(py, || self.program.time(frame, repeat))
    }
}

/// Takes the proxy's program off an interface; False if it was not there.
#[pyfunction]
pub fn proxy_take_off(py: Python<'_>, ifindex: u32) -> PyResult<bool> {
    run(py, || proxy::detach_tc(ifindex))
}

/// True if a proxy's program is on the interface.
#[pyfunction]
pub fn proxy_is_on(py: Python<'_>, ifindex: u32) -> PyResult<bool> {
    run(py, || proxy::is_on(ifindex))
}
