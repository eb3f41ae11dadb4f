//! Something that stands where the engine does: forwards all that it is given, and remembers it.

use std::sync::Arc;

use smartwire_engine::{Io, Rx};
use smartwire_io::driver::Driver;
use smartwire_io::frames::Frames;
use smartwire_io::link::Net;
use smartwire_io::packet::{PacketOptions, PacketPort};
use smartwire_io::port::PortIo;
use smartwire_io::region::Region;
use smartwire_io::steer::{Mode, Steer};
use smartwire_io::sys;
use smartwire_io::xsk::{self, CopyMode, PortSpec, XskOptions};

pub struct Engine {
    driver: Driver,
    rx: Vec<Rx>,
    /// Every frame that came, and the port.
    pub seen: Vec<(u8, Vec<u8>)>,
}

impl Engine {
    /// Opens sockets on `names` (port 0, port 1, ...) and registers them; the wire is not claimed yet.
    pub fn open(steer: &Steer, mode: Mode, names: &[&str]) -> Engine {
        let region = Arc::new(Region::new(4096, 4096).unwrap());
        let mut frames = Frames::new(region, 1024).unwrap();
        let ports: Vec<PortSpec> = names
            .iter()
            .enumerate()
            .map(|(i, name)| PortSpec {
                port: i as u8,
                ifindex: sys::if_index(name).unwrap(),
                name: (*name).to_owned(),
                queues: Net::here().unwrap().rx_queues(name),
            })
            .collect();
        let ports = match mode {
            Mode::Packet => ports.iter().map(|p| packet(steer, p)).collect(),
            _ => {
                let options = XskOptions { ring: 128, copy: CopyMode::Copy, backlog: 512, trains: false };
                let opened = xsk::open(&ports, &mut frames, options).unwrap_or_else(|e| panic!("{e}"));
                for (spec, port) in ports.iter().zip(&opened) {
                    for (queue, fd) in port.sockets() {
                        steer.register_xsk(spec.ifindex, queue, fd).unwrap();
                    }
                }
                opened.into_iter().map(|p| PortIo::Xsk(Box::new(p))).collect()
            }
        };
        Engine { driver: Driver::over(frames, ports, None), rx: Vec::new(), seen: Vec::new() }
    }

    /// Forwards what has come.
    pub fn turn(&mut self) {
        self.rx.clear();
        self.driver.recv(&mut self.rx, 64).unwrap();
        for rx in &self.rx {
            let bytes = &self.driver.bytes(rx.frame)[usize::from(rx.off)..usize::from(rx.off + rx.len)];
            self.seen.push((rx.port.0, bytes.to_vec()));
            self.driver.send(rx.port.peer(), rx.frame, rx.off, rx.len);
            self.driver.release(rx.frame);
        }
        self.driver.flush().unwrap();
    }
}

fn packet(steer: &Steer, p: &PortSpec) -> PortIo {
    let options = PacketOptions { socket_buffer: 4 << 20, backlog: 512, deaf: false };
    PortIo::Packet(Box::new(PacketPort::open(p.port, p.ifindex, &p.name, Some(steer.socket_filter_fd()), options).unwrap()))
}
