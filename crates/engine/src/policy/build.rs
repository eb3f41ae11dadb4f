//! From a description to a table.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use super::describe::{Description, Entry, Prefixes};
use super::ranges::{Addresses, Owned};
use super::sets::Maker;
use super::{Policy, Rate, Table, MOST};

/// Bursts are at least a full frame: one that never fits would never leave.
const LEAST_BURST: u32 = 1514;
/// VLAN ids that there are.
const VLANS: usize = 4096;
/// Rates below this are no service, bytes per second.
const LEAST_RATE: u64 = 1_000;

/// What is wrong with a description, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError(pub String);

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BuildError {}

type Built<T> = Result<T, BuildError>;

fn wrong<T>(text: String) -> Built<T> {
    Err(BuildError(text))
}

pub(super) fn build(description: &Description) -> Built<Table> {
    let entries = &description.policies;
    if entries.len() > MOST || description.classes.len() > MOST {
        return wrong(format!("there are more than {MOST} policies or classes: join some with lists."));
    }
    // Bits of a set: the policies, and behind them, from a whole word on, the classes.
    let classes_at = entries.len().div_ceil(64) * 64;
    let mut sets = Maker::new(classes_at + description.classes.len());
    let policies = entries.iter().map(policy).collect::<Built<Vec<_>>>()?;
    let (access, core) = addresses(description, classes_at, &mut sets)?;
    let mut names: Vec<Box<str>> = entries.iter().map(|e| e.name.as_str().into()).collect();
    names.shrink_to_fit();
    let mut by_name: Vec<u16> = (0..entries.len() as u16).collect();
    by_name.sort_unstable_by_key(|i| &names[usize::from(*i)]);
    if let Some(two) = by_name.windows(2).find(|two| names[usize::from(two[0])] == names[usize::from(two[1])]) {
        return wrong(format!("there are two policies named {}: rename one.", names[usize::from(two[0])]));
    }
    Ok(Table {
        clamps: policies.iter().any(|p| p.mss != [None; 2]),
        shapes: policies.iter().any(|p| p.rate.is_some()),
        policies,
        access,
        core,
        vlans: vlans(description, classes_at, &mut sets)?,
        ports: ports(entries, &mut sets),
        classes: classes(description, &mut sets)?,
        sets: sets.finish(),
        class_names: description.classes.iter().map(|c| c.name.as_str().into()).collect(),
        names,
        by_name,
    })
}

fn policy(entry: &Entry) -> Built<Policy> {
    let name = &entry.name;
    let rate = match entry.rate {
        None => None,
        Some(rate) if rate < LEAST_RATE => {
            return wrong(format!("policy {name} has a rate of {rate} bytes a second: the least is {LEAST_RATE}."))
        }
        Some(bytes_per_s) => {
            let burst = entry.burst.unwrap_or((bytes_per_s / 10).min(1 << 30) as u32).max(LEAST_BURST);
            Some(Rate { bytes_per_s, burst })
        }
    };
    Ok(Policy {
        service: entry.service,
        rate,
        target_ns: entry.target_ms.map(|ms| u64::from(ms.max(1)) * 1_000_000),
        pacing: entry.pacing,
        mss: [entry.mss_access, entry.mss_core],
        window: entry.window,
    })
}

/// Who refers to a list.
#[derive(Default)]
struct Referred {
    access: Vec<usize>,
    core: Vec<usize>,
}

/// Both address fields. A list's prefixes are parsed once, whoever refers to it.
fn addresses(d: &Description, classes_at: usize, sets: &mut Maker) -> Built<(Addresses, Addresses)> {
    let mut lists: HashMap<&str, Referred> = HashMap::new();
    let (mut access, mut core) = (Fields::default(), Fields::default());
    let everybody = |field: fn(&Entry) -> &Option<Prefixes>| {
        let free = d.policies.iter().enumerate().filter(move |(_, e)| field(e).is_none());
        free.map(|(i, _)| i).collect::<Vec<_>>()
    };
    let base = [sets.of(everybody(|e| &e.access)), sets.of(everybody(|e| &e.core))];
    let by_policy = d.policies.iter().enumerate().map(|(i, e)| (i, e.access.as_ref(), e.core.as_ref()));
    let by_class = d.classes.iter().enumerate().map(|(i, c)| (classes_at + i, Some(&c.access), None));
    for (member, of_access, of_core) in by_policy.chain(by_class) {
        let owner = sets.of([member]);
        for (field, given) in [(&mut access, of_access), (&mut core, of_core)] {
            given.into_iter().flat_map(|g| &g.prefixes).try_for_each(|text| field.add(text, owner))?;
        }
        for name in of_access.into_iter().flat_map(|g| &g.lists) {
            lists.entry(name).or_default().access.push(member);
        }
        for name in of_core.into_iter().flat_map(|g| &g.lists) {
            lists.entry(name).or_default().core.push(member);
        }
    }
    for (name, referred) in lists {
        let Some(texts) = d.lists.get(name) else {
            return wrong(format!("there is no list named {name}."));
        };
        let owners = [sets.of(referred.access), sets.of(referred.core)];
        for text in texts {
            for (field, owner) in [(&mut access, owners[0]), (&mut core, owners[1])] {
                if owner != 0 {
                    field.add(text, owner)?;
                }
            }
        }
    }
    Ok((Addresses::new(access.v4, access.v6, base[0], sets), Addresses::new(core.v4, core.v6, base[1], sets)))
}

/// The prefixes of one address field.
#[derive(Default)]
struct Fields {
    v4: Vec<Owned<u32>>,
    v6: Vec<Owned<u128>>,
}

impl Fields {
    fn add(&mut self, text: &str, owners: u32) -> Built<()> {
        let (addr, length) = text.split_once('/').map_or((text, None), |(addr, length)| (addr, Some(length)));
        let length: Option<Result<u32, _>> = length.map(str::parse);
        match (addr.parse(), length.transpose()) {
            (Ok(IpAddr::V4(addr)), Ok(length)) if length.unwrap_or(32) <= 32 => {
                let mask = u32::MAX.checked_shr(length.unwrap_or(32)).unwrap_or(0);
                self.v4.push(Owned { first: addr.to_bits() & !mask, last: addr.to_bits() | mask, owners });
            }
            (Ok(IpAddr::V6(addr)), Ok(length)) if length.unwrap_or(128) <= 128 => {
                let mask = u128::MAX.checked_shr(length.unwrap_or(128)).unwrap_or(0);
                self.v6.push(Owned { first: addr.to_bits() & !mask, last: addr.to_bits() | mask, owners });
            }
            _ => return wrong(format!("{text} is no prefix: write 192.0.2.0/24 or 2001:db8::/32.")),
        }
        Ok(())
    }
}

/// For every VLAN the policies that it fits, and the classes that it is in.
fn vlans(d: &Description, classes_at: usize, sets: &mut Maker) -> Built<Vec<u32>> {
    let mut members: HashMap<u16, Vec<usize>> = HashMap::new();
    let by_policy = d.policies.iter().enumerate().map(|(i, e)| (i, e.vlans.as_deref().unwrap_or(&[])));
    let by_class = d.classes.iter().enumerate().map(|(i, c)| (classes_at + i, c.vlans.as_slice()));
    for (member, vlans) in by_policy.chain(by_class) {
        for vlan in vlans {
            if usize::from(*vlan) >= VLANS {
                return wrong(format!("there is no VLAN {vlan}: write 0 to 4095."));
            }
            members.entry(*vlan).or_default().push(member);
        }
    }
    let base = sets.of(d.policies.iter().enumerate().filter(|(_, e)| e.vlans.is_none()).map(|(i, _)| i));
    let mut table = vec![base; VLANS];
    for (vlan, of) in members {
        let own = sets.of(of);
        table[usize::from(vlan)] = sets.union(base, own);
    }
    Ok(table)
}

/// For every port the policies that it fits: a set for each piece between the places where some range begins or ends.
fn ports(entries: &[Entry], sets: &mut Maker) -> Vec<u32> {
    let ranges = || entries.iter().flat_map(|e| e.ports.iter().flatten());
    let mut cuts: Vec<u32> = ranges().flat_map(|(from, to)| [u32::from(*from), u32::from(*to) + 1]).collect();
    cuts.extend([0, 1 << 16]);
    cuts.sort_unstable();
    cuts.dedup();
    let mut table = Vec::with_capacity(1 << 16);
    for piece in cuts.windows(2) {
        let within = |(from, to): &(u16, u16)| (u32::from(*from)..=u32::from(*to)).contains(&piece[0]);
        let fits = |e: &Entry| e.ports.as_ref().is_none_or(|ports| ports.iter().any(within));
        let set = sets.of(entries.iter().enumerate().filter(|(_, e)| fits(e)).map(|(i, _)| i));
        table.resize(piece[1] as usize, set);
    }
    table
}

/// For no class, and then for each, the policies that it fits.
fn classes(d: &Description, sets: &mut Maker) -> Built<Vec<u32>> {
    let fits = |class: Option<&str>| {
        let of = |e: &Entry| e.classes.as_ref().is_none_or(|all| class.is_some_and(|c| all.iter().any(|a| a == c)));
        d.policies.iter().enumerate().filter(|(_, e)| of(e)).map(|(i, _)| i).collect::<Vec<_>>()
    };
    for name in d.policies.iter().flat_map(|e| e.classes.iter().flatten()) {
        if !d.classes.iter().any(|c| c.name == *name) {
            return wrong(format!("there is no class named {name}."));
        }
    }
    let mut table = vec![sets.of(fits(None))];
    for class in &d.classes {
        table.push(sets.of(fits(Some(&class.name))));
    }
    Ok(table)
}
