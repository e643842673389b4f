//! What verbs have named, in the state folder.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use router_common::{admission::Prefix, maps::BlockAction};
use serde::{Deserialize, Serialize};

use super::{
    entry::{By, Entry},
    error::BlockListError,
};
use crate::{
    agent::state_dir::{self, State},
    clock::monotonic_now,
};

/// The file.
pub(super) struct Store {
    path: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    blocks: Vec<StoredEntry>,
}

#[derive(Serialize, Deserialize)]
struct StoredEntry {
    prefix: String,
    action: String,
    /// Milliseconds since 1970; none: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Store {
    pub(super) fn new(state: &State) -> Self {
        Self { path: state.path(FILE) }
    }

    /// What is kept, but for what has ended meanwhile.
    ///
    /// # Errors
    /// If the file is damaged, or cannot be read.
    pub(super) fn read(&self) -> Result<BTreeMap<Prefix, Entry>, BlockListError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(e) => return Err(failed(&self.path, e)),
        };
        let damaged = |why: &str| BlockListError::Damaged { path: self.path.clone(), why: why.to_owned() };
        let stored: Stored = serde_json::from_slice(&text).map_err(|e| damaged(&e.to_string()))?;
        let (now, wall) = (monotonic_now(), milliseconds(SystemTime::now()));
        let mut entries = BTreeMap::new();
        for StoredEntry { prefix, action, until_ms, why } in stored.blocks {
            let of_prefix = prefix.parse::<Prefix>().map_err(|e| damaged(&format!("{prefix}: {e}")))?;
            let action = BlockAction::ALL.into_iter().find(|known| known.name() == action);
            let action = action.ok_or_else(|| damaged(&format!("{prefix}: an action that is none")))?;
            let until = match until_ms.map(|until| until.saturating_sub(wall)) {
                None => 0,
                Some(0) => continue,
                Some(left) => now.saturating_add(left.saturating_mul(1_000_000)),
            };
            entries.insert(of_prefix, Entry { action, until, why, by: By::Verb });
        }
        Ok(entries)
    }

    /// Keeps these, and no others.
    ///
    /// # Errors
    /// If they cannot be written; the file is as it was then.
    pub(super) fn write(&self, entries: &BTreeMap<Prefix, Entry>) -> Result<(), BlockListError> {
        let (now, wall) = (monotonic_now(), milliseconds(SystemTime::now()));
        let stored = |(prefix, entry): (&Prefix, &Entry)| StoredEntry {
            prefix: prefix.to_string(),
            action: entry.action.name().to_owned(),
            until_ms: (entry.until != 0).then(|| wall + entry.until.saturating_sub(now) / 1_000_000),
            why: entry.why.clone(),
        };
        let stored = Stored { blocks: entries.iter().map(stored).collect() };
        let text = serde_json::to_vec_pretty(&stored).map_err(|e| failed(&self.path, e.into()))?;
        state_dir::replace(&self.path, &text).map_err(|e| failed(&self.path, e))
    }
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn failed(path: &Path, source: io::Error) -> BlockListError {
    BlockListError::File { path: path.to_owned(), source }
}

const FILE: &str = "blocks.json";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::error::RoomError as _;

    fn store(name: &str) -> Store {
        let path = std::env::temp_dir().join(format!("quic-router-blocks-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path);
        Store { path }
    }

    fn entry(until: u64, why: Option<&str>) -> Entry {
        Entry { action: BlockAction::Drop, until, why: why.map(str::to_owned), by: By::Verb }
    }

    #[test]
    fn what_is_kept_is_read_again_until_it_has_ended() {
        let store = store("kept");
        assert!(store.read().unwrap().is_empty());
        let end = monotonic_now() + 3_600_000_000_000;
        let prefix = |text: &str| text.parse::<Prefix>().unwrap();
        let entries = BTreeMap::from([
            (prefix("192.0.2.0/24"), entry(0, Some("a \"scan\""))),
            (prefix("2001:db8::/32"), entry(end, None)),
            (prefix("198.51.100.7"), entry(1, None)),
        ]);
        store.write(&entries).unwrap();
        let read = store.read().unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[&prefix("192.0.2.0/24")], entries[&prefix("192.0.2.0/24")]);
        // To within a millisecond, and what a step of the wall clock makes of it.
        assert!(read[&prefix("2001:db8::/32")].until.abs_diff(end) < 1_000_000_000);
        fs::remove_file(&store.path).unwrap();
    }

    #[test]
    fn a_damaged_file_is_refused_with_the_way_out() {
        let store = store("damaged");
        for text in ["{", r#"{"blocks":[{"prefix":"192.0.2.1/24","action":"drop"}]}"#] {
            fs::write(&store.path, text).unwrap();
            let error = store.read().unwrap_err();
            assert!(error.to_string().contains("blocks"), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.starts_with("removing the file")));
        }
        fs::remove_file(&store.path).unwrap();
    }
}
