//! Measurements of the engine.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use smartwire_worker::bench::{nanoseconds, run, Class, Plan};

use crate::guard;

/// Measures the engine without I/O on the calling thread; see the worker's `bench`.
#[pyfunction]
pub fn bench_engine(py: Python<'_>, flows: u32, packets: u64, seed: u64) -> PyResult<Bound<'_, PyDict>> {
    let report = guard::run(py, || run(&Plan { flows, packets, seed }, nanoseconds))?;
    let classes = PyDict::new(py);
    for (n, name) in Class::NAMES.iter().enumerate() {
        classes.set_item(name, report.ns_of(n))?;
    }
    classes.set_item("timers", report.ns_class_timers)?;
    classes.set_item("handshake", report.ns_handshake)?;
    let d = PyDict::new(py);
    d.set_item("flows", report.flows)?;
    d.set_item("flows_used", report.used)?;
    d.set_item("packets", report.packets)?;
    d.set_item("ns_per_packet", report.ns_per_packet)?;
    d.set_item("ns_per_packet_timers", report.ns_timers)?;
    d.set_item("ns_per_packet_generator", report.ns_generator)?;
    d.set_item("ns_per_packet_by_class", classes)?;
    d.set_item("bytes_per_flow", report.bytes_per_flow)?;
    d.set_item("resident_bytes", report.resident_bytes)?;
    d.set_item("frames_out", report.frames_out)?;
    d.set_item("data_segments_out", report.data_out)?;
    d.set_item("data_segments_lost", report.lost)?;
    d.set_item("payload_copies", report.payload_copies)?;
    d.set_item("retransmitted", report.retransmitted)?;
    d.set_item("probes", report.probes)?;
    d.set_item("damaged", report.damaged)?;
    d.set_item("resets", report.resets)?;
    d.set_item("acknowledged_early_share", report.early as f64 / report.acknowledged.max(1) as f64)?;
    Ok(d)
}
