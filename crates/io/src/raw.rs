//! A raw Ethernet socket on one interface: every frame in, any frame out, in batches.
//!
//! The lab's emulator and the tests use it; the wire itself has [`crate::packet`] and [`crate::xsk`]. VLAN tags that
//! the kernel strips into packet metadata are put back in band, so a frame is what was on the wire.

use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::error::IoError;
use crate::sys;

/// Frames per system call at most.
pub const BATCH: usize = 64;
/// Room in front of each received frame for a VLAN tag.
const TAG: usize = 4;
/// Room for one PACKET_AUXDATA control message, aligned as cmsghdr needs it.
const CONTROL_WORDS: usize = 6;
const TP_STATUS_CSUMNOTREADY: u32 = 1 << 3;
const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;
/// Socket option of linux/if_packet.h that libc does not name.
const PACKET_IGNORE_OUTGOING: i32 = 23;
const ETH_P_8021Q: u16 = 0x8100;

/// One received frame.
#[derive(Debug)]
pub struct RawFrame<'a> {
    /// Ethernet header first, VLAN tags in band, no FCS.
    pub bytes: &'a [u8],
    /// The sender left the TCP or UDP checksum to hardware that was never there: it is wrong on purpose.
    pub partial_checksum: bool,
    /// The frame was longer than the buffers; `bytes` is its beginning.
    pub truncated: bool,
}

/// How to open a [`RawSocket`].
#[derive(Clone, Copy, Debug)]
pub struct RawOptions {
    /// Longest frame that can be received, bytes.
    pub max_frame: usize,
    /// Receive and send buffer of the socket, bytes (needs CAP_NET_ADMIN beyond the system's limit).
    pub socket_buffer: u32,
    /// Receive frames for other hosts' addresses too.
    pub promiscuous: bool,
    /// Receive at all.
    pub receive: bool,
}

impl RawOptions {
    /// For somebody who only sends.
    pub const SEND_ONLY: RawOptions = RawOptions { max_frame: 0, socket_buffer: 1 << 20, promiscuous: false, receive: false };
}

impl Default for RawOptions {
    fn default() -> RawOptions {
        RawOptions { max_frame: 16 * 1024, socket_buffer: 32 << 20, promiscuous: true, receive: true }
    }
}

/// A non-blocking AF_PACKET socket bound to one interface of the network namespace it was opened in. It never sees
/// frames that this host sends (PACKET_IGNORE_OUTGOING).
pub struct RawSocket {
    fd: OwnedFd,
    index: u32,
    name: String,
    slot: usize,
    buffers: Vec<u8>,
    control: Vec<[u64; CONTROL_WORDS]>,
}

impl RawSocket {
    /// Opens interface `name` of the calling thread's network namespace.
    ///
    /// # Errors
    /// A sentence that says what to do: no such interface, interface down, no root.
    pub fn open(name: &str) -> Result<RawSocket, IoError> {
        RawSocket::open_with(name, RawOptions::default())
    }

    /// As [`RawSocket::open`], by interface index.
    pub fn open_index(index: u32) -> Result<RawSocket, IoError> {
        RawSocket::open_with(&sys::if_name(index)?, RawOptions::default())
    }

    /// As [`RawSocket::open`], with options.
    pub fn open_with(name: &str, options: RawOptions) -> Result<RawSocket, IoError> {
        let index = sys::if_index(name)?;
        let doing = format!("open a packet socket on {name}");
        let fd = socket(&doing)?;
        let raw = fd.as_raw_fd();
        let os = |e| IoError::os(&doing, e);
        sys::set_option(raw, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1i32).map_err(os)?;
        sys::set_option(raw, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32).map_err(os)?;
        set_buffers(raw, options.socket_buffer);
        bind(raw, index, if options.receive { libc::ETH_P_ALL as u16 } else { 0 }).map_err(os)?;
        if options.promiscuous {
            let req = libc::packet_mreq {
                mr_ifindex: index as i32,
                mr_type: libc::PACKET_MR_PROMISC as u16,
                mr_alen: 0,
                mr_address: [0; 8],
            };
            sys::set_option(raw, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &req).map_err(os)?;
        }
        let slot = TAG + options.max_frame;
        Ok(RawSocket {
            fd,
            index,
            name: name.to_owned(),
            slot,
            buffers: vec![0; slot * BATCH],
            control: vec![[0; CONTROL_WORDS]; BATCH],
        })
    }

    /// The descriptor, to poll for readability.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The interface's index.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The interface's name at opening.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hands up to [`BATCH`] frames that are waiting to `each`, in order of arrival, and returns how many; 0 when none
    /// waits. Never blocks.
    pub fn recv(&mut self, mut each: impl FnMut(RawFrame<'_>)) -> Result<usize, IoError> {
        let (n, headers) = self.recv_headers()?;
        for (i, h) in headers.iter().take(n).enumerate() {
            let buf = &mut self.buffers[i * self.slot..(i + 1) * self.slot];
            let room = self.slot - TAG;
            let len = (h.msg_len as usize).min(room);
            let aux = auxdata(&self.control[i], h.msg_hdr.msg_controllen);
            let truncated = h.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            let start = match aux.and_then(stripped_tag) {
                Some(tag) if len >= 12 => {
                    put_tag_back(buf, tag);
                    0
                }
                _ => TAG,
            };
            let partial_checksum = aux.is_some_and(|a| a.status & TP_STATUS_CSUMNOTREADY != 0);
            each(RawFrame { bytes: &buf[start..TAG + len], partial_checksum, truncated });
        }
        Ok(n)
    }

    fn recv_headers(&mut self) -> Result<(usize, [libc::mmsghdr; BATCH]), IoError> {
        // SAFETY: mmsghdr and iovec are plain data for which all zeroes is a valid value.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut iov: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        for (i, (buf, control)) in self.buffers.chunks_exact_mut(self.slot).zip(&mut self.control).enumerate() {
            iov[i] = libc::iovec { iov_base: buf[TAG..].as_mut_ptr().cast(), iov_len: self.slot - TAG };
            let h = &mut headers[i].msg_hdr;
            h.msg_iov = &mut iov[i];
            h.msg_iovlen = 1;
            h.msg_control = control.as_mut_ptr().cast();
            h.msg_controllen = mem::size_of_val(control) as _;
        }
        // SAFETY: each header points to an iovec and a control buffer that live in `iov` and `self` past the call, each
        // with its true length; the kernel writes only there.
        let n = unsafe {
            libc::recvmmsg(self.fd(), headers.as_mut_ptr(), BATCH as u32, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        if n >= 0 {
            return Ok((n as usize, headers));
        }
        let err = std::io::Error::last_os_error();
        match err.raw_os_error() {
            // ENETDOWN: the port went down; it may come back, and the socket with it.
            Some(libc::EAGAIN) | Some(libc::EINTR) | Some(libc::ENETDOWN) => Ok((0, headers)),
            _ => Err(IoError::os(format!("receive on {}", self.name), err)),
        }
    }

    /// Sends frames (Ethernet header first) in order, and returns how many the kernel took: fewer than given means that
    /// its queue is full; keep the rest and try again when the descriptor can be written.
    ///
    /// # Errors
    /// The first frame not taken was refused for good (too long for the MTU, interface gone): skip it.
    pub fn send(&mut self, frames: &[&[u8]]) -> Result<usize, IoError> {
        let mut sent = 0;
        while sent < frames.len() {
            let batch = &frames[sent..frames.len().min(sent + BATCH)];
            match self.send_batch(batch) {
                Ok(0) => break,
                Ok(n) => sent += n,
                Err(_) if sent > 0 => break,
                Err(e) => return Err(e),
            }
        }
        Ok(sent)
    }

    fn send_batch(&mut self, frames: &[&[u8]]) -> Result<usize, IoError> {
        // SAFETY: mmsghdr and iovec are plain data for which all zeroes is a valid value.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut iov: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        for (i, frame) in frames.iter().enumerate() {
            iov[i] = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
            headers[i].msg_hdr.msg_iov = &mut iov[i];
            headers[i].msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: the first `frames.len()` (at most BATCH) headers point to iovecs over slices that outlive the call;
        // sending only reads them.
        let n = unsafe {
            libc::sendmmsg(self.fd(), headers.as_mut_ptr(), frames.len() as u32, libc::MSG_DONTWAIT)
        };
        if n >= 0 {
            return Ok(n as usize);
        }
        let err = std::io::Error::last_os_error();
        match err.raw_os_error() {
            Some(libc::EAGAIN) | Some(libc::ENOBUFS) | Some(libc::EINTR) => Ok(0),
            Some(libc::EMSGSIZE) => Err(IoError::new(format!(
                "A frame of {} bytes is longer than the MTU of {} allows; raise it with `ip link set dev {} mtu N`.",
                frames[0].len(),
                self.name,
                self.name
            ))),
            _ => Err(IoError::os(format!("send on {}", self.name), err)),
        }
    }
}

/// `struct tpacket_auxdata` of linux/if_packet.h.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Auxdata {
    pub(crate) status: u32,
    len: u32,
    snaplen: u32,
    mac: u16,
    net: u16,
    vlan_tci: u16,
    vlan_tpid: u16,
}
const _: () = assert!(mem::size_of::<Auxdata>() == 20);

/// Reads the auxdata from a control buffer of which the kernel filled `filled` bytes.
pub(crate) fn auxdata(control: &[u64], filled: usize) -> Option<Auxdata> {
    let head = mem::size_of::<libc::cmsghdr>();
    if filled < head + mem::size_of::<Auxdata>() || filled > mem::size_of_val(control) {
        return None;
    }
    // SAFETY: `control` is 8-byte aligned and holds at least a cmsghdr and an Auxdata, as just checked; both are plain
    // data, so any bytes are valid; cmsg data follows its 16-byte header directly.
    let (cmsg, aux) = unsafe {
        let p = control.as_ptr().cast::<u8>();
        (p.cast::<libc::cmsghdr>().read(), p.add(head).cast::<Auxdata>().read_unaligned())
    };
    (cmsg.cmsg_level == libc::SOL_PACKET && cmsg.cmsg_type == libc::PACKET_AUXDATA).then_some(aux)
}

/// The VLAN tag (4 bytes as on the wire) that the kernel moved from the frame into the auxdata.
pub(crate) fn stripped_tag(aux: Auxdata) -> Option<[u8; 4]> {
    if aux.status & TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let tpid = if aux.status & TP_STATUS_VLAN_TPID_VALID != 0 { aux.vlan_tpid } else { ETH_P_8021Q };
    let (p, t) = (tpid.to_be_bytes(), aux.vlan_tci.to_be_bytes());
    Some([p[0], p[1], t[0], t[1]])
}

/// Puts `tag` back behind the addresses of a frame that begins at `buf[4..]`; it begins at `buf[0..]` afterwards.
pub(crate) fn put_tag_back(buf: &mut [u8], tag: [u8; 4]) {
    buf.copy_within(TAG..TAG + 12, 0);
    buf[12..16].copy_from_slice(&tag);
}

pub(crate) fn set_buffers(fd: RawFd, bytes: u32) {
    for (force, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        // Without CAP_NET_ADMIN the system's limit applies: a smaller buffer, not a failure.
        if sys::set_option(fd, libc::SOL_SOCKET, force, &(bytes as i32)).is_err() {
            let _ = sys::set_option(fd, libc::SOL_SOCKET, plain, &(bytes as i32));
        }
    }
}

/// Receives nothing before it is bound to a protocol, so nothing of another interface slips in.
pub(crate) fn socket(doing: &str) -> Result<OwnedFd, IoError> {
    // SAFETY: socket takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0) };
    sys::owned(fd, doing)
}

pub(crate) fn bind(fd: RawFd, index: u32, protocol: u16) -> std::io::Result<()> {
    // SAFETY: sockaddr_ll is plain data for which all zeroes is a valid value.
    let mut addr: libc::sockaddr_ll = unsafe { mem::zeroed() };
    addr.sll_family = libc::AF_PACKET as u16;
    addr.sll_protocol = protocol.to_be();
    addr.sll_ifindex = index as i32;
    // SAFETY: `addr` is a valid sockaddr_ll of the length given.
    let rc = unsafe {
        libc::bind(fd, (&addr as *const libc::sockaddr_ll).cast(), mem::size_of_val(&addr) as libc::socklen_t)
    };
    if rc < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripped_tag_goes_back_between_addresses_and_ethertype() {
        let mut buf = [0u8; TAG + 16];
        for (i, b) in buf[TAG..].iter_mut().enumerate() {
            *b = i as u8;
        }
        put_tag_back(&mut buf, [0x88, 0xa8, 0x20, 0x05]);
        assert_eq!(buf[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(buf[12..], [0x88, 0xa8, 0x20, 0x05, 12, 13, 14, 15]);
    }

    #[test]
    fn a_tag_is_taken_from_auxdata_only_when_marked_valid() {
        let aux = |status| Auxdata { status, len: 0, snaplen: 0, mac: 0, net: 0, vlan_tci: 0x2064, vlan_tpid: 0x88a8 };
        assert_eq!(stripped_tag(aux(0)), None);
        assert_eq!(stripped_tag(aux(TP_STATUS_VLAN_VALID)), Some([0x81, 0x00, 0x20, 0x64]));
        assert_eq!(stripped_tag(aux(TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID)), Some([0x88, 0xa8, 0x20, 0x64]));
    }

    #[test]
    fn opening_without_an_interface_says_which() {
        let err = RawSocket::open("nosuchport0").err().unwrap();
        assert!(err.to_string().contains("nosuchport0"));
    }
}
