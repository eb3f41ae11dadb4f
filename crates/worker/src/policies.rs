//! Tables of policies: read from a document, in force in all engines of a wire.

use std::net::Ipv6Addr;
use std::sync::Arc;

use smartwire_engine::policy::{Description, Policies, Question, Table};
use smartwire_io::IoError;

/// A table and the document that it was made of: the journal keeps that.
#[derive(Clone, Debug)]
pub struct Ruling {
    pub(crate) text: Arc<str>,
    pub(crate) table: Arc<Table>,
}

impl Ruling {
    /// Reads a document (JSON, [`Description`]) and compiles it.
    ///
    /// # Errors
    /// What in it makes no sense.
    pub fn read(text: &str) -> Result<Ruling, IoError> {
        let read = serde_json::from_str::<Description>(text).map_err(|e| e.to_string());
        let built = read.and_then(|description| Table::build(&description).map_err(|e| e.to_string()));
        let table = built.map_err(|why| IoError::new(format!("The policies cannot be used: {}.", why.trim_end_matches('.'))))?;
        Ok(Ruling { text: text.into(), table: Arc::new(table) })
    }

    /// The name of the policy that a connection has, if any matches; addresses as IPv4-mapped ones.
    pub fn policy_of(&self, access: Ipv6Addr, core: Ipv6Addr, core_port: u16, vlan: u16) -> Option<String> {
        let policy = self.table.resolve(&Question { access, core, core_port, vlan })?;
        Some(self.table.name(policy).to_owned())
    }

    /// No policies.
    pub(crate) fn none() -> Ruling {
        Ruling { text: "{}".into(), table: Arc::new(Table::empty()) }
    }

    /// For one engine.
    pub(crate) fn fresh(&self) -> Policies {
        Policies::new(self.table.clone())
    }

    /// Names of the policies, and of the classes, in their order.
    pub(crate) fn names(&self) -> [Vec<String>; 2] {
        let policies = (0..self.table.len() as u16).map(|i| self.table.name(i).to_owned()).collect();
        [policies, self.table.class_names().iter().map(|name| name.to_string()).collect()]
    }
}
