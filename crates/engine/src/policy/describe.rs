//! A table of policies as it is written down.

use std::collections::BTreeMap;

use super::{Service, Window};

/// All of it. Prefixes are text: `192.0.2.0/24`, `2001:db8::/32`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct Description {
    /// Named lists of prefixes, for policies and classes.
    pub lists: BTreeMap<String, Vec<String>>,
    /// Classes of subscribers: the first that matches counts.
    pub classes: Vec<Class>,
    /// Policies: the first that matches counts.
    pub policies: Vec<Entry>,
}

/// Prefixes, given here and by the names of lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct Prefixes {
    /// Prefixes.
    pub prefixes: Vec<String>,
    /// Names of lists.
    pub lists: Vec<String>,
}

/// A class: subscribers with an address in these prefixes, or in one of these VLANs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct Class {
    /// What it is called.
    pub name: String,
    /// Where its subscribers' addresses are.
    pub access: Prefixes,
    /// Their VLANs; 0 is untagged.
    pub vlans: Vec<u16>,
}

/// A policy: all that is given must hold, one value of each is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct Entry {
    /// What it is called.
    pub name: String,
    /// Where the subscriber's address is.
    pub access: Option<Prefixes>,
    /// Where the server's address is.
    pub core: Option<Prefixes>,
    /// The server's port, from and to.
    pub ports: Option<Vec<(u16, u16)>>,
    /// The outer VLAN; 0 is untagged.
    pub vlans: Option<Vec<u16>>,
    /// The subscriber's class.
    pub classes: Option<Vec<String>>,
    /// What serves the connection.
    pub service: Service,
    /// Bytes per second towards the access side.
    pub rate: Option<u64>,
    /// Bytes that may leave at once above the rate; without it, what the rate carries in a tenth of a second.
    pub burst: Option<u32>,
    /// Queueing delay aimed for, ms.
    pub target_ms: Option<u16>,
    /// Spread what is sent over the round trip.
    pub pacing: bool,
    /// The largest segment size that the access side's endpoint may announce.
    pub mss_access: Option<u16>,
    /// The largest segment size that the core side's endpoint may announce.
    pub mss_core: Option<u16>,
    /// Whose window senders see.
    pub window: Window,
}

impl Default for Entry {
    fn default() -> Entry {
        Entry {
            name: String::new(),
            access: None,
            core: None,
            ports: None,
            vlans: None,
            classes: None,
            service: Service::Wire,
            rate: None,
            burst: None,
            target_ms: None,
            pacing: true,
            mss_access: None,
            mss_core: None,
            window: Window::Full,
        }
    }
}
