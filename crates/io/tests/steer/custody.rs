//! Custody that outlives its engine.

use std::io::{BufRead, BufReader, Lines};
use std::net::{IpAddr, Ipv6Addr};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use smartwire_engine::api::{CustodyMark, FlowKey};
use smartwire_io::raw::RawSocket;
use smartwire_io::steer::{AttachOptions, Beat, CustodyBook, Mode};
use smartwire_packet::tcp::{Flags, Tcp};
use smartwire_packet::{csum, parse};

use crate::engine::Engine;
use crate::frames::{addresses, macs, made_up, receive, up, PHONE, SERVER};
use crate::lab::{run, Lab};
use crate::wire::{attach, attach_with, MODES, PATIENT};

fn mapped(a: IpAddr) -> Ipv6Addr {
    match a {
        IpAddr::V4(a) => a.to_ipv6_mapped(),
        IpAddr::V6(a) => a,
    }
}

/// The flow of [`up`] from port 4000 to port 80.
fn made_up_flow(v6: bool) -> FlowKey {
    let (phone, server) = addresses(v6);
    FlowKey { access_addr: mapped(phone), core_addr: mapped(server), access_port: 4000, core_port: 80, scope: 0 }
}

/// Numbers that show in which field they ended up.
fn made_up_mark() -> CustodyMark {
    CustodyMark {
        custody: true,
        rcv_nxt: [0x1000_0001, 0x2000_0002],
        snd_nxt: [0x3000_0003, 0x4000_0004],
        macs: [macs(PHONE, SERVER), macs(SERVER, PHONE)],
        tpid: [0, 0],
        port: [0, 0],
    }
}

fn mark(book: &CustodyBook, key: &FlowKey, mark: &CustodyMark) -> u32 {
    let entry = book.claim(key).expect("room in the book");
    book.write(entry, mark);
    entry
}

/// (source port, destination port, sequence, acknowledgement, flags, payload bytes) of a TCP frame whose sums are right.
fn tcp(frame: &[u8]) -> (u16, u16, u32, u32, Flags, u16) {
    let layers = parse(frame).unwrap();
    assert!(csum::verify_l4(frame, &layers), "TCP checksum of {frame:02x?}");
    let t = Tcp::new(frame, &layers).unwrap();
    (t.src_port(), t.dst_port(), t.seq(), t.ack(), t.flags(), layers.data_len())
}

const ECHO: &str = "
import socket, threading
s = socket.create_server(('::', 80), family=socket.AF_INET6, dualstack_ipv6=True)
print('ready')
def serve(c, port):
    try:
        while b := c.recv(1000): c.sendall(b)
        print('end', port)
    except ConnectionResetError:
        print('reset', port)
while True:
    c, a = s.accept()
    threading.Thread(target=serve, args=(c, a[1]), daemon=True).start()
";

const TALK: &str = "
import socket, sys
host = sys.stdin.readline().strip()
a, b = [socket.create_connection((host, 80), timeout=20) for _ in 'ab']
for c in (a, b):
    c.sendall(b'hello'); assert c.recv(5) == b'hello'
print(a.getsockname()[1], b.getsockname()[1])
sys.stdin.readline()
try:
    a.sendall(bytes(300_000)); print('a', a.recv(5))
except (ConnectionResetError, BrokenPipeError):
    print('a reset')
b.sendall(b'still'); print('b', b.recv(5).decode())
";

/// What the server's echo to `port` says, as the mark of a flow of which all was acknowledged.
fn mark_of(phone: &mut RawSocket, port: u16, host: IpAddr) -> (FlowKey, CustodyMark) {
    let echo = |f: &[u8]| parse(f).is_ok_and(|l| l.is_tcp() && l.ports(f) == Some((80, port)) && l.data_len() == 5);
    let frame = receive(phone, 1, echo).remove(0);
    let layers = parse(&frame).unwrap();
    let t = Tcp::new(&frame, &layers).unwrap();
    let server_next = t.seq() + 5;
    let (dst, src) = (frame[..6].try_into().unwrap(), frame[6..12].try_into().unwrap());
    let key = FlowKey {
        access_addr: layers.dst(&frame),
        core_addr: mapped(host),
        access_port: port,
        core_port: 80,
        scope: 0,
    };
    let mark = CustodyMark {
        custody: true,
        rcv_nxt: [server_next, t.ack()],
        snd_nxt: [t.ack(), server_next],
        macs: [macs(dst, src), macs(src, dst)],
        tpid: [0, 0],
        port: [0, 0],
    };
    (key, mark)
}

const CHILD: &str = "SWSTEER_CHILD";

/// An engine in a process of its own that has claimed the wire and marked one flow, as it is told in CHILD.
#[test]
#[ignore = "the tests that kill it run it"]
fn an_engine_to_be_killed() {
    let Ok(orders) = std::env::var(CHILD) else { return };
    let words: Vec<&str> = orders.split(' ').collect();
    let number = |i: usize| words[i].parse::<u32>().unwrap();
    let mode = MODES.into_iter().find(|m| format!("{m:?}") == words[0]).unwrap();
    let steer = attach(mode);
    steer.heartbeat().claim().unwrap();
    let mac = |i: usize| std::array::from_fn(|b| u8::from_str_radix(&words[i][b * 2..b * 2 + 2], 16).unwrap());
    let key = FlowKey {
        access_addr: words[1].parse().unwrap(),
        core_addr: words[2].parse().unwrap(),
        access_port: number(3) as u16,
        core_port: number(4) as u16,
        scope: words[11].parse().unwrap(),
    };
    let numbers = CustodyMark {
        custody: true,
        rcv_nxt: [number(5), number(6)],
        snd_nxt: [number(7), number(8)],
        macs: [mac(9), mac(10)],
        tpid: [0, 0],
        port: [0, 0],
    };
    mark(steer.custody(), &key, &numbers);
    println!("\nmarked");
    loop {
        match steer.heartbeat().beat() {
            Beat::Alive => {}
            Beat::Opened { .. } => println!("opened"),
            Beat::Lost => return println!("lost"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A running [`an_engine_to_be_killed`]; killed when dropped.
struct EngineProcess {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl EngineProcess {
    /// Returns when it has claimed the wire and marked `flow`.
    fn start(lab: &Lab, mode: Mode, (k, m): &(FlowKey, CustodyMark)) -> EngineProcess {
        let hex = |b: [u8; 12]| b.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let (r, s) = (m.rcv_nxt, m.snd_nxt);
        let mut orders = format!("{mode:?} {} {} {} {}", k.access_addr, k.core_addr, k.access_port, k.core_port);
        orders += &format!(" {} {} {} {} {} {} {}", r[0], r[1], s[0], s[1], hex(m.macs[0]), hex(m.macs[1]), k.scope);
        let mut child = Command::new("ip")
            .args(["netns", "exec", &lab.ns("wire")])
            .arg(std::env::current_exe().unwrap())
            .args(["custody::an_engine_to_be_killed", "--exact", "--ignored", "--nocapture"])
            .env(CHILD, orders)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut engine = EngineProcess { child, said };
        engine.says("marked");
        engine
    }

    /// Waits until it says so.
    fn says(&mut self, what: &str) {
        assert!(self.said.by_ref().map_while(Result::ok).any(|l| l == what), "the engine never said: {what}");
    }

    /// `kill -SIGNAL`.
    fn signal(&self, signal: &str) {
        run(&format!("kill -{signal} {}", self.child.id()));
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts an engine and kills it with SIGKILL when it has marked the flow. When this returns it is taken for dead.
fn engine_lives_and_is_killed(lab: &Lab, mode: Mode, flow: &(FlowKey, CustodyMark)) {
    drop(EngineProcess::start(lab, mode, flow));
    std::thread::sleep(10 * AttachOptions::default().timeout);
}

#[test]
fn a_killed_engines_marked_flow_is_reset_at_both_ends_and_an_unmarked_one_never_notices() {
    let Some(lab) = Lab::new("killed") else { return };
    let steer = attach(Mode::Packet);
    drop(steer);
    // Partial checksums first, then complete ones.
    for (offload, modes) in [("on", &MODES[..]), ("off", &MODES[1..2])] {
        for host in ["phone", "server"] {
            lab.exec(host, &format!("ethtool -K eth0 tx {offload}"));
        }
        for (&mode, host) in modes.iter().flat_map(|m| [(m, "10.9.0.2"), (m, "fd09::2")]) {
            let at = format!("{mode:?} {host}, offloads {offload}");
            let mut phone = lab.raw("phone");
            let mut server = lab.python("server", ECHO);
            assert_eq!(server.line(), "ready");
            let mut client = lab.python("phone", TALK);
            client.say(host);
            let ports = client.line();
            let marked: u16 = ports.split(' ').next().unwrap().parse().unwrap();
            let flow = mark_of(&mut phone, marked, host.parse().unwrap());
            engine_lives_and_is_killed(&lab, mode, &flow);
            client.say("go");
            assert_eq!(client.finish(), "a reset\nb still\n", "{at}");
            let mut said = [server.line(), server.line()];
            said.sort();
            let (a, b) = ports.split_once(' ').unwrap();
            assert_eq!(said, [format!("end {b}"), format!("reset {a}")], "{at}");
        }
    }
    let steer = attach(Mode::Packet);
    assert!(steer.counters().resets >= 16, "{:?}", steer.counters());
    assert!(steer.custody().survivors().count() >= 1);
}

#[test]
fn resets_carry_the_numbers_of_the_segment_and_of_the_book() {
    let Some(lab) = Lab::new("numbers") else { return };
    for v6 in [false, true] {
        let (mut phone, mut server) = (lab.raw("phone"), lab.raw("server"));
        let steer = attach_with(Mode::Packet, &PATIENT);
        steer.heartbeat().claim().unwrap();
        mark(steer.custody(), &made_up_flow(v6), &made_up_mark());
        steer.heartbeat().release();
        let before = steer.counters();
        let data = up(v6, |p| p).tcp(4000, 80).seq(77).ack(88).options(&[1, 1, 1, 1]).payload(&[5; 900]).build();
        for round in 0..2 {
            phone.send(&[&data]).unwrap();
            let back = receive(&mut phone, 1, made_up).remove(0);
            assert_eq!(back[..12], macs(PHONE, SERVER));
            // RFC 9293 3.10.7.1: the sequence number is the segment's acknowledgement.
            assert_eq!(tcp(&back), (80, 4000, 88, 0, Flags::RST, 0), "round {round}");
            let layers = parse(&back).unwrap();
            let key = made_up_flow(v6);
            assert_eq!((layers.src(&back), layers.dst(&back)), (key.core_addr, key.access_addr));
            assert!(csum::verify_ip(&back, &layers));
        }
        // Once to the other end.
        let on = receive(&mut server, 1, made_up).remove(0);
        assert_eq!(on[..12], macs(SERVER, PHONE));
        assert_eq!(tcp(&on), (4000, 80, 0x2000_0002, 0x4000_0004, Flags::RST | Flags::ACK, 0));
        assert_eq!(steer.counters().resets - before.resets, 3);
        assert_eq!(steer.counters().copper_frames, before.copper_frames);
        // A reset passes, unanswered.
        let reset = up(v6, |p| p).tcp(4000, 80).seq(77).flags(Flags::RST).build();
        phone.send(&[&reset]).unwrap();
        assert_eq!(receive(&mut server, 1, made_up), [reset]);
        // So does a new connection, and then the old mark is gone.
        let syn = up(v6, |p| p).tcp(4000, 80).seq(5).flags(Flags::SYN).build();
        phone.send(&[&syn, &data]).unwrap();
        assert_eq!(receive(&mut server, 2, made_up), [syn, data]);
        assert_eq!(steer.counters().resets - before.resets, 3);
        assert_eq!(steer.custody().survivors().count(), 0);
    }
}

#[test]
fn a_new_engine_sees_nothing_of_a_survivor_until_it_forgets_it() {
    let Some(lab) = Lab::new("survivor") else { return };
    drop(attach(Mode::Packet));
    let (mut phone, mut server) = (lab.raw("phone"), lab.raw("server"));
    let key = FlowKey { scope: 0x1005_1006, ..made_up_flow(true) };
    let link = |p: smartwire_packet::build::Packet| p.service_vlan(5).vlan(6);
    let of_survivor = up(true, link).tcp(4000, 80).seq(1).ack(2).payload(b"x").build();
    let of_another = up(true, link).tcp(4001, 80).seq(1).ack(2).payload(b"x").build();
    for mode in MODES {
        engine_lives_and_is_killed(&lab, mode, &(key, made_up_mark()));
        let steer = attach_with(mode, &PATIENT);
        let mut engine = Engine::open(&steer, mode, &["pa", "pb"]);
        steer.heartbeat().claim().unwrap();
        let survivors: Vec<_> = steer.custody().survivors().collect();
        assert_eq!(survivors.len(), 1, "{mode:?}");
        assert_eq!((survivors[0].key, survivors[0].mark, survivors[0].resets), (key, made_up_mark(), [0, 0]));
        phone.send(&[&of_survivor, &of_another]).unwrap();
        let back = receive(&mut phone, 1, made_up).remove(0);
        assert_eq!(back[..20], [&macs(PHONE, SERVER)[..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]].concat(), "{mode:?}");
        assert_eq!(tcp(&back), (80, 4000, 2, 0, Flags::RST, 0), "{mode:?}");
        let on = receive(&mut server, 1, made_up).remove(0);
        assert_eq!(tcp(&on).4, Flags::RST | Flags::ACK, "{mode:?}");
        while engine.seen.is_empty() {
            engine.turn();
        }
        assert_eq!(steer.custody().survivors().next().unwrap().resets, [1, 1]);
        steer.custody().forget(survivors[0].entry);
        phone.send(&[&of_survivor]).unwrap();
        while engine.seen.len() < 2 {
            engine.turn();
        }
        let expected = [of_another.clone(), of_survivor.clone()];
        assert_eq!(engine.seen, expected.clone().map(|f| (0, f)), "{mode:?}");
        assert_eq!(receive(&mut server, 2, made_up), expected, "{mode:?}");
        steer.heartbeat().release();
    }
}

#[test]
fn a_hung_engine_finds_out_whether_the_wire_only_opened_or_is_anothers() {
    let Some(lab) = Lab::new("hung") else { return };
    drop(attach(Mode::Packet));
    let (mut phone, mut server) = (lab.raw("phone"), lab.raw("server"));
    let marked = up(false, |p| p).tcp(4000, 80).seq(1).ack(2).payload(b"x").build();
    let unmarked = up(false, |p| p).tcp(4001, 80).seq(1).ack(2).payload(b"x").build();
    for mode in MODES {
        let mut engine = EngineProcess::start(&lab, mode, &(made_up_flow(false), made_up_mark()));
        engine.signal("STOP");
        // Three timeouts after the last beat, whatever the traffic.
        std::thread::sleep(4 * AttachOptions::default().timeout);
        phone.send(&[&unmarked]).unwrap();
        assert_eq!(receive(&mut server, 1, made_up), [unmarked.clone()], "{mode:?}");
        std::thread::sleep(10 * AttachOptions::default().timeout);
        phone.send(&[&marked]).unwrap();
        assert_eq!(tcp(&receive(&mut server, 1, made_up)[0]).4, Flags::RST | Flags::ACK, "{mode:?}");
        assert_eq!(tcp(&receive(&mut phone, 1, made_up)[0]).4, Flags::RST, "{mode:?}");
        engine.signal("CONT");
        engine.says("opened");
        engine.signal("STOP");
        std::thread::sleep(Duration::from_millis(30));
        let next = attach_with(mode, &PATIENT);
        next.heartbeat().claim().unwrap();
        engine.signal("CONT");
        engine.says("lost");
        assert!(next.open_count() >= 2, "{mode:?}: {}", next.open_count());
        next.custody().survivors().for_each(|s| next.custody().forget(s.entry));
        next.heartbeat().release();
    }
}

#[test]
fn a_book_of_a_million_entries_is_filled_found_again_and_forgotten() {
    let Some(_lab) = Lab::new("million") else { return };
    let opts = AttachOptions { custody_entries: 1 << 20, ..PATIENT };
    let steer = attach_with(Mode::Packet, &opts);
    steer.heartbeat().claim().unwrap();
    let flow = |i: u32| FlowKey { access_addr: Ipv6Addr::from(u128::from(i) << 64 | 7), ..made_up_flow(true) };
    let wanted = (1 << 20) / 4 * 3;
    let entries: Vec<u32> = (0..wanted).filter_map(|i| steer.custody().claim(&flow(i))).collect();
    // Three quarters full, at most one in ten thousand finds both of its buckets full.
    let most = wanted as usize / 10_000 * 9_999;
    assert!(entries.len() >= most, "{} of {wanted}", entries.len());
    for (i, &entry) in entries.iter().enumerate() {
        steer.custody().write(entry, &CustodyMark { custody: i % 2 == 0, ..made_up_mark() });
    }
    let marked = entries.len().div_ceil(2);
    steer.heartbeat().release();
    drop(steer);
    // An existing book keeps its size, whatever is asked for.
    let steer = attach_with(Mode::XdpGeneric, &PATIENT);
    steer.heartbeat().claim().unwrap();
    let survivors: Vec<u32> = steer.custody().survivors().map(|s| s.entry).collect();
    assert_eq!(survivors.len(), marked);
    survivors.iter().for_each(|&e| steer.custody().forget(e));
    assert_eq!(steer.custody().survivors().count(), 0);
    // All of it is free again.
    let again = (0..wanted).filter(|&i| steer.custody().claim(&flow(i)).is_some()).count();
    assert!(again >= most, "{again} of {wanted}");
}

/// A flow of many.
fn one_of_many(i: u32) -> FlowKey {
    FlowKey { access_addr: Ipv6Addr::from(u128::from(i) << 64 | 7), ..made_up_flow(true) }
}

const MANY: u32 = 1_000_000;

/// As [`an_engine_to_be_killed`], with a million connections in memory, every second one marked.
#[test]
#[ignore = "the test that kills it runs it"]
fn an_engine_with_a_million_flows_to_be_killed() {
    let Ok(_) = std::env::var(CHILD) else { return };
    let steer = attach(Mode::Packet);
    steer.heartbeat().claim().unwrap();
    // The size of as many records.
    let records = vec![7u8; MANY as usize * 240];
    let mut marked = 0;
    for i in 0..MANY {
        steer.heartbeat().beat();
        if let Some(entry) = steer.custody().claim(&one_of_many(i)) {
            steer.custody().write(entry, &CustodyMark { custody: i % 2 == 0, ..made_up_mark() });
            marked += u32::from(i % 2 == 0);
        }
    }
    println!("\n{marked}");
    while records[0] == 7 {
        steer.heartbeat().beat();
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn traffic_flows_again_at_once_when_an_engine_with_a_million_flows_is_killed() {
    let Some(lab) = Lab::new("crowd") else { return };
    drop(attach_with(Mode::Packet, &AttachOptions { custody_entries: 1 << 21, ..AttachOptions::default() }));
    let (mut phone, mut server) = (lab.raw("phone"), lab.raw("server"));
    let mut child = Command::new("ip")
        .args(["netns", "exec", &lab.ns("wire")])
        .arg(std::env::current_exe().unwrap())
        .args(["custody::an_engine_with_a_million_flows_to_be_killed", "--exact", "--ignored", "--nocapture"])
        .env(CHILD, "")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let marked: usize = lines.find_map(|l| l.parse().ok()).expect("it ended early");
    assert!(marked >= MANY as usize / 2 - 100);
    child.kill().unwrap();
    let killed = std::time::Instant::now();
    // A live engine without a socket drops what it claims; a frame each millisecond finds out when the wire opens.
    // Three timeouts of 25 ms are too long for anybody: whatever the machine's speed, no more frames are lost.
    let number = |n: u16| up(false, |p| p).tcp(4001, 80).seq(1).ack(2).payload(&n.to_be_bytes()).build();
    let mut first = None;
    for n in 0.. {
        phone.send(&[&number(n)]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        let mut see = |f: smartwire_io::raw::RawFrame<'_>| {
            if first.is_none() && made_up(f.bytes) {
                first = Some(f.bytes.to_vec());
            }
        };
        server.recv(&mut see).unwrap();
        if let Some(first) = &first {
            let lost = (0..=n).find(|&n| number(n) == *first).unwrap();
            println!("{lost} frames lost, the first arrived within {:?}", killed.elapsed());
            assert!(lost <= 100, "{lost} frames were lost");
            break;
        }
        assert!(n < 5000, "the wire never opened");
    }
    child.wait().unwrap();
    std::thread::sleep(10 * AttachOptions::default().timeout);
    // One that had custody is answered by the copper wire.
    let key = one_of_many(4);
    let mut data = up(true, |p| p).tcp(4000, 80).seq(1).ack(2).build();
    data[14 + 8..14 + 24].copy_from_slice(&key.access_addr.octets());
    let layers = parse(&data).unwrap();
    csum::fill_l4(&mut data, &layers);
    phone.send(&[&data]).unwrap();
    assert_eq!(tcp(&receive(&mut phone, 1, made_up)[0]).4, Flags::RST);
    // The next start finds all of them.
    let (began, steer) = (std::time::Instant::now(), attach(Mode::Packet));
    steer.heartbeat().claim().unwrap();
    let claimed = began.elapsed();
    assert_eq!(steer.custody().survivors().count(), marked);
    println!("{marked} survivors: claimed within {claimed:?}, listed within {:?}", began.elapsed() - claimed);
}

#[test]
fn a_flow_that_the_wire_could_not_answer_for_gets_no_entry() {
    let Some(_lab) = Lab::new("unanswerable") else { return };
    let steer = attach_with(Mode::Packet, &PATIENT);
    assert_eq!(steer.custody().claim(&made_up_flow(false)), None, "before the wire is claimed");
    steer.heartbeat().claim().unwrap();
    let frame = up(true, |p| p.pppoe(9)).tcp(4000, 80).build();
    let scope = parse(&frame).unwrap().scope(&frame, 1);
    assert_eq!(steer.custody().claim(&FlowKey { scope, ..made_up_flow(true) }), None);
    let frame = up(true, |p| p.service_vlan(4000).vlan(1)).tcp(4000, 80).build();
    let scope = parse(&frame).unwrap().scope(&frame, 1);
    let entry = steer.custody().claim(&FlowKey { scope, ..made_up_flow(true) }).unwrap();
    steer.custody().release(entry);
}
