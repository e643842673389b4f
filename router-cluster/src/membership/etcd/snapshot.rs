//! What is known, in a file: what a node starts with while etcd is away, and what it repairs a store with that has lost
//! everything. The entries are as sealed there as in etcd.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{connection::Range, known::Known};
use crate::membership::store::{Entries, Entry, Seen};

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    /// When the store last said so, in seconds since 1970.
    confirmed: u64,
    revision: u64,
    seen: Seen,
    /// By name: the revision in which it was written, and its two lines.
    entries: BTreeMap<String, Written>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    modified: u64,
    value: String,
}

/// Writes what is known.
pub(super) fn write(path: &Path, known: &Known) -> io::Result<()> {
    let confirmed = known.confirmed.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    // Entries that are no text are none that a node has written.
    let written = known.entries.iter().filter_map(|(key, entry)| {
        let value = String::from_utf8(entry.value.clone()).ok()?;
        Some((key.clone(), Written { modified: entry.modified, value }))
    });
    let file = File {
        version: VERSION,
        confirmed: confirmed.as_secs(),
        revision: known.version,
        seen: known.seen.clone(),
        entries: written.collect(),
    };
    let text = serde_json::to_vec(&file).map_err(io::Error::other)?;
    let new = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut writer = options.open(&new)?;
    io::Write::write_all(&mut writer, &text)?;
    writer.sync_all()?;
    fs::rename(&new, path)
}

/// Reads what was known; `false` if there is no such file.
///
/// # Errors
/// If it cannot be read, or says nothing that makes sense under this cluster's secret.
pub(super) fn read(path: &Path, known: &mut Known) -> Result<bool, String> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        read => read.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let wrong = |why: String| format!("{}: {why}; it is made anew once etcd can be asked", path.display());
    let file: File = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    if file.version != VERSION {
        return Err(wrong(format!("of version {}, and this program knows {VERSION}", file.version)));
    }
    let entry = |(name, written): (String, Written)| {
        (name, Entry { value: written.value.into_bytes(), modified: written.modified })
    };
    let entries: Entries = file.entries.into_iter().map(entry).collect();
    known.seen = file.seen;
    known
        .replace(Range { entries, revision: file.revision }, Instant::now())
        .map_err(|error| wrong(error.to_string()))?;
    known.confirmed =
        UNIX_EPOCH.checked_add(Duration::from_secs(file.confirmed)).filter(|time| *time <= SystemTime::now());
    Ok(true)
}

const VERSION: u32 = 1;

#[cfg(test)]
mod tests;
