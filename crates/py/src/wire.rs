//! A running wire.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use smartwire_engine::api::Target;
use smartwire_engine::{FlowInfo, FlowKey, Mode, SubscriberInfo};
use smartwire_worker as worker;

use crate::guard;

/// Two (or 2n) interfaces joined into a wire, with threads of its own that never touch Python.
#[pyclass(frozen, module = "smartwire._native")]
pub struct Wire {
    wire: worker::Wire,
    subscriber_v6_prefix: u8,
}

#[pymethods]
impl Wire {
    #[new]
    #[pyo3(signature = (pairs, stats, events, *, io = "auto", workers = 1, observe = false, mend = false,
                        fill_checksums = false, frames = None, max_flows = None, journal = None, seed = None,
                        policies = None, ipv6_prefix_length = None, subscribers_by = "address"))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        pairs: Vec<(String, String)>,
        stats: PathBuf,
        events: PathBuf,
        io: &str,
        workers: usize,
        observe: bool,
        mend: bool,
        fill_checksums: bool,
        frames: Option<u32>,
        max_flows: Option<u32>,
        journal: Option<PathBuf>,
        seed: Option<u64>,
        policies: Option<&str>,
        ipv6_prefix_length: Option<u8>,
        subscribers_by: &str,
    ) -> PyResult<Wire> {
        let mut options = worker::Options::new("", "", stats, events);
        options.pairs = pairs;
        options.io = match io {
            "auto" => worker::IoChoice::Auto,
            "xdp" => worker::IoChoice::Xdp,
            "packet" => worker::IoChoice::Packet,
            other => return Err(guard::error(format!("{other:?} is no way to receive frames: use auto, xdp or packet."))),
        };
        options.workers = workers;
        options.mend = mend;
        options.fill_checksums = fill_checksums;
        options.frames = frames;
        options.journal = journal;
        options.seed = seed;
        options.engine.observe = observe;
        options.engine.subscriber_by_vlan = match subscribers_by {
            "address" => false,
            "outer-vlan" => true,
            other => return Err(guard::error(format!("{other:?} tells no subscribers apart: use address or outer-vlan."))),
        };
        if let Some(length) = ipv6_prefix_length {
            options.engine.subscriber_v6_prefix = length;
        }
        if let Some(text) = policies {
            options.policies = Some(guard::run(py, || worker::Ruling::read(text))?);
        }
        if let Some(flows) = max_flows {
            options.engine.max_flows = flows;
            options.engine.max_active = options.engine.max_active.min(flows);
        }
        let subscriber_v6_prefix = options.engine.subscriber_v6_prefix;
        let wire = guard::run(py, || worker::Wire::open(&options))?;
        Ok(Wire { wire, subscriber_v6_prefix })
    }

    fn describe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let about = self.wire.about();
        let d = PyDict::new(py);
        d.set_item("io", &about.io)?;
        d.set_item("why", &about.why)?;
        d.set_item("frames", about.frames)?;
        d.set_item("frame_bytes", about.frame_bytes)?;
        d.set_item("ring", about.ring)?;
        d.set_item("mtu", about.mtu)?;
        Ok(d)
    }

    #[pyo3(name = "order")]
    fn give_order(&self, py: Python<'_>, r#do: &str, target: &Bound<'_, PyDict>, limit_s: f64) -> PyResult<u32> {
        let verb = match r#do {
            "drain" => worker::Verb::Drain,
            "bypass" => worker::Verb::Bypass,
            "resume" => worker::Verb::Resume,
            other => return Err(guard::error(format!("{other:?} is no order: use drain, bypass or resume."))),
        };
        let (target, exact_scope) = self.target(target)?;
        let limit = Duration::try_from_secs_f64(limit_s.max(0.0)).unwrap_or(Duration::MAX);
        guard::run(py, || self.wire.order(worker::Order { verb, target, exact_scope, limit }))
    }

    fn flows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let flows = guard::run(py, || self.wire.flows())?;
        let list = PyList::empty(py);
        for f in &flows {
            list.append(flow(py, f)?)?;
        }
        Ok(list)
    }

    fn subscribers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let subscribers = guard::run(py, || self.wire.subscribers())?;
        let list = PyList::empty(py);
        for s in &subscribers {
            list.append(subscriber(py, s)?)?;
        }
        Ok(list)
    }

    fn set_policies(&self, py: Python<'_>, document: &str) -> PyResult<()> {
        guard::run(py, || self.wire.set_policies(&worker::Ruling::read(document)?))
    }

    fn policies(&self, py: Python<'_>) -> PyResult<[Vec<(String, u64)>; 2]> {
        guard::run(py, || self.wire.policies())
    }

    fn drained(&self) -> bool {
        self.wire.drained()
    }

    fn failed(&self) -> Option<String> {
        self.wire.failed()
    }

    fn news(&self) -> Vec<String> {
        self.wire.news()
    }

    #[pyo3(signature = (path, target, *, snap = 262_144, packets = None))]
    fn capture(
        &self,
        py: Python<'_>,
        path: PathBuf,
        target: &Bound<'_, PyDict>,
        snap: usize,
        packets: Option<u64>,
    ) -> PyResult<()> {
        let select = match self.target(target)?.0 {
            Target::Wire => worker::Select::All,
            Target::Subscriber(s) => {
                let bits = if s.addr.to_ipv4_mapped().is_some() { 128 } else { u32::from(self.subscriber_v6_prefix) };
                worker::Select::Subscriber(s.addr, bits)
            }
            Target::Flow(f) => worker::Select::Flow([(f.access_addr, f.access_port), (f.core_addr, f.core_port)]),
        };
        guard::run(py, || self.wire.capture(&path, select, snap, packets.unwrap_or(u64::MAX)))
    }

    fn captured(&self) -> Option<(u64, u64, bool)> {
        self.wire.captured().map(|c| (c.packets, c.dropped, c.done))
    }

    fn capture_end(&self, py: Python<'_>) -> Option<(u64, u64, bool)> {
        py.detach(|| self.wire.capture_end()).map(|c| (c.packets, c.dropped, c.done))
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.wire.stop());
    }
}

impl Wire {
    /// A target as python/smartwire/wire/target.py writes it, and whether it names an encapsulation.
    fn target(&self, target: &Bound<'_, PyDict>) -> PyResult<(Target, bool)> {
        let text = |key: &str| -> PyResult<String> {
            target.get_item(key)?.ok_or_else(|| guard::error(format!("The target has no {key}.")))?.extract()
        };
        let address = |key: &str| -> PyResult<Ipv6Addr> {
            let ip: IpAddr = text(key)?.parse().map_err(|_| guard::error(format!("{key} is no address.")))?;
            Ok(match ip {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            })
        };
        let port = |key: &str| -> PyResult<u16> {
            target.get_item(key)?.ok_or_else(|| guard::error(format!("The target has no {key}.")))?.extract()
        };
        let scope: Option<u64> = target.get_item("scope")?.map(|s| s.extract()).transpose()?;
        let exact = scope.is_some();
        let scope = scope.unwrap_or(0);
        let target = match text("kind")?.as_str() {
            "wire" => Target::Wire,
            "subscriber" => {
                Target::Subscriber(worker::subscriber_of(address("addr")?, self.subscriber_v6_prefix, scope))
            }
            "flow" => Target::Flow(FlowKey {
                access_addr: address("access_addr")?,
                core_addr: address("core_addr")?,
                access_port: port("access_port")?,
                core_port: port("core_port")?,
                scope,
            }),
            other => return Err(guard::error(format!("{other:?} is no kind of target."))),
        };
        Ok((target, exact))
    }
}

/// Watches over the wire of a port until the other end of a pipe is closed or there is nothing to watch over; resets
/// what would hang.
#[pyfunction]
pub fn guard_wire(py: Python<'_>, port: String, lifeline: i32) -> PyResult<()> {
    guard::run(py, || worker::guard(&port, lifeline))
}

/// Takes everything of Smartwire off two interfaces; False if nothing was there.
#[pyfunction]
pub fn unwire(py: Python<'_>, access: String, core: String) -> PyResult<bool> {
    guard::run(py, || worker::unwire(&access, &core))
}

/// Joins two interfaces by the copper wire alone; True if they were so before.
#[pyfunction]
pub fn copper(py: Python<'_>, access: String, core: String) -> PyResult<bool> {
    guard::run(py, || worker::copper(&access, &core))
}

fn address(addr: Ipv6Addr) -> String {
    addr.to_ipv4_mapped().map_or_else(|| addr.to_string(), |v4| v4.to_string())
}

fn flow<'py>(py: Python<'py>, f: &FlowInfo) -> PyResult<Bound<'py, PyDict>> {
    let d = PyDict::new(py);
    d.set_item("access_addr", address(f.key.access_addr))?;
    d.set_item("access_port", f.key.access_port)?;
    d.set_item("core_addr", address(f.key.core_addr))?;
    d.set_item("core_port", f.key.core_port)?;
    d.set_item("scope", f.key.scope)?;
    let mode = match f.mode {
        Mode::Observe => "observe",
        Mode::Optimize => "optimize",
        Mode::Drain => "drain",
    };
    d.set_item("mode", mode)?;
    d.set_item("custody_bytes", f.custody)?;
    d.set_item("in_flight_bytes", f.in_flight)?;
    d.set_item("delivered_bytes", f.delivered)?;
    d.set_item("srtt_ns", f.srtt_ns)?;
    d.set_item("cwnd_bytes", f.cwnd)?;
    Ok(d)
}

fn subscriber<'py>(py: Python<'py>, s: &SubscriberInfo) -> PyResult<Bound<'py, PyDict>> {
    let d = PyDict::new(py);
    let in_vlan = s.key.addr.is_unspecified() && s.key.scope != 0;
    let name = if in_vlan { format!("vlan {}", s.key.scope & 0x0fff) } else { address(s.key.addr) };
    d.set_item("addr", name)?;
    d.set_item("scope", s.key.scope)?;
    d.set_item("flows", s.flows)?;
    d.set_item("in_flight_bytes", s.in_flight)?;
    d.set_item("budget_bytes", s.budget)?;
    d.set_item("rate_bytes_per_s", s.rate)?;
    d.set_item("min_rtt_ns", s.min_rtt_ns)?;
    d.set_item("rtt_ns", s.rtt_ns)?;
    Ok(d)
}
