//! Runs a plan, JSON on the command line, and prints its report: `cargo run --release --example measure -- '{...}'`.

fn main() -> Result<(), String> {
    let text = std::env::args().nth(1).unwrap_or_else(|| "{}".into());
    let plan = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let report = smartwire_sim::measure::run(&plan, &mut |_| true)?;
    println!("{}", serde_json::to_string_pretty(&report).map_err(|e| e.to_string())?);
    Ok(())
}
