//! The maps that a wire and a proxy on its ports share (bpf/proxied.h): the proxy's flows and rules, and whether it is
//! open. They are the wire's, made with it, and empty until a proxy fills them.

use std::os::fd::OwnedFd;

use super::bpf::{self, MapKind};
use super::layout::{PX_CHUNK, PX_CONTROL, PX_FLOW, PX_KEY, PX_SET};
use super::SteerError;

/// How the programs call them.
const SYMBOLS: [&str; 5] = ["px_control_map", "px_tables_map", "px_ranges_map", "px_numbers_map", "px_classes_map"];

/// The maps, in the order of [`SYMBOLS`].
pub(super) struct Shared {
    maps: Vec<OwnedFd>,
}

impl Shared {
    pub(super) fn create() -> Result<Shared, SteerError> {
        let of_arrays = |name, entries, value| bpf::map_of_maps(name, entries, &bpf::inner_array(name, value, 1)?);
        let flows = bpf::map_create(MapKind::Hash, "px_flows", (PX_KEY, PX_FLOW), 1, false)?;
        Ok(Shared {
            maps: vec![
                bpf::map_create(MapKind::Array, "px_control", (4, PX_CONTROL), 1, false)?,
                bpf::map_of_maps("px_tables", 1, &flows)?,
                of_arrays("px_ranges", 4, PX_CHUNK)?,
                of_arrays("px_numbers", 2, 4)?,
                of_arrays("px_classes", 2, PX_SET)?,
            ],
        })
    }

    /// Those of a wire that is there; `take` gives a map of it by the name that the kernel has.
    pub(super) fn find(take: impl FnMut(&str) -> Result<OwnedFd, SteerError>) -> Result<Shared, SteerError> {
        let names = SYMBOLS.iter().map(|symbol| symbol.trim_end_matches("_map"));
        Ok(Shared { maps: names.map(take).collect::<Result<_, _>>()? })
    }

    pub(super) fn get(&self, symbol: &str) -> Option<&OwnedFd> {
        self.maps.get(SYMBOLS.iter().position(|s| *s == symbol)?)
    }

    /// Ties them to a program that does not name them, so that they can be found from it.
    pub(super) fn bind(&self, program: &OwnedFd) -> Result<(), SteerError> {
        let bound = self.maps.iter().try_for_each(|map| bpf::prog_bind_map(program, map));
        bound.map_err(|e| SteerError::kernel("tie the proxy's maps to the copper wire", e))
    }
}
