//! Network namespaces for tests: made fresh, removed when the test ends.
#![allow(dead_code)]

use std::process::Command;

use smartwire_io::sys;

/// One network namespace, named `sw-NAME-PID`; more hang off it with [`Lab::host`].
pub struct Lab {
    ns: String,
    hosts: std::cell::RefCell<Vec<String>>,
}

impl Lab {
    /// A fresh namespace, or `None` (and a line that says why) where the test can't have one.
    pub fn new(name: &str) -> Option<Lab> {
        if !sys::is_root() {
            eprintln!("skipped: needs root for network namespaces");
            return None;
        }
        let ns = format!("sw-{name}-{}", std::process::id());
        if !Command::new("ip").args(["netns", "add", &ns]).status().is_ok_and(|s| s.success()) {
            eprintln!("skipped: `ip netns add` does not work here (iproute2 missing, or no namespaces)");
            return None;
        }
        Some(Lab { ns, hosts: Default::default() })
    }

    /// The namespace's name for `ip netns exec`.
    pub fn ns(&self) -> &str {
        &self.ns
    }

    /// Puts the calling thread into the namespace.
    pub fn enter(&self) {
        sys::enter_netns(&self.ns).unwrap();
    }

    /// Runs `ip ARGS` inside, and insists that it works.
    pub fn ip(&self, args: &str) {
        run(&format!("ip -n {} {args}", self.ns));
    }

    /// Runs any command inside and returns its output.
    pub fn exec(&self, cmd: &str) -> String {
        run(&format!("ip netns exec {} {cmd}", self.ns))
    }

    /// A veth pair inside, both ends up, without IPv6 chatter.
    pub fn veth(&self, a: &str, b: &str) {
        self.ip(&format!("link add {a} type veth peer name {b}"));
        for i in [a, b] {
            self.exec(&format!("sysctl -qw net.ipv6.conf.{i}.disable_ipv6=1"));
            self.ip(&format!("link set {i} up"));
        }
        // Until the kernel has noticed the carrier, what is sent is dropped.
        for i in [a, b] {
            for _ in 0..250 {
                if run(&format!("ip -n {} link show {i}", self.ns)).contains("state UP") {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }

    /// A host in a namespace of its own, joined to this one: `port` here, `eth0` there with address `addr`.
    pub fn host(&self, name: &str, port: &str, addr: &str, mtu: u32) -> String {
        let host = format!("{}-{name}", self.ns);
        run(&format!("ip netns add {host}"));
        self.hosts.borrow_mut().push(host.clone());
        run(&format!("ip -n {} link add {port} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {host}", self.ns));
        run(&format!("ip -n {host} addr add {addr} dev eth0"));
        run(&format!("ip -n {host} link set lo up"));
        run(&format!("ip -n {host} link set eth0 up"));
        self.ip(&format!("link set {port} up"));
        host
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for ns in self.hosts.borrow().iter().chain([&self.ns]) {
            let _ = Command::new("ip").args(["netns", "del", ns]).status();
        }
    }
}

/// Runs a command line (split at spaces) and returns its standard output; fails the test when it fails.
pub fn run(cmd: &str) -> String {
    let mut words = cmd.split_whitespace();
    let out = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(out.status.success(), "{cmd}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}
