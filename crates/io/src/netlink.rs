//! rtnetlink: asking it, and the two questions about interfaces that nobody else answers: where a veth's other end is,
//! and which namespace a number means.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::error::IoError;
use crate::sys;

pub(crate) const RTM_GETLINK: u16 = 18;
const RTM_GETNSID: u16 = 90;
const IFLA_MASTER: u16 = 10;
const IFLA_LINK: u16 = 5;
const IFLA_LINK_NETNSID: u16 = 37;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
pub(crate) const REQUEST: u16 = 1;
pub(crate) const ACK: u16 = 4;
/// Of a reply: more follow.
const MULTI: u8 = 2;
const MSG_ERROR: u16 = 2;
const MSG_DONE: u16 = 3;
const NETLINK_CAP_ACK: i32 = 10;
const NETLINK_EXT_ACK: i32 = 11;
const HEADER: usize = 16;
pub(crate) const IFINFOMSG: usize = 16;
const RTGENMSG: usize = 4; // one byte, padded

/// How an interface hangs together with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkInfo {
    /// Bridge or bond that it belongs to (index).
    pub master: Option<u32>,
    /// Index of the other end of a veth pair, in its own namespace.
    pub link: Option<u32>,
    /// Number of the namespace that `link` is in; `None`: this one.
    pub link_nsid: Option<i32>,
}

/// Looks at interface `index` of the calling thread's namespace.
pub fn link_info(index: u32) -> Result<LinkInfo, IoError> {
    let replies = ask(RTM_GETLINK, REQUEST, &ifinfo(index))
        .map_err(|e| IoError::os("ask the kernel about an interface (rtnetlink)", e.source))?;
    let mut info = LinkInfo::default();
    for (kind, value) in replies.iter().flat_map(|r| attributes(r.get(IFINFOMSG..).unwrap_or(&[]))) {
        let Some(word) = word(value) else { continue };
        match kind {
            IFLA_MASTER => info.master = Some(word),
            IFLA_LINK => info.link = Some(word),
            IFLA_LINK_NETNSID => info.link_nsid = Some(word as i32),
            _ => {}
        }
    }
    Ok(info)
}

/// The number by which the calling thread's namespace knows the namespace behind `ns`; `None`: by none.
pub fn nsid(ns: &File) -> Option<i32> {
    let mut body = vec![0u8; RTGENMSG];
    put(&mut body, NETNSA_FD, &ns.as_raw_fd().to_ne_bytes());
    let replies = ask(RTM_GETNSID, REQUEST, &body).ok()?;
    let mut found = replies.iter().flat_map(|r| attributes(r.get(RTGENMSG..).unwrap_or(&[])));
    let id = word(found.find(|(kind, _)| *kind == NETNSA_NSID)?.1)? as i32;
    (id >= 0).then_some(id)
}

/// What the kernel did not want to do, and its own words about it, if any.
pub(crate) struct Refusal {
    pub source: io::Error,
    pub detail: String,
}

impl From<io::Error> for Refusal {
    fn from(source: io::Error) -> Refusal {
        Refusal { source, detail: String::new() }
    }
}

/// Sends one request and returns the bodies of all replies, in the network namespace of the calling thread.
pub(crate) fn ask(kind: u16, flags: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let fd = open()?;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    // SAFETY: `message` is readable for its length.
    if unsafe { libc::send(fd.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) } < 0 {
        return Err(io::Error::last_os_error().into());
    }
    let mut replies = Vec::new();
    let mut buf = vec![0u8; 64 * 1024];
    loop {
        // SAFETY: `buf` is writable for its length.
        let got = unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), 0) };
        if got < 0 {
            return Err(io::Error::last_os_error().into());
        }
        let mut rest = &buf[..got as usize];
        while rest.len() >= HEADER {
            let len = (word(rest).unwrap_or(0) as usize).clamp(HEADER, rest.len());
            let (kind, several) = (u16::from_ne_bytes([rest[4], rest[5]]), rest[6] & MULTI != 0);
            let body = &rest[HEADER..len];
            match kind {
                MSG_DONE => return Ok(replies),
                MSG_ERROR => return finish(body, replies),
                _ => replies.push(body.to_vec()),
            }
            if !several && flags & ACK == 0 {
                return Ok(replies);
            }
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        }
    }
}

/// An acknowledgement, or the kernel's error with its own words.
fn finish(body: &[u8], replies: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Refusal> {
    let code = word(body).unwrap_or(0) as i32;
    if code == 0 {
        return Ok(replies);
    }
    // The error, the header of the request, then attributes of which the first kind is text.
    let said = attributes(body.get(4 + HEADER..).unwrap_or(&[])).find(|(kind, _)| *kind == 1);
    let detail = said.map_or(String::new(), |(_, value)| text(value));
    Err(Refusal { source: io::Error::from_raw_os_error(-code), detail })
}

fn open() -> io::Result<OwnedFd> {
    // SAFETY: socket takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // Without these the errors are only numbers.
    for option in [NETLINK_CAP_ACK, NETLINK_EXT_ACK] {
        let _ = sys::set_option(fd.as_raw_fd(), libc::SOL_NETLINK, option, &1i32);
    }
    Ok(fd)
}

/// The body of a request about an interface.
pub(crate) fn ifinfo(ifindex: u32) -> Vec<u8> {
    let mut b = vec![0u8; IFINFOMSG];
    b[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    b
}

/// Appends one attribute.
pub(crate) fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(((value.len() + 4) as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// A number at the start of an attribute.
pub(crate) fn word(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?))
}

/// A text that ends with the attribute or with a zero.
pub(crate) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|&b| b == 0).next().unwrap_or(&[])).into_owned()
}

/// The attributes in `bytes`: (type, value), ending at the first that makes no sense.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]));
        let kind = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]) & 0x3fff;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_at_the_first_that_makes_no_sense() {
        let bytes = [6, 0, 1, 0, 9, 9, 0, 0, 8, 0, 2, 0, 1, 2, 3, 4, 3, 0, 0, 0];
        let got: Vec<_> = attributes(&bytes).collect();
        assert_eq!(got, [(1, &[9u8, 9][..]), (2, &[1, 2, 3, 4][..])]);
    }

    #[test]
    fn loopback_has_neither_master_nor_other_end() {
        assert_eq!(link_info(sys::if_index("lo").unwrap()).unwrap(), LinkInfo::default());
    }
}
