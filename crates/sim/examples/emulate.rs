//! The link emulator between two interfaces: `emulate ACCESS CORE SPEC.json`. Orders (see `Control`) are read from
//! standard input, one JSON object a line; the end of input ends the run, and a summary is printed.

use std::io::BufRead;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use smartwire_sim::emulator::run::{run, Handle};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [access, core, file] = &args[..] else {
        eprintln!("usage: emulate ACCESS CORE SPEC.json");
        std::process::exit(2);
    };
    let handle = Arc::new(Handle::default());
    let orders = handle.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(order) => orders.orders.lock().expect("no one panics with it").push(order),
                Err(e) => eprintln!("order not understood: {e}"),
            }
        }
        orders.stop.store(true, Ordering::Relaxed);
    });
    let spec = std::fs::read_to_string(file).map_err(|e| format!("cannot read {file}: {e}"));
    match spec.and_then(|spec| run(&spec, access, core, &handle)) {
        Ok(summary) => println!("{summary}"),
        Err(e) => {
            eprintln!("{e}");
            std::process::exit(1);
        }
    }
}
