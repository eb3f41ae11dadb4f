//! Namespaces for these tests: `swsteer-PID-NAME-*`, removed when the test ends.

use std::process::{Child, Command, Stdio};

use smartwire_io::raw::RawSocket;
use smartwire_io::sys;

/// `wire` in the middle with ports `pa` and `pb`; `phone` and `server` at the ends, each with `eth0`.
pub struct Lab {
    base: String,
}

impl Lab {
    /// Fresh namespaces, or `None` (and a line that says why) where the test can't have them. Enters `wire`.
    pub fn new(name: &str) -> Option<Lab> {
        if !sys::is_root() {
            eprintln!("skipped: needs root for network namespaces");
            return None;
        }
        let lab = Lab { base: format!("swsteer-{}-{name}", std::process::id()) };
        if !Command::new("ip").args(["netns", "add", &lab.ns("wire")]).status().is_ok_and(|s| s.success()) {
            eprintln!("skipped: `ip netns add` does not work here (iproute2 missing, or no namespaces)");
            return None;
        }
        for (host, port, v4, v6) in [("phone", "pa", "10.9.0.1/24", "fd09::1/64"), ("server", "pb", "10.9.0.2/24", "fd09::2/64")] {
            run(&format!("ip netns add {}", lab.ns(host)));
            lab.pair(host, port, "eth0");
            lab.exec(host, &format!("ip addr add {v4} dev eth0"));
            lab.exec(host, &format!("ip -6 addr add {v6} dev eth0 nodad"));
        }
        sys::enter_netns(&lab.ns("wire")).unwrap();
        Some(lab)
    }

    /// The namespace of `host`.
    pub fn ns(&self, host: &str) -> String {
        format!("{}-{host}", self.base)
    }

    /// A veth pair: `port` in `wire`, silent; `eth` in `host`.
    pub fn pair(&self, host: &str, port: &str, eth: &str) {
        let (wire, host) = (self.ns("wire"), self.ns(host));
        run(&format!("ip -n {wire} link add {port} type veth peer name {eth} netns {host}"));
        run(&format!("ip netns exec {wire} sysctl -qw net.ipv6.conf.{port}.disable_ipv6=1"));
        run(&format!("ip -n {wire} link set {port} up arp off promisc on"));
        run(&format!("ip netns exec {host} sysctl -qw net.ipv6.conf.{eth}.accept_dad=0"));
        run(&format!("ip -n {host} link set lo up"));
        run(&format!("ip -n {host} link set {eth} up"));
    }

    /// Runs a command line in `host` and returns what it says; it must succeed.
    pub fn exec(&self, host: &str, cmd: &str) -> String {
        run(&format!("ip netns exec {} {cmd}", self.ns(host)))
    }

    /// A Python script in `host`, running beside the test, with its output to be read.
    pub fn python(&self, host: &str, script: &str) -> Script {
        let mut cmd = Command::new("ip");
        cmd.args(["netns", "exec", &self.ns(host), "python3", "-u", "-c", script]);
        Script(Some(cmd.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    /// A raw socket on `eth0` of `host`.
    pub fn raw(&self, host: &str) -> RawSocket {
        self.raw_on(host, "eth0")
    }

    /// A raw socket on any interface of `host`.
    pub fn raw_on(&self, host: &str, eth: &str) -> RawSocket {
        sys::enter_netns(&self.ns(host)).unwrap();
        let socket = RawSocket::open(eth).unwrap();
        sys::enter_netns(&self.ns("wire")).unwrap();
        socket
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in ["phone", "server", "wire"] {
            let _ = Command::new("ip").args(["netns", "del", &self.ns(host)]).stderr(Stdio::null()).status();
        }
    }
}

/// A running script; killed when dropped.
pub struct Script(Option<Child>);

impl Script {
    /// One line of its output.
    pub fn line(&mut self) -> String {
        use std::io::Read;
        let mut line = Vec::new();
        let out = self.0.as_mut().unwrap().stdout.as_mut().unwrap();
        let mut byte = [0];
        while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Says a line to it.
    pub fn say(&mut self, line: &str) {
        use std::io::Write;
        writeln!(self.0.as_mut().unwrap().stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for its end and returns all that it said (after what was read already).
    pub fn finish(mut self) -> String {
        let out = self.0.take().unwrap().wait_with_output().unwrap();
        assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
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
