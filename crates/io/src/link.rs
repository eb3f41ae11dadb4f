//! Interfaces: flags, MTU, addresses, driver, queues and offload features, in this or another network namespace.
//!
//! A socket stays in the network namespace it was made in, so a [`Net`] made for another namespace looks into that one
//! from any thread.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::error::IoError;
use crate::sys;

/// Of asm-generic/socket.h, since 5.14.
const SO_NETNS_COOKIE: i32 = 71;
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETH_SS_FEATURES: u64 = 4;
/// More features than any kernel has.
const FEATURES_MAX: usize = 1024;

/// A view of the interfaces of one network namespace.
pub struct Net {
    fd: OwnedFd,
}

/// One offload feature of an interface, by its kernel name (those of `ethtool -k` in the kernel's own words).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The kernel's name, such as `tx-checksum-ip-generic`.
    pub name: String,
    /// It is on.
    pub on: bool,
    /// It can't be changed.
    pub fixed: bool,
}

impl Net {
    /// The calling thread's network namespace.
    pub fn here() -> Result<Net, IoError> {
        // SAFETY: socket takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        Ok(Net { fd: sys::owned(fd, "look at the interfaces")? })
    }

    /// The network namespace behind `ns`, an open file such as those in /run/netns.
    pub fn of(ns: &File) -> Result<Net, IoError> {
        // A thread of its own, so that nobody else changes namespace.
        std::thread::scope(|s| {
            let thread = s.spawn(|| {
                sys::set_netns(ns)?;
                Net::here()
            });
            thread.join().unwrap_or_else(|_| Err(IoError::new("Looking into a network namespace failed; try again.")))
        })
    }

    fn request(&self, name: &str) -> Result<libc::ifreq, IoError> {
        // SAFETY: ifreq is plain data for which all zeroes is a valid value.
        let mut req: libc::ifreq = unsafe { mem::zeroed() };
        let c = CString::new(name).unwrap_or_default();
        if c.as_bytes().is_empty() || c.as_bytes().len() >= libc::IFNAMSIZ {
            return Err(IoError::new(format!("{name:?} is no interface name; `ip link` lists those there are.")));
        }
        for (to, from) in req.ifr_name.iter_mut().zip(c.as_bytes()) {
            *to = *from as libc::c_char;
        }
        Ok(req)
    }

    fn ioctl(&self, what: libc::c_ulong, req: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: `req` is a valid ifreq whose name is set, and whose union is what `what` expects: the callers below
        // pair each request with its member, and ethtool's buffer is as long as its command says.
        if unsafe { libc::ioctl(self.fd.as_raw_fd(), what as _, req as *mut libc::ifreq) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Interface flags (IFF_*), the low 16 bits.
    pub fn flags(&self, name: &str) -> Result<i32, IoError> {
        let mut req = self.request(name)?;
        self.ioctl(libc::SIOCGIFFLAGS as _, &mut req).map_err(|e| IoError::os(format!("look at {name}"), e))?;
        // SAFETY: SIOCGIFFLAGS fills this member.
        Ok(i32::from(unsafe { req.ifr_ifru.ifru_flags }) & 0xffff)
    }

    /// A number of this namespace that no other gets before the machine starts again (inode numbers are reused).
    pub fn cookie(&self) -> u64 {
        sys::get_option(self.fd.as_raw_fd(), libc::SOL_SOCKET, SO_NETNS_COOKIE).unwrap_or(0)
    }

    /// Whether an interface is up with a carrier.
    pub fn is_up(&self, name: &str) -> Result<bool, IoError> {
        let both = libc::IFF_UP | libc::IFF_RUNNING;
        Ok(self.flags(name)? & both == both)
    }

    /// Sets the flags in `set` and clears those in `clear`; lasts beyond this process.
    pub fn change_flags(&self, name: &str, set: i32, clear: i32) -> Result<(), IoError> {
        let flags = (self.flags(name)? | set) & !clear;
        let mut req = self.request(name)?;
        req.ifr_ifru.ifru_flags = flags as libc::c_short;
        self.ioctl(libc::SIOCSIFFLAGS as _, &mut req).map_err(|e| IoError::os(format!("prepare {name}"), e))
    }

    /// MTU in bytes.
    pub fn mtu(&self, name: &str) -> Result<u32, IoError> {
        let mut req = self.request(name)?;
        self.ioctl(libc::SIOCGIFMTU as _, &mut req).map_err(|e| IoError::os(format!("look at {name}"), e))?;
        // SAFETY: SIOCGIFMTU fills this member.
        Ok(unsafe { req.ifr_ifru.ifru_mtu } as u32)
    }

    /// The interface's IPv4 address, if it has one.
    pub fn ipv4(&self, name: &str) -> Option<std::net::Ipv4Addr> {
        let mut req = self.request(name).ok()?;
        self.ioctl(libc::SIOCGIFADDR as _, &mut req).ok()?;
        // SAFETY: SIOCGIFADDR fills this member with a sockaddr_in: family, port, then the address at byte 4.
        let data = unsafe { req.ifr_ifru.ifru_addr.sa_data };
        Some(std::net::Ipv4Addr::new(data[2] as u8, data[3] as u8, data[4] as u8, data[5] as u8))
    }

    /// Index of an interface.
    pub fn index(&self, name: &str) -> Result<u32, IoError> {
        let mut req = self.request(name)?;
        let missing = |_| IoError::new(format!("There is no interface {name}; `ip link` lists those there are."));
        self.ioctl(libc::SIOCGIFINDEX as _, &mut req).map_err(missing)?;
        // SAFETY: SIOCGIFINDEX fills this member.
        Ok(unsafe { req.ifr_ifru.ifru_ifindex } as u32)
    }

    /// Name of an interface.
    pub fn name(&self, index: u32) -> Option<String> {
        // SAFETY: ifreq is plain data for which all zeroes is a valid value.
        let mut req: libc::ifreq = unsafe { mem::zeroed() };
        req.ifr_ifru.ifru_ifindex = index as i32;
        self.ioctl(libc::SIOCGIFNAME as _, &mut req).ok()?;
        let bytes: Vec<u8> = req.ifr_name.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
        String::from_utf8(bytes).ok()
    }

    /// One ethtool command; `buf` begins with its number and is as long as the command needs.
    fn ethtool(&self, name: &str, buf: &mut [u32]) -> io::Result<()> {
        let mut req = self.request(name).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
        req.ifr_ifru.ifru_data = buf.as_mut_ptr().cast();
        self.ioctl(SIOCETHTOOL, &mut req)
    }

    /// The driver's name ("veth", "ixgbe", "virtio_net").
    pub fn driver(&self, name: &str) -> Option<String> {
        let mut buf = [0u32; 64]; // struct ethtool_drvinfo is 196 bytes; `driver` is 32 bytes from byte 4
        buf[0] = ETHTOOL_GDRVINFO;
        self.ethtool(name, &mut buf).ok()?;
        let bytes: Vec<u8> = buf[1..9].iter().flat_map(|w| w.to_ne_bytes()).take_while(|&b| b != 0).collect();
        String::from_utf8(bytes).ok()
    }

    /// How many receive queues carry traffic.
    pub fn rx_queues(&self, name: &str) -> u32 {
        // struct ethtool_channels: cmd, max rx/tx/other/combined, then rx/tx/other/combined in use.
        let mut buf = [0u32; 9];
        buf[0] = ETHTOOL_GCHANNELS;
        match self.ethtool(name, &mut buf) {
            Ok(()) => (buf[5] + buf[8]).max(1),
            Err(_) => 1,
        }
    }

    /// All offload features, in the kernel's order; empty where the driver tells nothing.
    pub fn features(&self, name: &str) -> Vec<Feature> {
        let names = self.feature_names(name);
        let blocks = names.len().div_ceil(32);
        // struct ethtool_gfeatures: cmd, size, then per block: available, requested, active, never_changed.
        let mut buf = vec![0u32; 2 + 4 * blocks];
        buf[0] = ETHTOOL_GFEATURES;
        buf[1] = blocks as u32;
        if blocks == 0 || self.ethtool(name, &mut buf).is_err() {
            return Vec::new();
        }
        let bit = |word: u32, i: usize| word >> (i % 32) & 1 == 1;
        let feature = |(i, name): (usize, String)| {
            let block = &buf[2 + i / 32 * 4..][..4];
            let fixed = !bit(block[0], i) || bit(block[3], i);
            Feature { name, on: bit(block[2], i), fixed }
        };
        names.into_iter().enumerate().map(feature).filter(|f| !f.name.is_empty()).collect()
    }

    fn feature_names(&self, name: &str) -> Vec<String> {
        // struct ethtool_sset_info: cmd, reserved, u64 mask, u32 count per set bit.
        let mut buf = [ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0, 0];
        if self.ethtool(name, &mut buf).is_err() || buf[2] == 0 {
            return Vec::new();
        }
        let count = (buf[4] as usize).min(FEATURES_MAX);
        // struct ethtool_gstrings: cmd, set, count, then 32 bytes per string.
        let mut buf = vec![0u32; 3 + 8 * count];
        buf[0] = ETHTOOL_GSTRINGS;
        buf[1] = ETH_SS_FEATURES as u32;
        buf[2] = count as u32;
        if self.ethtool(name, &mut buf).is_err() {
            return Vec::new();
        }
        let string = |words: &[u32]| {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).take_while(|&b| b != 0).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        buf[3..].chunks_exact(8).map(string).collect()
    }

    /// Turns features on or off, by kernel name; unknown ones are left out. Lasts beyond this process.
    pub fn set_features(&self, name: &str, wanted: &[(String, bool)]) -> Result<(), IoError> {
        let names = self.feature_names(name);
        let blocks = names.len().div_ceil(32);
        // struct ethtool_sfeatures: cmd, size, then per block: valid, requested.
        let mut buf = vec![0u32; 2 + 2 * blocks];
        buf[0] = ETHTOOL_SFEATURES;
        buf[1] = blocks as u32;
        for (feature, on) in wanted {
            let Some(i) = names.iter().position(|n| n == feature) else { continue };
            buf[2 + i / 32 * 2] |= 1 << (i % 32);
            buf[2 + i / 32 * 2 + 1] |= u32::from(*on) << (i % 32);
        }
        self.ethtool(name, &mut buf).map_err(|e| IoError::os(format!("change the offloads of {name}"), e))
    }
}
