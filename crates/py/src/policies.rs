//! Policies asked about, without a wire.

use std::net::{IpAddr, Ipv6Addr};

use pyo3::prelude::*;
use smartwire_worker as worker;

use crate::guard;

/// The policies that a document has for connections: (subscriber's address, server's address, server's port, outer VLAN)
/// each; None where none matches.
#[pyfunction]
pub fn policies_of(
    py: Python<'_>,
    document: &str,
    connections: Vec<(IpAddr, IpAddr, u16, u16)>,
) -> PyResult<Vec<Option<String>>> {
    guard::run(py, || {
        let ruling = worker::Ruling::read(document)?;
        let of = |(access, core, port, vlan)| ruling.policy_of(mapped(access), mapped(core), port, vlan);
        Ok::<_, smartwire_io::IoError>(connections.into_iter().map(of).collect())
    })
}

fn mapped(addr: IpAddr) -> Ipv6Addr {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
