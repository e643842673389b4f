//! The maps as operators see them: through bpftool.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::lab::{Running, run};

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

impl Running {
    /// Entries of the map that the agent has pinned as `name`, like [`dump`].
    pub fn dump(&self, name: &str) -> Result<Vec<Value>> {
        dump(&self.home().pins().join(name))
    }

    /// The slots that workers occupy, as the map `slots` has them. An error with the engine `userspace`, which has no
    /// maps.
    pub fn taken_slots(&self) -> Result<Vec<Value>> {
        let slots = self.dump("slots")?.into_iter().map(|mut entry| entry["value"].take());
        Ok(slots.filter(|slot| slot["state"] != 0).collect())
    }
}

/// Deletes every entry that the map pinned at `path` has now; how many were deleted.
pub fn empty(path: &Path) -> Result<usize> {
    let output = run(Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(path))?;
    let entries: Vec<Value> = serde_json::from_slice(&output.stdout).context("bpftool's dump is no JSON list")?;
    let mut deleted = 0;
    for entry in &entries {
        let octets = entry["key"].as_array().context("a key is a list of octets")?;
        let octets = octets.iter().filter_map(Value::as_str).map(|octet| octet.trim_start_matches("0x"));
        let mut delete = Command::new("bpftool");
        delete.args(["map", "delete", "pinned"]).arg(path).args(["key", "hex"]).args(octets);
        // It may have gone by itself meanwhile.
        deleted += usize::from(delete.output().context("cannot run bpftool")?.status.success());
    }
    Ok(deleted)
}

/// The map pinned at `path` as bpftool prints it for people.
pub fn print(path: &Path) -> Result<String> {
    let output = run(Command::new("bpftool").args(["map", "dump", "pinned"]).arg(path))?;
    Ok(String::from_utf8(output.stdout)?)
}
