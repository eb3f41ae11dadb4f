//! Steering: the BPF programs by themselves, and the wire between real hosts.

mod lab;
mod wire;
