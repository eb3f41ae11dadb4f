//! All packet scripts of tests/tcp in all variants. `SCRIPT=close cargo test -p smartwire-sim --test scripts` runs those
//! whose path contains that.

use std::path::{Path, PathBuf};

use smartwire_sim::script::{run_text, Choice};

/// The scripts below a directory, in order.
fn scripts(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            scripts(&path, found);
        } else if path.extension().is_some_and(|e| e == "pkt") {
            found.push(path);
        }
    }
}

#[test]
fn every_packet_script_goes_as_it_says() {
    let mut found = Vec::new();
    scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tcp"), &mut found);
    assert!(!found.is_empty());
    let only = std::env::var("SCRIPT").unwrap_or_default();
    let mut failed = 0;
    for path in found.iter().filter(|p| p.to_string_lossy().contains(&only)) {
        let name = path.to_string_lossy();
        let name = name.split_once("../../").map_or(&*name, |n| n.1);
        let report = run_text(name, &std::fs::read_to_string(path).unwrap(), &Choice::default());
        if !report.ok {
            failed += 1;
            println!("{}", report.text);
        }
    }
    assert_eq!(failed, 0, "scripts failed");
}
