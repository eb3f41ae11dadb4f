//! What may be attached where, what is left, and what someone else has put there.

use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::PATIENT;
use crate::steer::bpf::{self, ProgKind};
use crate::steer::maps::borrow;
use crate::steer::rtnl::{self, XdpHook};
use crate::steer::{AttachOptions, Attached, Beat, Mode, Steer};
use crate::sys;

/// A namespace, entered, with interfaces `p0` to `p5` (three veth pairs).
struct Net(String);

impl Net {
    fn new(name: &str) -> Option<Net> {
        if !sys::is_root() {
            eprintln!("skipped: needs root for network namespaces");
            return None;
        }
        let net = Net(format!("swsteer-{}-{name}", std::process::id()));
        if !Command::new("ip").args(["netns", "add", &net.0]).status().is_ok_and(|s| s.success()) {
            eprintln!("skipped: `ip netns add` does not work here (iproute2 missing, or no namespaces)");
            return None;
        }
        sys::enter_netns(&net.0).unwrap();
        for i in [0, 2, 4] {
            sh(&format!("ip link add p{i} type veth peer name p{}", i + 1));
        }
        for i in 0..6 {
            sh(&format!("ip link set p{i} up"));
        }
        Some(net)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Runs a command line; it must succeed.
fn sh(cmd: &str) -> String {
    let out = Command::new("sh").args(["-c", cmd]).output().unwrap();
    assert!(out.status.success(), "{cmd}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn index(name: &str) -> u32 {
    sys::if_index(name).unwrap()
}

fn pair(a: u32) -> (u32, u32) {
    (index(&format!("p{a}")), index(&format!("p{}", a + 2)))
}

fn refusal(pairs: &[(u32, u32)]) -> String {
    Steer::attach(pairs, Mode::Packet, &PATIENT).unwrap_err().to_string()
}

/// Two instructions: "2" (pass).
fn someones_xdp() -> std::os::fd::OwnedFd {
    let code = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    bpf::prog_load(ProgKind::Xdp, "theirs", &code).unwrap()
}

#[test]
fn unwire_leaves_nothing_in_any_mode() {
    let Some(_net) = Net::new("unwire") else { return };
    let before = sh("tc qdisc show; tc filter show dev p0 ingress; ip -o link | grep -c xdp || true");
    for mode in [Mode::Packet, Mode::XdpGeneric, Mode::XdpNative] {
        let (a, b) = pair(0);
        drop(Steer::attach(&[(a, b)], mode, &PATIENT).unwrap());
        let there = Steer::inspect("p0").unwrap();
        assert!(there.tc.is_some() && there.xdp.is_some() == (mode != Mode::Packet), "{there:?}");
        assert_eq!((there.peer_ifindex, there.live, there.owner_pid), (Some(b), false, 0));
        assert!(Steer::unwire(a, b).unwrap());
        assert_eq!(sh("tc qdisc show; tc filter show dev p0 ingress; ip -o link | grep -c xdp || true"), before);
        assert_eq!(Steer::inspect("p0").unwrap(), Attached::default());
        assert!(!Steer::unwire(a, b).unwrap(), "twice");
    }
}

#[test]
fn someone_elses_programs_are_refused_with_the_command_that_removes_them() {
    let Some(_net) = Net::new("theirs") else { return };
    let (a, b) = pair(0);
    for (hook, command) in [(XdpHook::Stack, "ip link set dev p2 xdpgeneric off"), (XdpHook::Driver, "ip link set dev p2 xdpdrv off")] {
        rtnl::set_xdp(b, hook, None, Some(borrow(&someones_xdp()))).unwrap();
        let said = refusal(&[(a, b)]);
        assert!(said.contains("p2") && said.contains("theirs") && said.contains(&format!("`{command}`")), "{said}");
        assert!(Steer::inspect("p2").unwrap().foreign_xdp.is_some());
        sh(command);
    }
    sh("tc qdisc add dev p0 clsact && tc filter add dev p0 ingress bpf bytecode '1,6 0 0 0' flowid 1:1");
    let said = refusal(&[(a, b)]);
    assert!(said.contains("`tc filter del dev p0 ingress`"), "{said}");
    assert!(Steer::inspect("p0").unwrap().foreign_tc);
    assert_eq!(Steer::inspect("p2").unwrap(), Attached::default(), "nothing half done");
    sh("tc filter del dev p0 ingress");
    // Newer kernels have a second hook for tc programs, in front of the filters.
    let code = [0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let theirs = bpf::prog_load(ProgKind::Tc, "theirs", &code).unwrap();
    if bpf::tcx_attach(a, &theirs).is_ok() {
        let said = refusal(&[(a, b)]);
        assert!(said.contains("`bpftool net detach tcx_ingress dev p0`"), "{said}");
        bpf::tcx_detach(a, &theirs).unwrap();
    }
    // Their egress filter is none of our business, and their qdisc stays for it.
    sh("tc filter add dev p0 egress bpf bytecode '1,6 0 0 0' flowid 1:1");
    drop(Steer::attach(&[(a, b)], Mode::Packet, &PATIENT).unwrap());
    assert!(Steer::unwire(a, b).unwrap());
    assert!(sh("tc filter show dev p0 egress").contains("bytecode"));
}

#[test]
fn a_wire_is_taken_over_whole_or_not_at_all() {
    let Some(_net) = Net::new("whole") else { return };
    let ((a, b), (c, d)) = (pair(0), pair(1));
    assert!(refusal(&[(a, a)]).contains("p0 is given twice"));
    assert!(refusal(&[]).contains("1 to 16 pairs"));
    assert!(refusal(&[(a, 987_654)]).contains("no interface with index 987654"));
    drop(Steer::attach(&[(a, b), (c, d)], Mode::XdpGeneric, &PATIENT).unwrap());
    let said = refusal(&[(a, b)]);
    assert!(said.contains("p0 is already a wire with p1, p3") && said.contains("smartwire unwire p0 p2"), "{said}");
    let said = refusal(&[(a, d)]);
    assert!(said.contains("`smartwire unwire p0 p2`"), "{said}");
    let said = Steer::unwire(a, d).unwrap_err().to_string();
    assert!(said.contains("`smartwire unwire p0 p2`"), "{said}");
    drop(Steer::attach(&[(a, b), (c, d)], Mode::XdpNative, &PATIENT).unwrap());
    assert!(Steer::unwire(c, d).unwrap());
    drop(Steer::attach(&[(a, b)], Mode::Packet, &PATIENT).unwrap());
    // An interface that is gone is no part of anything.
    sh("ip link del p2");
    sh("ip link add p2 type veth peer name p3x && ip link set p2 up");
    let said = refusal(&[(a, index("p2"))]);
    assert!(said.contains("`tc filter del dev p0 ingress`"), "{said}");
}

#[test]
fn a_port_that_refuses_leaves_the_others_as_they_were() {
    let Some(_net) = Net::new("undo") else { return };
    let (a, b) = pair(0);
    drop(Steer::attach(&[(a, b)], Mode::XdpGeneric, &PATIENT).unwrap());
    let before = [Steer::inspect("p0").unwrap(), Steer::inspect("p2").unwrap()];
    // The loopback device has no XDP in its driver.
    sh("ip link set lo up");
    let lo = index("lo");
    let err = Steer::attach(&[(pair(1).0, lo)], Mode::XdpNative, &PATIENT).unwrap_err().to_string();
    assert!(err.contains("on lo"), "{err}");
    assert_eq!(Steer::inspect("p1").unwrap(), Attached::default());
    assert_eq!(Steer::inspect("lo").unwrap(), Attached::default());
    assert_eq!([Steer::inspect("p0").unwrap(), Steer::inspect("p2").unwrap()], before);
}

#[test]
fn counters_survive_a_restart_and_a_running_wire_is_not_taken_over() {
    let Some(_net) = Net::new("restart") else { return };
    let (a, b) = pair(0);
    let first = Steer::attach(&[(a, b)], Mode::Packet, &PATIENT).unwrap();
    sh("ip link set p1 down; ip link set p1 up; sleep 0.1");
    let mut tx = crate::raw::RawSocket::open("p1").unwrap();
    let frame = [&[2; 12][..], &[0x88, 0xb5], &[1; 50]].concat();
    assert_eq!(tx.send(&[&frame]).unwrap(), 1);
    let counted = first.counters();
    assert!(counted.copper_frames[0] >= 1 && counted.copper_bytes[0] >= 64);
    first.heartbeat().claim().unwrap();
    let said = refusal(&[(a, b)]);
    assert!(said.contains("running wire") && said.contains(&std::process::id().to_string()), "{said}");
    assert_eq!(Steer::inspect("p0").unwrap().owner_pid, std::process::id());
    first.heartbeat().release();
    let second = Steer::attach(&[(a, b)], Mode::XdpGeneric, &PATIENT).unwrap();
    assert!(second.counters().copper_frames[0] >= counted.copper_frames[0]);
    // Whoever was succeeded must stop.
    second.heartbeat().claim().unwrap();
    assert_eq!(first.heartbeat().beat(), Beat::Lost);
    assert!(first.heartbeat().claim().is_err());
    assert_eq!(second.heartbeat().beat(), Beat::Alive);
}

#[test]
fn a_gap_between_two_beats_is_found_once_and_counted() {
    let Some(_net) = Net::new("gap") else { return };
    let opts = AttachOptions { timeout: Duration::from_millis(25), ..PATIENT };
    let steer = Steer::attach(&[pair(0)], Mode::Packet, &opts).unwrap();
    let beat = steer.heartbeat().clone();
    assert_eq!(beat.beat(), Beat::Lost, "before the claim");
    beat.claim().unwrap();
    // From here on by a clock of our own that is well ahead of the real one.
    let mut now = crate::steer::Heartbeat::now_ns() + 1_000_000_000;
    beat.beat_at(now);
    let opened = steer.open_count();
    for _ in 0..100 {
        now += 24_999_999;
        assert_eq!(beat.beat_at(now), Beat::Alive);
    }
    now += 1_000_000_000;
    assert_eq!(beat.beat_at(now), Beat::Alive, "no frame came meanwhile");
    // A frame that comes after the last beat finds the wire open.
    steer.heartbeat().wire.page().open_beat.store(now, Relaxed);
    now += 25_000_000 + 7;
    assert_eq!(beat.clone().beat_at(now), Beat::Opened { for_ns: 7, late: true });
    assert_eq!(beat.beat_at(now), Beat::Alive);
    assert_eq!(beat.beat_at(now - 50_000_000), Beat::Alive, "a thread that read the clock earlier");
    assert_eq!(steer.open_count(), opened + 1);
    beat.release();
    assert_eq!(beat.beat_at(now), Beat::Lost);
    assert_eq!(steer.open_count(), opened + 1);
}
