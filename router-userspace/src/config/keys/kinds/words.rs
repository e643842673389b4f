//! Words, switches and paths.

use std::path::{Path, PathBuf};

use super::{Kind, Reads, Wrong};
use crate::config::suggest::nearest;

/// One of a few words, each of which stands for a value.
pub(in crate::config) struct Word<T: 'static> {
    pub(in crate::config) words: &'static [(&'static str, T)],
}

impl<T: Copy + PartialEq + Sync + 'static> Kind for Word<T> {
    type Raw = String;
    type Default = T;

    #[cfg(test)]
    fn written(&self, default: &T) -> String {
        let found = self.words.iter().find(|(_, value)| value == default);
        found.map(|(word, _)| format!("\"{word}\"")).unwrap_or_default()
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        self.words.iter().map(|(word, _)| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
    }
}

impl<T: Copy + PartialEq + Sync + 'static> Reads for Word<T> {
    type Value = T;

    fn usual(default: &T) -> T {
        *default
    }

    fn read(&self, raw: &String) -> Result<Option<T>, Wrong> {
        one_of(raw, self.words).map(Some)
    }
}

/// The value that a word stands for.
///
/// # Errors
/// If it is none of `words`.
pub(in crate::config) fn one_of<T: Copy>(said: &str, words: &[(&str, T)]) -> Result<T, Wrong> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == said) {
        return Ok(*value);
    }
    let all: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let wrong = Wrong::new(format!("\"{said}\" is none of {}", all.join(", ")));
    Err(match nearest(said, words.iter().map(|(word, _)| *word)) {
        Some(word) => wrong.hint(format!("did you mean \"{word}\"?")),
        None => wrong,
    })
}

/// `true` or `false`.
pub(in crate::config) struct Switch {}

impl Kind for Switch {
    type Raw = bool;
    type Default = bool;

    #[cfg(test)]
    fn written(&self, default: &bool) -> String {
        default.to_string()
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        "`true`, `false`".to_owned()
    }
}

impl Reads for Switch {
    type Value = bool;

    fn usual(default: &bool) -> bool {
        *default
    }

    fn read(&self, raw: &bool) -> Result<Option<bool>, Wrong> {
        Ok(Some(*raw))
    }
}

/// An absolute path, and not the root folder.
pub(in crate::config) struct Absolute {}

impl Kind for Absolute {
    type Raw = PathBuf;
    type Default = &'static str;

    #[cfg(test)]
    fn written(&self, default: &&'static str) -> String {
        format!("\"{default}\"")
    }

    #[cfg(test)]
    fn takes(&self) -> String {
        "an absolute path".to_owned()
    }
}

impl Reads for Absolute {
    type Value = PathBuf;

    fn usual(default: &&'static str) -> PathBuf {
        PathBuf::from(default)
    }

    fn read(&self, raw: &PathBuf) -> Result<Option<PathBuf>, Wrong> {
        absolute(raw)?;
        if raw == Path::new("/") {
            return Err(Wrong::new("\"/\" is the root folder"));
        }
        Ok(Some(raw.clone()))
    }
}

/// # Errors
/// If it is a relative path.
pub(in crate::config) fn absolute(path: &Path) -> Result<(), Wrong> {
    if path.is_absolute() {
        return Ok(());
    }
    let wrong = Wrong::new(format!("\"{}\" is not an absolute path", path.display()));
    Err(wrong.hint("begin it with a slash: the agent may start in any folder"))
}
