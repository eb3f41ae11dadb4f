//! The two questions that only rtnetlink answers: where a veth's other end is, and which namespace a number means.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::error::IoError;
use crate::sys;

const RTM_GETLINK: u16 = 18;
const RTM_GETNSID: u16 = 90;
const IFLA_MASTER: u16 = 10;
const IFLA_LINK: u16 = 5;
const IFLA_LINK_NETNSID: u16 = 37;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const HEADER: usize = 16;
const IFINFOMSG: usize = 16;
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
    let mut body = [0u8; IFINFOMSG];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    let reply = ask(RTM_GETLINK, &body)?;
    let mut info = LinkInfo::default();
    for (kind, value) in attributes(reply.get(HEADER + IFINFOMSG..).unwrap_or(&[])) {
        let Some(word) = value.get(..4).and_then(|v| v.try_into().ok()).map(u32::from_ne_bytes) else { continue };
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
    let mut body = [0u8; RTGENMSG + 8];
    body[RTGENMSG..RTGENMSG + 2].copy_from_slice(&8u16.to_ne_bytes());
    body[RTGENMSG + 2..RTGENMSG + 4].copy_from_slice(&NETNSA_FD.to_ne_bytes());
    body[RTGENMSG + 4..].copy_from_slice(&ns.as_raw_fd().to_ne_bytes());
    let reply = ask(RTM_GETNSID, &body).ok()?;
    let found = attributes(reply.get(HEADER + RTGENMSG..)?).find(|(kind, _)| *kind == NETNSA_NSID)?;
    let id = i32::from_ne_bytes(found.1.get(..4)?.try_into().ok()?);
    (id >= 0).then_some(id)
}

/// Sends one request and returns the one reply.
fn ask(kind: u16, body: &[u8]) -> Result<Vec<u8>, IoError> {
    let doing = "ask the kernel about an interface (rtnetlink)";
    // SAFETY: socket takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    let fd: OwnedFd = sys::owned(fd, doing)?;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(body);
    // SAFETY: `message` is readable for its length.
    let sent = unsafe { libc::send(fd.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    if sent < 0 {
        return Err(IoError::last(doing));
    }
    let mut reply = vec![0u8; 32 * 1024];
    // SAFETY: `reply` is writable for its length.
    let got = unsafe { libc::recv(fd.as_raw_fd(), reply.as_mut_ptr().cast(), reply.len(), 0) };
    if got < HEADER as isize {
        return Err(IoError::last(doing));
    }
    reply.truncate(got as usize);
    if u16::from_ne_bytes([reply[4], reply[5]]) == NLMSG_ERROR {
        let code = reply.get(16..20).map_or(0, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        return Err(IoError::os(doing, std::io::Error::from_raw_os_error(-code)));
    }
    Ok(reply)
}

/// The attributes in `bytes`: (type, value), ending at the first that makes no sense.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
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
