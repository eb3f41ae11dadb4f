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
        "tx-tcp-accecn-segmentation",
        "tx-udp-segmentation",
    ],
    words: &["tso", "tso", "tso", "tso", "tso", "tx-udp-segmentation"],
    harm: "leaves cutting its data into segments to hardware that is not there",
};
const PEER_TAGS: Rule = Rule {
    features: &["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"],
    words: &["txvlan", "tx-vlan-stag-hw-insert"],
    harm: "sends VLAN tags beside the frame, where AF_XDP cannot see them",
};

/// What must change on one interface before a port can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whose offloads: "eth1", or "the other end of eth1 (eth0 in namespace phone)".
    pub who: String,
    /// What these do to frames.
    pub harms: Vec<&'static str>,
    /// The command that mends it; `None` where nothing can.
    pub command: Option<String>,
    /// The interface to change: the port, or its veth's other end.
    pub device: String,
    /// The network namespace that `device` is in (a name in /run/netns); `None`: this one.
    pub netns: Option<String>,
    /// Kernel names of the features to turn off.
    pub features: Vec<String>,
}

/// All findings in one sentence, with the commands that mend them.
pub fn sentence(findings: &[Finding]) -> String {
    let parts: Vec<String> = findings.iter().map(|f| format!("{} {}", f.who, listed(&f.harms))).collect();
    let mut text = parts.join("; ");
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        // Interface names are written as they are.
        if text.starts_with("the ") {
            text.replace_range(..1, &first);
        }
    }
    let commands: Vec<String> = findings.iter().filter_map(|f| f.command.as_ref()).map(|c| format!("`{c}`")).collect();
    if commands.len() < findings.len() {
        return format!("{text}, and its driver cannot stop it: use --io packet, or another interface.");
    }
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    format!("{text}: run {}, or let Smartwire do it with --mend.", listed(&commands))
}

/// "a", "a and b", "a, b and c".
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
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
    if mode == Mode::Copper {
        // No frame leaves the kernel, which knows what it put off.
        return Ok(Contract::default());
    }
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
    contract.findings.extend(find(&rules, port, None, &own));
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
    out.findings.extend(find(&rules, port, Some(&peer), &features));
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

/// What of `features` breaks the rules: at most one finding for what can be changed, and one for what can't.
fn find(rules: &[&Rule], port: &str, peer: Option<&Peer>, features: &[Feature]) -> Vec<Finding> {
    let device = peer.map_or(port, |p| p.name.as_str()).to_owned();
    let netns = peer.and_then(|p| p.netns.clone());
    let who = match (peer, &netns) {
        (Some(p), Some(ns)) => format!("the other end of {port} ({} in namespace {ns})", p.name),
        (Some(p), None) => format!("the other end of {port} ({})", p.name),
        (None, _) => port.to_owned(),
    };
    let (mut harms, mut stuck, mut words, mut names) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for rule in rules {
        let on = |name: &str| features.iter().find(|f| f.on && f.name == name);
        let broken: Vec<(&Feature, &str)> =
            rule.features.iter().zip(rule.words).filter_map(|(name, word)| Some((on(name)?, *word))).collect();
        let changeable: Vec<&(&Feature, &str)> = broken.iter().filter(|(f, _)| !f.fixed).collect();
        if !changeable.is_empty() {
            harms.push(rule.harm);
        } else if !broken.is_empty() && rule.features != RX_FILTER.features {
            // (A VLAN filter that can't be switched off is off while the port is promiscuous.)
            stuck.push(rule.harm);
        }
        for (feature, word) in changeable {
            names.push(feature.name.clone());
            if !words.contains(word) {
                words.push(word);
            }
        }
    }
    let finding = |harms, command, features| Finding {
        who: who.clone(),
        harms,
        command,
        device: device.clone(),
        netns: netns.clone(),
        features,
    };
    let mut found = Vec::new();
    if !stuck.is_empty() {
        found.push(finding(stuck, None, Vec::new()));
    }
    if !harms.is_empty() {
        let prefix = match netns.as_deref() {
            Some("init") => "nsenter -t 1 -n ".to_owned(),
            Some(ns) => format!("ip netns exec {ns} "),
            None => String::new(),
        };
        let command = format!("{prefix}ethtool -K {device} {} off", words.join(" off "));
        found.push(finding(harms, Some(command), names));
    }
    found
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
        let f = find(&[&MERGE_HW], "eth1", None, &features);
        assert_eq!(f[0].command.as_deref(), Some("ethtool -K eth1 lro off"));
        assert_eq!(f[0].features, ["rx-lro"]);
        assert!(sentence(&f).contains("run `ethtool -K eth1 lro off`"));
    }

    #[test]
    fn what_is_off_is_no_finding() {
        assert!(find(&[&MERGE_HW], "eth1", None, &[feature("rx-lro", false, false)]).is_empty());
    }

    #[test]
    fn what_cannot_be_changed_says_so() {
        let f = find(&[&RX_TAGS], "eth1", None, &[feature("rx-vlan-hw-parse", true, true)]);
        assert_eq!(f[0].command, None);
        assert!(sentence(&f).contains("--io packet"));
    }

    #[test]
    fn all_that_is_wrong_with_one_interface_is_one_command_and_each_word_stands_once() {
        let mut features: Vec<Feature> = PEER_TSO.features.iter().map(|n| feature(n, true, false)).collect();
        features.push(feature("tx-checksum-ip-generic", true, false));
        let f = find(&[&PEER_CHECKSUM, &PEER_TSO], "veth0", None, &features);
        assert_eq!(f[0].command.as_deref(), Some("ethtool -K veth0 tx off tso off tx-udp-segmentation off"));
        assert_eq!(f[0].features.len(), 7);
    }

    #[test]
    fn two_interfaces_are_one_sentence_with_both_commands() {
        let peer = |ns: &str| Peer { net: Net::here().unwrap(), name: "eth0".into(), netns: Some(ns.into()) };
        let on = [feature("tx-checksum-ip-generic", true, false)];
        let mut f = find(&[&PEER_CHECKSUM], "a", Some(&peer("x")), &on);
        f.extend(find(&[&PEER_CHECKSUM], "b", Some(&peer("y")), &on));
        let text = sentence(&f);
        assert!(text.starts_with("The other end of a (eth0 in namespace x) leaves TCP checksums"), "{text}");
        let commands = "run `ip netns exec x ethtool -K eth0 tx off` and `ip netns exec y ethtool -K eth0 tx off`, or";
        assert!(text.contains(commands), "{text}");
    }
}
