//! A failure as a file: what went wrong, and the whole world in which it did, so that it can be run again even when the
//! generator of worlds has changed.

use serde::{Deserialize, Serialize};

use crate::world::WorldSpec;

/// What stands in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The seed of the world that it began with.
    pub seed: u64,
    /// What went wrong.
    pub what: Vec<String>,
    /// The world.
    pub world: WorldSpec,
}

/// Writes a failure.
pub fn write(seed: u64, what: &str, world: &WorldSpec) -> String {
    let written = Written { seed, what: what.lines().map(str::to_string).collect(), world: world.clone() };
    serde_json::to_string_pretty(&written).unwrap_or_default() + "\n"
}

/// Reads it again.
///
/// # Errors
/// One sentence.
pub fn read(text: &str) -> Result<Written, String> {
    serde_json::from_str(text).map_err(|e| format!("the file is no description of a world: {e}"))
}
