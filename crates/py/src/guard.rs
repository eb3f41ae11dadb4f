//! The border between Rust's failures and Python's exceptions.

use std::cell::RefCell;
use std::fmt::Display;
use std::panic::{catch_unwind, AssertUnwindSafe};

use pyo3::prelude::*;

pyo3::import_exception!(smartwire.errors, Error);

thread_local! {
    /// Where the last panic of this thread happened and what it said.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps panics off the terminal: the hook only notes what [`run`] then reports as an exception.
pub fn quiet_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let what = info.payload_as_str().unwrap_or("no message").to_owned();
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        PANIC.with(|p| *p.borrow_mut() = format!("{what} ({place})"));
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            default(info);
        }
    }));
}

/// A `smartwire.Error` whose message is the error's own sentence.
pub fn error(e: impl Display) -> PyErr {
    Error::new_err(e.to_string())
}

/// Runs `body` without the GIL; its error, or its panic, becomes a `smartwire.Error`.
pub fn run<T: Send, E: Display + Send>(py: Python<'_>, body: impl FnOnce() -> Result<T, E> + Send) -> PyResult<T> {
    match py.detach(|| catch_unwind(AssertUnwindSafe(body))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(error(e)),
        Err(_) => Err(panicked()),
    }
}

/// The exception for a panic that was just caught on this thread.
fn panicked() -> PyErr {
    let note = PANIC.with(|p| p.take());
    Error::new_err(format!("internal error: {note}. Please report it; RUST_BACKTRACE=1 shows where it comes from."))
}
