//! Why the block list is not changed, or not shown.

use std::{io, path::PathBuf};

use router_common::{
    admission::Prefix,
    maps::{BLOCKS_MAX, BlockAction},
};
use tokio::task::JoinError;

use crate::agent::error::{ErrorKind, RoomError};

/// Why the block list is not changed, or not shown. Nothing has changed then, but where an error says so.
#[derive(Debug, thiserror::Error)]
pub(in crate::agent) enum BlockListError {
    /// There would be more prefixes than the maps have room for.
    #[error("the block list has room for {BLOCKS_MAX} prefixes: {entries} are too many")]
    Full {
        /// How many there would be.
        entries: usize,
    },
    /// It is not in the list.
    #[error("{0} is not in the list")]
    NotListed(Prefix),
    /// It is, but not as what is to be taken back.
    #[error("{prefix} is in the list as {}", action.name())]
    ListedAs {
        /// What is in the list.
        prefix: Prefix,
        /// As what.
        action: BlockAction,
    },
    /// It is, by a file that is configured.
    #[error("{prefix} is not in the list by a verb, but by {place}")]
    ByFile {
        /// What is in the list.
        prefix: Prefix,
        /// `FILE:LINE`
        place: String,
    },
    /// What verbs have named cannot be read.
    #[error("{}: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file cannot be read or written.
    #[error("state folder: {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The kernel has not taken all of it. What is named stays so, and is tried again.
    #[error("the kernel has refused {writes} of the block list's changes: {why}")]
    Behind {
        /// How many.
        writes: usize,
        /// The first refusal.
        why: String,
    },
    /// The thread that worked on it has ended.
    #[error("the block list: {0}")]
    Thread(JoinError),
}

impl RoomError for BlockListError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Full { .. }
            | Self::NotListed(_)
            | Self::ListedAs { .. }
            | Self::ByFile { .. }
            | Self::Damaged { .. } => ErrorKind::Refused,
            Self::File { .. } | Self::Behind { .. } | Self::Thread(_) => ErrorKind::Kernel,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Full { .. } => {
                "quic-router block list, for what can go; or a shorter prefix for several of them".to_owned()
            }
            Self::NotListed(_) => "quic-router block list, which has the prefixes as they were added".to_owned(),
            Self::ListedAs { prefix, action: BlockAction::Allow } => format!("quic-router allow remove {prefix}"),
            Self::ListedAs { prefix, .. } => format!("quic-router block remove {prefix}"),
            Self::ByFile { .. } => "taking the line out, and quic-router reload".to_owned(),
            Self::Damaged { .. } => {
                "removing the file: prefixes that were named by verbs are then forgotten".to_owned()
            }
            Self::Behind { .. } => {
                "none is lost: they are tried again each second; `quic-router block list` shows what is in force"
                    .to_owned()
            }
            Self::File { .. } | Self::Thread(_) => return None,
        })
    }
}
