//! Steering: the BPF programs by themselves, and the wire between real hosts.

mod custody;
mod engine;
mod frames;
mod lab;
mod wire;
