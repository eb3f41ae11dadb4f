//! The offload contract: what must be off before the frames that arrive on a port are the frames that were sent.
//!
//! Read from the port itself, and where the port is a veth from its other end, which is where checksums and
//! segmentation are left undone. Each finding is a sentence with the command that mends it.

use std::fs::File;

use crate::error::IoError;
use crate::link::{Feature, Net};
use crate::netlink;
use crate::steer::Mode;

/// One rule: features (kernel names), the words `ethtool -K` knows them by, and what they do to frames.
struct Rule {
    features: &'static [&'static str],
    words: &'static [&'static str],
    harm: &'static str,
}

const MERGE_HW: Rule = Rule {
    features: &["rx-lro", "rx-gro-hw"],
    words: &["lro", "rx-gro-hw"],
    harm: "merges received segments in hardware, so that what leaves is not what came",
};
const MERGE: Rule = Rule {
    features: &["rx-gro", "rx-gro-list", "rx-udp-gro-forwarding"],
    words: &["gro", "rx-gro-list", "rx-udp-gro-forwarding"],
    harm: "merges received segments, so that what leaves is not what came",
};
const RX_TAGS: Rule = Rule {
    features: &["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"],
    words: &["rxvlan", "rx-vlan-stag-hw-parse"],
    harm: "takes VLAN tags out of received frames, where AF_XDP cannot see them",
};
const RX_FILTER: Rule = Rule {
    features: &["rx-vlan-filter", "rx-vlan-stag-filter"],
    words: &["rx-vlan-filter", "rx-vlan-stag-filter"],
    harm: "drops frames of VLANs that this host is not in",
};
const PEER_CHECKSUM: Rule = Rule {
    features: &["tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6"],
    words: &["tx", "tx", "tx"],
    harm: "leaves TCP checksums to hardware that is not there",
};
const PEER_TSO: Rule = Rule {
    features: &[
        "tx-tcp-segmentation",
        "tx-tcp6-segmentation",
        "tx-tcp-ecn-segmentation",
        "tx-tcp-mangleid-segmentation",
        "tx-udp-segmentation",
    ],
    words: &["tso", "tso", "tso", "tso", "tx-udp-segmentation"],
    harm: "leaves cutting its data into segments to hardware that is not there",
};
const PEER_TAGS: Rule = Rule {
    features: &["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"],
    words: &["txvlan", "tx-vlan-stag-hw-insert"],
    harm: "sends VLAN tags beside the frame, where AF_XDP cannot see them",
};

/// Something that must change before a port can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The port.
    pub port: String,
    /// What is wrong and what to do, in one sentence.
    pub sentence: String,
    /// The command that mends it; `None` where nothing can.
    pub command: Option<String>,
    /// The interface to change: the port, or its veth's other end.
    pub device: String,
    /// The network namespace that `device` is in (a name in /run/netns); `None`: this one.
    pub netns: Option<String>,
    /// Kernel names of the features to turn off.
    pub features: Vec<String>,
}

/// What the check of one port found.
#[derive(Clone, Debug, Default)]
pub struct Contract {
    /// What must change.
    pub findings: Vec<Finding>,
    /// The veth's other end cannot be looked into: its checksums must be taken for partial wherever they look so.
    pub peer_unknown: bool,
}

/// Checks one port. `fill`: partial checksums are completed on it, so they are no finding.
pub fn check(port: &str, mode: Mode, fill: bool) -> Result<Contract, IoError> {
    let net = Net::here()?;
    let veth = net.driver(port).as_deref() == Some("veth");
    let mut contract = Contract::default();
    let own = net.features(port);
    let mut rules = vec![&MERGE_HW];
    if mode != Mode::XdpNative {
        rules.push(&MERGE);
    }
    if !veth {
        rules.push(&RX_FILTER);
        if mode != Mode::Packet {
            rules.push(&RX_TAGS);
        }
    }
    contract.findings.extend(rules.into_iter().filter_map(|r| find(r, port, None, &own)));
    if veth {
        check_peer(port, &net, mode, fill, &mut contract)?;
    }
    Ok(contract)
}

fn check_peer(port: &str, net: &Net, mode: Mode, fill: bool, out: &mut Contract) -> Result<(), IoError> {
    let Some(peer) = veth_peer(port, net)? else {
        out.peer_unknown = true;
        return Ok(());
    };
    let features = peer.net.features(&peer.name);
    let mut rules = Vec::new();
    // AF_PACKET is told which checksums are partial and completes them.
    if mode != Mode::Packet && !fill {
        rules.push(&PEER_CHECKSUM);
    }
    // XDP in the driver turns segmentation off at the other end by itself.
    if mode != Mode::XdpNative {
        rules.push(&PEER_TSO);
    }
    if mode != Mode::Packet {
        rules.push(&PEER_TAGS);
    }
    out.findings.extend(rules.into_iter().filter_map(|r| find(r, port, Some(&peer), &features)));
    Ok(())
}

/// The other end of a veth.
struct Peer {
    net: Net,
    name: String,
    netns: Option<String>,
}

fn veth_peer(port: &str, net: &Net) -> Result<Option<Peer>, IoError> {
    let info = netlink::link_info(net.index(port)?)?;
    let Some(index) = info.link else { return Ok(None) };
    let Some(nsid) = info.link_nsid else {
        let net = Net::here()?;
        return Ok(net.name(index).map(|name| Peer { net, name, netns: None }));
    };
    let Some((netns, file)) = namespace_of(nsid) else { return Ok(None) };
    let net = Net::of(&file)?;
    Ok(net.name(index).map(|name| Peer { net, name, netns: Some(netns) }))
}

/// The named namespace (or `init`'s) that this one knows by number `nsid`.
fn namespace_of(nsid: i32) -> Option<(String, File)> {
    let named = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let mut candidates: Vec<(String, std::path::PathBuf)> =
        named.map(|e| (e.file_name().to_string_lossy().into_owned(), e.path())).collect();
    candidates.push(("init".to_owned(), "/proc/1/ns/net".into()));
    candidates.into_iter().find_map(|(name, path)| {
        let file = File::open(path).ok()?;
        (netlink::nsid(&file) == Some(nsid)).then_some((name, file))
    })
}

fn find(rule: &Rule, port: &str, peer: Option<&Peer>, features: &[Feature]) -> Option<Finding> {
    let on: Vec<&Feature> = features.iter().filter(|f| f.on && rule.features.contains(&f.name.as_str())).collect();
    let device = peer.map_or(port, |p| p.name.as_str());
    let netns = peer.and_then(|p| p.netns.clone());
    let who = match peer {
        Some(p) => match &p.netns {
            Some(ns) => format!("The other end of {port} ({} in namespace {ns})", p.name),
            None => format!("The other end of {port} ({})", p.name),
        },
        None => port.to_owned(),
    };
    let changeable: Vec<String> = on.iter().filter(|f| !f.fixed).map(|f| f.name.clone()).collect();
    if on.is_empty() {
        return None;
    }
    if changeable.is_empty() {
        // A filter that can't be switched off is off while the port is promiscuous.
        if rule.features == RX_FILTER.features {
            return None;
        }
        let sentence = format!("{who} {} and its driver cannot stop it: use --io packet on other hardware.", rule.harm);
        return Some(Finding { port: port.into(), sentence, command: None, device: device.into(), netns, features: vec![] });
    }
    let mut words: Vec<&str> = Vec::new();
    for (feature, word) in rule.features.iter().zip(rule.words) {
        if changeable.iter().any(|c| c == feature) && !words.contains(word) {
            words.push(word);
        }
    }
    let prefix = match &netns {
        Some(ns) if ns == "init" => "nsenter -t 1 -n ".to_owned(),
        Some(ns) => format!("ip netns exec {ns} "),
        None => String::new(),
    };
    let command = format!("{prefix}ethtool -K {device} {} off", words.join(" off "));
    let sentence = format!("{who} {}: run `{command}`, or let Smartwire do it with --mend.", rule.harm);
    Some(Finding { port: port.into(), sentence, command: Some(command), device: device.into(), netns, features: changeable })
}

/// Carries out (`on` false) or takes back (`on` true) what a finding asks for.
pub fn switch(device: &str, netns: Option<&str>, features: &[String], on: bool) -> Result<(), IoError> {
    let net = match netns {
        None => Net::here()?,
        Some(ns) => {
            let path = if ns == "init" { "/proc/1/ns/net".to_owned() } else { format!("/run/netns/{ns}") };
            let file = File::open(&path).map_err(|e| IoError::os(format!("enter network namespace {ns}"), e))?;
            Net::of(&file)?
        }
    };
    let wanted: Vec<(String, bool)> = features.iter().map(|f| (f.clone(), on)).collect();
    net.set_features(device, &wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(name: &str, on: bool, fixed: bool) -> Feature {
        Feature { name: name.into(), on, fixed }
    }

    #[test]
    fn a_finding_names_the_exact_command() {
        let features = [feature("rx-lro", true, false), feature("rx-gro-hw", false, false)];
        let f = find(&MERGE_HW, "eth1", None, &features).unwrap();
        assert_eq!(f.command.as_deref(), Some("ethtool -K eth1 lro off"));
        assert_eq!(f.features, ["rx-lro"]);
        assert!(f.sentence.contains("`ethtool -K eth1 lro off`"));
    }

    #[test]
    fn what_is_off_is_no_finding() {
        assert!(find(&MERGE_HW, "eth1", None, &[feature("rx-lro", false, false)]).is_none());
    }

    #[test]
    fn what_cannot_be_changed_says_so() {
        let f = find(&RX_TAGS, "eth1", None, &[feature("rx-vlan-hw-parse", true, true)]).unwrap();
        assert_eq!(f.command, None);
        assert!(f.sentence.contains("--io packet"));
    }

    #[test]
    fn several_features_under_one_word_give_it_once() {
        let features: Vec<Feature> = PEER_TSO.features.iter().map(|n| feature(n, true, false)).collect();
        let f = find(&PEER_TSO, "veth0", None, &features).unwrap();
        assert_eq!(f.command.as_deref(), Some("ethtool -K veth0 tso off tx-udp-segmentation off"));
        assert_eq!(f.features.len(), 5);
    }
}
