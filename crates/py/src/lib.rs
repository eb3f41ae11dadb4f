//! Python bindings: conversions, no logic.
//!
//! The Python package's private module `smartwire._native`. Long calls release the GIL. Every Rust error becomes a
//! `smartwire.Error` that carries the sentence, and so does a panic: a person never sees a traceback.

mod bare;
mod bench;
mod emulator;
mod fuzz;
mod guard;
mod journal;
mod policies;
mod proxy;
mod reasons;
mod script;
mod sim;
mod wire;

use pyo3::prelude::*;

/// Tables for a million connections are worth huge pages.
#[global_allocator]
static MEMORY: smartwire_io::huge::Large = smartwire_io::huge::Large;

/// The private extension module; `python/smartwire/_native.pyi` describes it.
#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::bare::Bare;
    #[pymodule_export]
    use super::bench::bench_engine;
    #[pymodule_export]
    use super::emulator::{profile, profile_names, Emulator};
    #[pymodule_export]
    use super::fuzz::{fuzz_again, fuzz_worlds};
    #[pymodule_export]
    use super::journal::replay_journal;
    #[pymodule_export]
    use super::policies::policies_of;
    #[pymodule_export]
    use super::proxy::{proxy_is_on, proxy_take_off, BpfLink, BpfMap, BpfProgram};
    #[pymodule_export]
    use super::reasons::reasons;
    #[pymodule_export]
    use super::script::{run_script, script_from, script_variants};
    #[pymodule_export]
    use super::sim::{replay, simulate};
    #[pymodule_export]
    use super::wire::{copper, guard_wire, unwire, Wire};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        guard::quiet_panics();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
