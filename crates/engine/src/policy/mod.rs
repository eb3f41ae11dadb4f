//! Policies: which connections the engine takes, and how it treats them. The first that matches counts.
//!
//! ```text
//!   describe   a table as it is written down (JSON in the control plane, the journal and packet scripts)
//!   build      from that to a table, outside the engine
//!   ranges     which prefixes an address is in, compiled
//!   sets       sets of policies, each kept once
//! ```
//!
//! A [`Table`] answers for one connection at its admission, at a cost that does not grow with the number of policies or
//! prefixes but by their logarithm: each field of the connection leads to the set of policies that it fits, as bits in
//! the order of the policies, and the first bit that all these sets share is the answer (Lakshman and Stiliadis,
//! "High-Speed Policy-based Packet Forwarding", SIGCOMM 1998). A table never changes. Another one takes its place whole,
//! between two batches; it was built by somebody else, and is freed by somebody else.

mod build;
pub mod describe;
mod ranges;
mod sets;

#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;
use std::sync::Arc;

use crate::api::FlowKey;
pub use build::BuildError;
pub use describe::Description;
use ranges::Addresses;
use sets::Sets;

/// No policy.
pub const NO_POLICY: u16 = u16::MAX;
/// Policies of a table at most.
pub const MOST: usize = 16_384;

/// What serves a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Service {
    /// The wire engine.
    #[default]
    Wire,
    /// The proxy engine: not this one.
    Proxy,
    /// Nobody.
    None,
}

/// Whose window a sender sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Window {
    /// The engine's: it acknowledges ahead of the receiver.
    #[default]
    Full,
    /// The receiver's: nothing is acknowledged that it has not.
    Passive,
}

/// A rate, and what may leave at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes per second, of frames.
    pub bytes_per_s: u64,
    /// Bytes.
    pub burst: u32,
}

/// How connections are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What serves them.
    pub service: Service,
    /// The most that one subscriber gets over all its connections of this policy, towards the access side.
    pub rate: Option<Rate>,
    /// Queueing delay that the subscriber's budget aims for, ns, where it is not the wire's.
    pub target_ns: Option<u64>,
    /// Spread what is sent over the round trip.
    pub pacing: bool,
    /// The largest segment size that the endpoint on each side may announce in its handshake: index 0 the access side's,
    /// which bounds segments towards it, 1 the core side's.
    pub mss: [Option<u16>; 2],
    /// Whose window senders see.
    pub window: Window,
}

/// What a table looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The subscriber's address, IPv4 as IPv4-mapped.
    pub access: Ipv6Addr,
    /// The server's address, likewise.
    pub core: Ipv6Addr,
    /// The server's port.
    pub core_port: u16,
    /// The outer VLAN; 0: untagged.
    pub vlan: u16,
}

impl Question {
    /// About a connection in this VLAN.
    pub fn of(key: &FlowKey, vlan: u16) -> Question {
        Question { access: key.access_addr, core: key.core_addr, core_port: key.core_port, vlan }
    }
}

/// Policies in their order, compiled.
#[derive(Debug)]
pub struct Table {
    policies: Vec<Policy>,
    names: Vec<Box<str>>,
    class_names: Vec<Box<str>>,
    /// Indices of `names`, in the order of the names.
    by_name: Vec<u16>,
    sets: Sets,
    access: Addresses,
    core: Addresses,
    /// A set for every VLAN and every port.
    vlans: Vec<u32>,
    ports: Vec<u32>,
    /// The set of policies for the subscribers of each class, and at index 0 for those without one.
    classes: Vec<u32>,
    /// Some policy clamps segment sizes, so that handshakes must be looked at.
    clamps: bool,
    /// Some policy has a rate.
    shapes: bool,
}

impl Table {
    /// No policies: every connection is optimized in the usual way.
    pub fn empty() -> Table {
        Table::build(&Description::default()).unwrap_or_else(|_| unreachable!("nothing can be wrong with nothing"))
    }

    /// Compiles what is written down.
    ///
    /// # Errors
    /// The first thing in it that makes no sense.
    pub fn build(description: &Description) -> Result<Table, BuildError> {
        build::build(description)
    }

    /// The policy of a connection, if any matches.
    #[inline]
    pub fn resolve(&self, question: &Question) -> Option<u16> {
        if self.policies.is_empty() { None } else { self.first(question) }
    }

    #[inline(never)]
    fn first(&self, q: &Question) -> Option<u16> {
        let access = self.sets.get(self.access.find(q.access));
        let vlan = self.sets.get(self.vlans[usize::from(q.vlan & 0x0fff)]);
        let core = self.sets.get(self.core.find(q.core));
        let port = self.sets.get(self.ports[usize::from(q.core_port)]);
        let words = self.policies.len().div_ceil(64);
        let class = self.sets.get(self.classes[self.class_of(q).map_or(0, |class| class + 1)]);
        let found = first_bit((0..words).map(|i| access[i] & vlan[i] & core[i] & port[i] & class[i]));
        found.map(|policy| policy as u16)
    }

    /// The class of a connection's subscriber, by its index: the first that has its address or its VLAN.
    pub fn class_of(&self, q: &Question) -> Option<usize> {
        // They stand behind the policies, from a whole word on.
        let words = self.policies.len().div_ceil(64);
        let (access, vlan) = (self.access.find(q.access), self.vlans[usize::from(q.vlan & 0x0fff)]);
        first_bit(self.sets.get(access)[words..].iter().zip(&self.sets.get(vlan)[words..]).map(|(a, v)| a | v))
    }

    /// A policy by its index.
    #[inline]
    pub fn get(&self, policy: u16) -> Option<&Policy> {
        self.policies.get(usize::from(policy))
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// True without policies and classes: no connection needs to be looked at.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.class_names.is_empty()
    }

    /// What a policy is called.
    pub fn name(&self, policy: u16) -> &str {
        self.names.get(usize::from(policy)).map_or("", |name| name)
    }

    /// What the classes are called, in their order.
    pub fn class_names(&self) -> &[Box<str>] {
        &self.class_names
    }

    /// Some policy clamps segment sizes.
    pub fn clamps(&self) -> bool {
        self.clamps
    }

    /// Some policy has a rate.
    pub fn shapes(&self) -> bool {
        self.shapes
    }

    /// Index of the policy of this name.
    fn named(&self, name: &str) -> Option<usize> {
        let found = self.by_name.binary_search_by(|i| self.name(*i).cmp(name)).ok()?;
        Some(usize::from(self.by_name[found]))
    }
}

fn first_bit(words: impl Iterator<Item = u64>) -> Option<usize> {
    words.enumerate().find(|(_, word)| *word != 0).map(|(i, word)| 64 * i + word.trailing_zeros() as usize)
}

/// A table in force, how often each of its policies decided, and for how many connections of each class.
#[derive(Debug)]
pub struct Policies {
    table: Arc<Table>,
    hits: Vec<u64>,
    of_classes: Vec<u64>,
}

impl Policies {
    /// A table of which no policy has decided yet.
    pub fn new(table: Arc<Table>) -> Policies {
        let (hits, of_classes) = (vec![0; table.len()], vec![0; table.class_names().len()]);
        Policies { table, hits, of_classes }
    }

    /// No policies: every connection is optimized in the usual way.
    pub fn none() -> Policies {
        Policies::new(Arc::new(Table::empty()))
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Connections for which each policy decided, in their order.
    pub fn hits(&self) -> &[u64] {
        &self.hits
    }

    /// Connections of subscribers of each class, in the order of the classes.
    pub fn of_classes(&self) -> &[u64] {
        &self.of_classes
    }

    /// The policy of one connection more, which is counted.
    pub(crate) fn decide(&mut self, question: &Question) -> u16 {
        if let Some(class) = self.table.class_of(question) {
            self.of_classes[class] += 1;
        }
        let Some(policy) = self.table.resolve(question) else { return NO_POLICY };
        self.hits[usize::from(policy)] += 1;
        policy
    }

    /// What was counted of policies and classes of the same names goes on.
    pub(crate) fn go_on_from(&mut self, before: &Policies) {
        for (i, hits) in before.hits.iter().enumerate() {
            if let Some(here) = self.table.named(before.table.name(i as u16)) {
                self.hits[here] = *hits;
            }
        }
        for (name, count) in before.table.class_names.iter().zip(&before.of_classes) {
            if let Some(here) = self.table.class_names.iter().position(|n| n == name) {
                self.of_classes[here] = *count;
            }
        }
    }
}
