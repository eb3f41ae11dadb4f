use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::describe::{Class, Entry, Prefixes};
use super::*;

fn at(text: &str) -> Ipv6Addr {
    match text.parse().expect("an address") {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_string()).collect()
}

fn within(prefixes: &[&str]) -> Option<Prefixes> {
    Some(Prefixes { prefixes: texts(prefixes), lists: Vec::new() })
}

fn listed(lists: &[&str]) -> Option<Prefixes> {
    Some(Prefixes { prefixes: Vec::new(), lists: texts(lists) })
}

fn entry(name: &str) -> Entry {
    Entry { name: name.into(), ..Entry::default() }
}

fn ask(table: &Table, access: &str, core: &str, core_port: u16, vlan: u16) -> Option<String> {
    let question = Question { access: at(access), core: at(core), core_port, vlan };
    table.resolve(&question).map(|policy| table.name(policy).to_string())
}

fn example() -> Description {
    Description {
        lists: [
            ("cdn".to_string(), texts(&["192.0.2.0/24", "192.0.2.128/25", "2001:db8:cd::/48"])),
            ("gold".to_string(), texts(&["10.1.0.0/16"])),
        ]
        .into(),
        classes: vec![
            Class { name: "gold".into(), access: listed(&["gold"]).unwrap_or_default(), vlans: vec![] },
            Class { name: "seven".into(), access: Prefixes::default(), vlans: vec![7] },
        ],
        policies: vec![
            Entry { ports: Some(vec![(80, 80), (8000, 8999)]), core: listed(&["cdn"]), ..entry("web") },
            Entry { core: within(&["2001:db8::/32"]), ..entry("six") },
            Entry { classes: Some(texts(&["gold"])), ..entry("gold") },
            Entry { vlans: Some(vec![7]), classes: Some(texts(&["seven"])), ..entry("tagged") },
            Entry { access: within(&["10.9.0.0/16"]), vlans: Some(vec![0]), ..entry("plain") },
            Entry { access: within(&["::/0"]), ..entry("rest of six") },
        ],
    }
}

#[test]
fn the_first_policy_that_matches_in_every_field_counts() {
    let table = Table::build(&example()).unwrap();
    for (access, core, port, vlan, expected) in [
        ("10.0.0.1", "192.0.2.9", 80, 0, Some("web")),
        ("10.0.0.1", "192.0.2.200", 8999, 0, Some("web")),
        ("10.0.0.1", "192.0.2.9", 9000, 0, None),
        ("10.1.0.1", "192.0.2.9", 80, 0, Some("web")),
        ("10.1.0.1", "192.0.2.9", 443, 7, Some("gold")),
        ("10.2.0.1", "192.0.2.9", 443, 7, Some("tagged")),
        ("10.9.0.1", "192.0.2.9", 443, 7, Some("tagged")),
        ("10.9.0.1", "192.0.2.9", 443, 0, Some("plain")),
        ("10.9.0.1", "192.0.2.9", 443, 8, None),
        ("2001:db8:1::1", "2001:db8:cd::9", 80, 0, Some("web")),
        ("2001:db8:1::1", "2001:db8:cd::9", 81, 0, Some("six")),
        ("2001:db8:1::1", "2001:db9::9", 81, 0, Some("rest of six")),
        ("10.10.0.1", "198.51.100.1", 443, 0, None),
    ] {
        assert_eq!(ask(&table, access, core, port, vlan).as_deref(), expected, "{access} {core} {port} {vlan}");
    }
}

#[test]
fn an_empty_table_matches_nothing() {
    assert_eq!(ask(&Table::empty(), "10.0.0.1", "192.0.2.9", 80, 0), None);
}

#[test]
fn what_makes_no_sense_is_said_in_one_sentence() {
    let wrong = |change: fn(&mut Description)| {
        let mut description = example();
        change(&mut description);
        Table::build(&description).unwrap_err().to_string()
    };
    assert!(wrong(|d| d.policies[1].core = within(&["10.0.0.0/33"])).starts_with("10.0.0.0/33 is no prefix"));
    assert_eq!(wrong(|d| d.policies[1].core = listed(&["x"])), "there is no list named x.");
    assert_eq!(wrong(|d| d.policies[1].classes = Some(texts(&["x"]))), "there is no class named x.");
    assert_eq!(wrong(|d| d.policies[1].name = "web".into()), "there are two policies named web: rename one.");
    assert!(wrong(|d| d.policies[1].vlans = Some(vec![4096])).starts_with("there is no VLAN 4096"));
    assert!(wrong(|d| d.policies[1].rate = Some(9)).starts_with("policy six has a rate of 9 bytes a second"));
}

/// A generator of our own: what a test draws must be the same everywhere.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
    fn prefix(&mut self) -> String {
        // Few bits, so that prefixes nest and share their edges.
        if self.below(2) == 0 {
            let length = self.below(9) + 24;
            format!("10.0.{}.{}/{length}", self.below(3), self.below(256) & (0xff << (32 - length)) & 0xff)
        } else {
            let length = self.below(9) + 120;
            format!("2001:db8::{:x}/{length}", self.below(256) & (0xff << (128 - length)) & 0xff)
        }
    }
    fn address(&mut self) -> String {
        if self.below(2) == 0 {
            format!("10.0.{}.{}", self.below(3), self.below(256))
        } else {
            format!("2001:db8::{:x}", self.below(256))
        }
    }
    fn prefixes(&mut self, lists: bool) -> Option<Prefixes> {
        let prefixes = (0..self.below(3)).map(|_| self.prefix()).collect();
        let names = (0..if lists { self.below(3) } else { 0 }).map(|_| format!("list{}", self.below(4))).collect();
        (self.below(3) > 0).then_some(Prefixes { prefixes, lists: names })
    }
    fn description(&mut self) -> Description {
        let lists = (0..4).map(|i| (format!("list{i}"), (0..self.below(20)).map(|_| self.prefix()).collect())).collect();
        let classes = (0..self.below(70)).map(|i| Class {
            name: format!("class{i}"),
            access: self.prefixes(true).unwrap_or_default(),
            vlans: (0..self.below(2)).map(|_| self.below(4) as u16).collect(),
        });
        let classes: Vec<Class> = classes.collect();
        let policies = (0..self.below(150)).map(|i| {
            let some = |draw: &mut Draw| draw.below(3) == 0;
            Entry {
                access: self.prefixes(true),
                core: self.prefixes(true),
                ports: some(self).then(|| vec![(80, 80 + self.below(4) as u16), (443, 443)]),
                vlans: some(self).then(|| vec![self.below(4) as u16]),
                classes: (some(self) && !classes.is_empty())
                    .then(|| vec![format!("class{}", self.below(classes.len() as u64))]),
                ..entry(&format!("policy{i}"))
            }
        });
        let policies = policies.collect();
        Description { lists, classes, policies }
    }
}

/// The same by going through everything, one after the other.
fn plainly(d: &Description, q: &Question) -> Option<u16> {
    let covers = |text: &String, addr: Ipv6Addr| {
        let (prefix, length) = text.split_once('/').expect("a prefix");
        let length: u32 = length.parse().expect("a length");
        match (prefix.parse().expect("an address"), addr.to_ipv4_mapped()) {
            (IpAddr::V4(p), Some(a)) => length == 0 || (p.to_bits() ^ a.to_bits()) >> (32 - length) == 0,
            (IpAddr::V6(p), None) => length == 0 || (p.to_bits() ^ addr.to_bits()) >> (128 - length) == 0,
            _ => false,
        }
    };
    let holds = |p: &Prefixes, addr: Ipv6Addr| {
        let listed = p.lists.iter().flat_map(|name| &d.lists[name]);
        p.prefixes.iter().chain(listed).any(|text| covers(text, addr))
    };
    let class = d.classes.iter().find(|c| holds(&c.access, q.access) || c.vlans.contains(&q.vlan)).map(|c| &c.name);
    let matches = |e: &Entry| {
        e.access.as_ref().is_none_or(|p| holds(p, q.access))
            && e.core.as_ref().is_none_or(|p| holds(p, q.core))
            && e.ports.as_ref().is_none_or(|all| all.iter().any(|(from, to)| (from..=to).contains(&&q.core_port)))
            && e.vlans.as_ref().is_none_or(|all| all.contains(&q.vlan))
            && e.classes.as_ref().is_none_or(|all| class.is_some_and(|c| all.contains(c)))
    };
    d.policies.iter().position(matches).map(|i| i as u16)
}

#[test]
fn the_compiled_table_says_what_going_through_all_policies_says() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let mut found = [0; 2];
    for round in 0..60 {
        let mut draw = Draw(seed + round);
        let description = draw.description();
        let table = Table::build(&description).unwrap();
        for _ in 0..300 {
            let (access, core) = (draw.address(), draw.address());
            let question = Question {
                access: at(&access),
                core: at(&core),
                core_port: [79, 80, 82, 84, 443][draw.below(5) as usize],
                vlan: draw.below(5) as u16,
            };
            let expected = plainly(&description, &question);
            assert_eq!(table.resolve(&question), expected, "SEED={} {access} {core} {question:?}", seed + round);
            found[usize::from(expected.is_some())] += 1;
        }
    }
    assert!(found[0] > 500 && found[1] > 500, "{found:?}: the draw finds nothing or always the same");
}

#[test]
fn two_thousand_policies_and_a_list_of_131072_prefixes_stay_small_and_agree() {
    let mut draw = Draw(7);
    let list = (0..131_072u32).map(|i| format!("{}.{}.{}.0/24", 20 + (i >> 16), i >> 8 & 255, i & 255)).collect();
    let policies = (0..2000).map(|i| {
        let core = if i == 1990 { listed(&["big"]) } else { within(&[&format!("198.{}.{}.0/24", i / 250, i % 250)]) };
        Entry { core, ..entry(&format!("p{i}")) }
    });
    let d = Description { lists: [("big".to_string(), list)].into(), classes: vec![], policies: policies.collect() };
    let table = Table::build(&d).unwrap();
    for _ in 0..1000 {
        let i = draw.below(1990);
        let core = format!("198.{}.{}.7", i / 250, i % 250);
        assert_eq!(ask(&table, "10.0.0.1", &core, 443, 0), Some(format!("p{i}")));
        let core = format!("{}.{}.{}.9", 20 + draw.below(2), draw.below(256), draw.below(256));
        assert_eq!(ask(&table, "10.0.0.1", &core, 443, 0).as_deref(), Some("p1990"));
    }
    assert_eq!(ask(&table, "10.0.0.1", "22.0.0.1", 443, 0), None);
}

/// A port, or a number below 256, that only this name has.
fn port(name: &str) -> u16 {
    u16::from(name.as_bytes()[0])
}

#[test]
fn what_policies_and_classes_of_the_same_names_counted_goes_on_counting() {
    let named = |names: &[&str], classes: &[&str]| {
        let policies = names.iter().map(|name| Entry { ports: Some(vec![(port(name), port(name))]), ..entry(name) }).collect();
        let class = |(i, name): (usize, &&str)| Class {
            name: (*name).into(),
            access: Prefixes { prefixes: vec![format!("10.{}.0.0/16", port(name))], ..Prefixes::default() },
            vlans: vec![i as u16 + 100],
        };
        let classes = classes.iter().enumerate().map(class).collect();
        Policies::new(Arc::new(Table::build(&Description { policies, classes, ..Description::default() }).unwrap()))
    };
    let question = |policy: &str, class: &str| Question {
        access: Ipv4Addr::new(10, port(class) as u8, 0, 1).to_ipv6_mapped(),
        core: Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped(),
        core_port: port(policy),
        vlan: 0,
    };
    let mut before = named(&["a", "b", "c"], &["gold", "lead"]);
    for (policy, class) in [("a", "gold"), ("c", "lead"), ("c", "gold"), ("z", "z")] {
        before.decide(&question(policy, class));
    }
    assert_eq!((before.hits(), before.of_classes()), (&[1, 0, 2][..], &[2, 1][..]));
    let mut after = named(&["c", "d", "a"], &["new", "gold"]);
    after.go_on_from(&before);
    assert_eq!(after.of_classes(), [0, 2]);
    assert_eq!(after.hits(), [2, 0, 1]);
}
