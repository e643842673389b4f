//! The maps as operators see them: through bpftool.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::lab::run;

/// Entries of the map pinned at `path`, each with its `key` and `value` (or `values`, one
/// per CPU) by the names and types in its BTF.
///
/// The JSON of bpftool has the raw octets beside that under `formatted`; this is what is
/// formatted.
pub fn dump(path: &Path) -> Result<Vec<Value>> {
    let output = run(Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(path))?;
    let entries: Vec<Value> = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("bpftool's dump of {} is no JSON list", path.display()))?;
    let formatted = |mut entry: Value| entry.get_mut("formatted").map(Value::take).unwrap_or(entry);
    Ok(entries.into_iter().map(formatted).collect())
}

/// The map pinned at `path` as bpftool prints it for people.
pub fn print(path: &Path) -> Result<String> {
    let output = run(Command::new("bpftool").args(["map", "dump", "pinned"]).arg(path))?;
    Ok(String::from_utf8(output.stdout)?)
}
