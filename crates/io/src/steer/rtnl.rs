//! rtnetlink, as far as attaching programs needs it: XDP on an interface, a clsact qdisc, a cls_bpf filter in it.
//!
//! Attached this way a program stays when the process that attached it ends.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::SteerError;
use crate::netlink::{self, attributes, ifinfo, put, text, word, ACK, IFINFOMSG, REQUEST, RTM_GETLINK};

const RTM_SETLINK: u16 = 19;
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;

const DUMP: u16 = 0x300;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
const NESTED: u16 = 0x8000;

const TCMSG: usize = 20;

const IFLA_XDP: u16 = 43;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const IFLA_XDP_HW_PROG_ID: u16 = 7;
const IFLA_XDP_EXPECTED_FD: u16 = 8;
const XDP_IF_NOEXIST: u32 = 1;
const XDP_SKB: u32 = 2;
const XDP_DRV: u32 = 4;
const XDP_REPLACE: u32 = 16;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
const BPF_DIRECT_ACTION: u32 = 1;

/// `TC_H_CLSACT`, its handle, and its two hooks.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// The hook that frames from the network pass.
pub(super) const INGRESS: u32 = 0xffff_fff2;
/// The hook that frames to the network pass.
pub(super) const EGRESS: u32 = 0xffff_fff3;

/// Where a filter of ours stands and what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub pref: u32,
    pub handle: u32,
    pub name: &'static str,
}

/// The copper wire's: `tc filter show dev X ingress` shows it as `pref 21335 bpf handle 0x53570001 smartwire`.
pub(super) const WIRE: Place = Place { pref: 0x5357, handle: 0x5357_0001, name: "smartwire" };
/// The proxy's, which come before it.
pub(super) const PROXY: Place = Place { pref: 0x5356, handle: 0x5356_0001, name: "smartwire-proxy" };

/// Where in the kernel an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum XdpHook {
    /// In the driver.
    Driver,
    /// In the stack.
    Stack,
}

/// A filter on a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub pref: u32,
    pub handle: u32,
    pub kind: String,
    pub name: String,
    pub prog_id: Option<u32>,
}

impl Filter {
    /// Is it where the copper wire's is, and called so?
    pub(super) fn is_ours(&self) -> bool {
        self.is_at(WIRE)
    }

    /// Is it where the proxy's is, and called so?
    pub(super) fn is_the_proxys(&self) -> bool {
        self.is_at(PROXY)
    }

    fn is_at(&self, place: Place) -> bool {
        let there = self.handle == 0 || (self.handle == place.handle && self.name == place.name);
        self.pref == place.pref && self.kind == "bpf" && there
    }
}

/// Puts `new` on the interface; `old` must be there now (`None`: nothing).
pub(super) fn set_xdp(
    ifindex: u32,
    hook: XdpHook,
    old: Option<BorrowedFd<'_>>,
    new: Option<BorrowedFd<'_>>,
) -> Result<(), SteerError> {
    let mode = if hook == XdpHook::Driver { XDP_DRV } else { XDP_SKB };
    let flags = mode | if old.is_some() { XDP_REPLACE } else { XDP_IF_NOEXIST };
    let mut xdp = Vec::new();
    put(&mut xdp, IFLA_XDP_FD, &new.map_or(-1, |fd| fd.as_raw_fd()).to_ne_bytes());
    put(&mut xdp, IFLA_XDP_FLAGS, &flags.to_ne_bytes());
    if let Some(old) = old {
        put(&mut xdp, IFLA_XDP_EXPECTED_FD, &old.as_raw_fd().to_ne_bytes());
    }
    let mut body = ifinfo(ifindex);
    put(&mut body, IFLA_XDP | NESTED, &xdp);
    let doing = if new.is_some() { "attach the XDP program" } else { "take the XDP program off" };
    ask(doing, RTM_SETLINK, REQUEST | ACK, &body).map(|_| ())
}

/// The ids of the XDP programs on the interface and where each is.
pub(super) fn xdp_programs(ifindex: u32) -> Result<Vec<(Option<XdpHook>, u32)>, SteerError> {
    let replies = ask("look at an interface", RTM_GETLINK, REQUEST, &ifinfo(ifindex))?;
    let mut found = Vec::new();
    for (kind, value) in replies.iter().flat_map(|r| attributes(r.get(IFINFOMSG..).unwrap_or(&[]))) {
        if kind != IFLA_XDP {
            continue;
        }
        for (kind, value) in attributes(value) {
            let hook = match kind {
                IFLA_XDP_DRV_PROG_ID => Some(XdpHook::Driver),
                IFLA_XDP_SKB_PROG_ID => Some(XdpHook::Stack),
                IFLA_XDP_HW_PROG_ID => None,
                _ => continue,
            };
            found.extend(word(value).filter(|&id| id != 0).map(|id| (hook, id)));
        }
    }
    Ok(found)
}

/// Makes sure that the interface has ingress and egress hooks.
pub(super) fn add_clsact(ifindex: u32) -> Result<(), SteerError> {
    let mut body = tcmsg(ifindex, CLSACT_HANDLE, CLSACT, 0);
    put(&mut body, TCA_KIND, b"clsact\0");
    match ask("add a clsact qdisc", RTM_NEWQDISC, REQUEST | ACK | CREATE | EXCLUSIVE, &body) {
        Err(e) if e.errno() == Some(libc::EEXIST) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Takes the hooks off, if nobody uses them.
pub(super) fn remove_unused_clsact(ifindex: u32) -> Result<(), SteerError> {
    if !filters(ifindex, INGRESS)?.is_empty() || !filters(ifindex, EGRESS)?.is_empty() {
        return Ok(());
    }
    let body = tcmsg(ifindex, CLSACT_HANDLE, CLSACT, 0);
    ask("remove the clsact qdisc", RTM_DELQDISC, REQUEST | ACK, &body).map(|_| ())
}

/// The filters on one of the hooks; none where there are no hooks.
pub(super) fn filters(ifindex: u32, hook: u32) -> Result<Vec<Filter>, SteerError> {
    let body = tcmsg(ifindex, 0, hook, 0);
    let replies = match ask("list the tc filters", RTM_GETTFILTER, REQUEST | DUMP, &body) {
        Err(e) if matches!(e.errno(), Some(libc::EINVAL | libc::ENOENT)) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for reply in replies.iter().filter(|r| r.len() >= TCMSG && word(&r[4..]) == Some(ifindex)) {
        let field = |at: usize| word(&reply[at..]).unwrap_or(0);
        let mut f = Filter { pref: field(16) >> 16, handle: field(8), kind: String::new(), name: String::new(), prog_id: None };
        for (kind, value) in attributes(&reply[TCMSG..]) {
            match kind {
                TCA_KIND => f.kind = text(value),
                TCA_OPTIONS => {
                    for (kind, value) in attributes(value) {
                        match kind {
                            TCA_BPF_NAME => f.name = text(value),
                            TCA_BPF_ID => f.prog_id = word(value),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        found.push(f);
    }
    Ok(found)
}

/// Makes `prog` the copper wire's filter on the ingress hook, in place of the one that may be there.
pub(super) fn set_filter(ifindex: u32, prog: BorrowedFd<'_>) -> Result<(), SteerError> {
    set_filter_at(WIRE, ifindex, prog)
}

/// The same, for a filter of ours at another place.
pub(super) fn set_filter_at(place: Place, ifindex: u32, prog: BorrowedFd<'_>) -> Result<(), SteerError> {
    let mut options = Vec::new();
    put(&mut options, TCA_BPF_FD, &prog.as_raw_fd().to_ne_bytes());
    put(&mut options, TCA_BPF_NAME, format!("{}\0", place.name).as_bytes());
    put(&mut options, TCA_BPF_FLAGS, &BPF_DIRECT_ACTION.to_ne_bytes());
    let mut body = our_filter(place, ifindex);
    put(&mut body, TCA_KIND, b"bpf\0");
    put(&mut body, TCA_OPTIONS | NESTED, &options);
    ask(&format!("attach the tc program {}", place.name), RTM_NEWTFILTER, REQUEST | ACK | CREATE, &body).map(|_| ())
}

/// Takes the copper wire's filter off.
pub(super) fn remove_filter(ifindex: u32) -> Result<(), SteerError> {
    remove_filter_at(WIRE, ifindex)
}

/// The same, for a filter of ours at another place.
pub(super) fn remove_filter_at(place: Place, ifindex: u32) -> Result<(), SteerError> {
    let mut body = our_filter(place, ifindex);
    put(&mut body, TCA_KIND, b"bpf\0");
    ask(&format!("take the tc program {} off", place.name), RTM_DELTFILTER, REQUEST | ACK, &body).map(|_| ())
}

fn our_filter(place: Place, ifindex: u32) -> Vec<u8> {
    let all = u32::from((libc::ETH_P_ALL as u16).to_be());
    tcmsg(ifindex, place.handle, INGRESS, place.pref << 16 | all)
}

fn tcmsg(ifindex: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    [0, ifindex, handle, parent, info].into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// Sends one request and returns the bodies of all replies.
fn ask(doing: &str, kind: u16, flags: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, SteerError> {
    let refused = |e: netlink::Refusal| SteerError::Kernel { step: doing.to_owned(), source: e.source, detail: e.detail };
    netlink::ask(kind, flags, body).map_err(refused)
}
