//! Where values stand.

use std::path::{Path, PathBuf};

use crate::config::{error::Place, raw::At};

/// The value's place; of what is absent, the whole configuration.
pub(super) fn place_of<T>(raw: &Option<At<T>>) -> Place {
    raw.as_ref().map_or(Place::Whole, |at| at.place)
}

/// Where relative paths start: the file's own folder for the file's, the current one for the flags'.
pub(super) fn base(place: Place, file: &str) -> PathBuf {
    match place {
        Place::Offset(_) => Path::new(file).parent().map(Path::to_owned).unwrap_or_default(),
        Place::Flag(_) | Place::Whole => PathBuf::new(),
    }
}
