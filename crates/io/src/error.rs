//! One error type: a sentence that says what went wrong and what mends it.

use std::fmt;
use std::io;

/// What went wrong with ports, sockets or frame memory, as one sentence that names the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoError {
    sentence: String,
    errno: Option<i32>,
}

impl IoError {
    /// An error of our own finding. `sentence` stands alone: what is wrong, and what to do about it.
    pub fn new(sentence: impl Into<String>) -> IoError {
        IoError { sentence: sentence.into(), errno: None }
    }

    /// A system call failed: `doing` says what was being done ("open a packet socket on veth0"). The usual causes get
    /// their fix appended; the rest get the system's own words.
    pub fn os(doing: impl AsRef<str>, err: io::Error) -> IoError {
        let doing = doing.as_ref();
        let errno = err.raw_os_error();
        let sentence = match errno {
            Some(libc::EPERM) | Some(libc::EACCES) => {
                format!("Cannot {doing}: not permitted; run as root (CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF are needed).")
            }
            Some(libc::ENODEV) | Some(libc::ENXIO) => {
                format!("Cannot {doing}: there is no such interface; `ip link` lists those there are.")
            }
            Some(libc::ENETDOWN) => format!("Cannot {doing}: the interface is down; `ip link set dev IFACE up` first."),
            Some(libc::ENOMEM) | Some(libc::ENOBUFS) => {
                format!("Cannot {doing}: out of memory; give fewer frames (--frames) or free some memory.")
            }
            Some(libc::EOPNOTSUPP) => format!("Cannot {doing}: this kernel or driver does not support it."),
            _ => format!("Cannot {doing}: {err}."),
        };
        IoError { sentence, errno }
    }

    /// [`IoError::os`] with the calling thread's `errno`.
    pub fn last(doing: impl AsRef<str>) -> IoError {
        IoError::os(doing, io::Error::last_os_error())
    }

    /// The system's error number, where a system call failed.
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for IoError {}
