//! What can go wrong while steering, each with a sentence that says what to do.

use std::{fmt, io};

/// Why steering could not be set up, read or taken away.
#[derive(Debug)]
pub enum SteerError {
    /// The kernel refused a step: which one, and its answer (with its own words where it gave some).
    Kernel {
        /// What was tried.
        step: String,
        /// The kernel's error.
        source: io::Error,
        /// The kernel's own explanation (netlink extended acknowledgement or verifier log), may be empty.
        detail: String,
    },
    /// The request makes no sense; the sentence says why and what to do.
    Refused(String),
}

impl SteerError {
    pub(crate) fn kernel(step: impl Into<String>, source: io::Error) -> SteerError {
        SteerError::Kernel { step: step.into(), source, detail: String::new() }
    }

    /// The errno of a refusal by the kernel.
    pub fn errno(&self) -> Option<i32> {
        match self {
            SteerError::Kernel { source, .. } => source.raw_os_error(),
            SteerError::Refused(_) => None,
        }
    }
}

impl fmt::Display for SteerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SteerError::Kernel { step, source, detail } => {
                write!(f, "could not {step}: {source}")?;
                if !detail.is_empty() {
                    write!(f, " ({detail})")?;
                }
                if source.raw_os_error() == Some(libc::EPERM) {
                    write!(f, "; run as root")?;
                }
                Ok(())
            }
            SteerError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SteerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SteerError::Kernel { source, .. } => Some(source),
            SteerError::Refused(_) => None,
        }
    }
}
