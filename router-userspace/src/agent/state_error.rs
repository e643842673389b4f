//! What is wrong with the state folder, or with a file in it.

use std::{io, num::ParseIntError, path::PathBuf};

use super::error::{ErrorKind, RoomError};

/// Why the state folder, or a file in it, is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    /// Another agent holds the folder.
    #[error("{}: another agent that runs uses this state folder", .0.display())]
    InUse(PathBuf),
    /// The number of the last run is none.
    #[error("{}: {why}", path.display())]
    NoNumber {
        /// The file.
        path: PathBuf,
        /// Why.
        why: ParseIntError,
    },
    /// The master secret has another length than 32 octets.
    #[error("{}: {octets} octets, not 32", path.display())]
    MasterLength {
        /// The file.
        path: PathBuf,
        /// How many it has.
        octets: usize,
    },
    /// A secret is readable for others than its owner.
    #[error("{}: others can read it (mode {mode:o})", path.display())]
    ReadableByOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file of connection IDs' configurations is not one that this version reads.
    #[error("{}: {why}", path.display())]
    KeyStore {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: KeyStoreFault,
    },
    /// The system refuses a file or the folder.
    #[error("state folder: {}: {source}", path.display())]
    System {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What is wrong with the file of connection IDs' configurations. Its text is not quoted: there are keys in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyStoreFault {
    /// It is no JSON, or has other fields.
    #[error("not as this version writes it (line {line}, column {column})")]
    Unreadable {
        /// Where, from 1.
        line: usize,
        /// Where in the line, from 1.
        column: usize,
    },
    /// It is of another form.
    #[error("of version {found}, not {known}")]
    OtherVersion {
        /// Its version.
        found: u32,
        /// The one that is written here.
        known: u32,
    },
    /// One of its configurations makes no sense.
    #[error("configuration {rotation}: {why}")]
    Configuration {
        /// Which, as it says itself.
        rotation: u8,
        /// Why.
        why: ConfigFault,
    },
}

/// What is wrong with a configuration of connection IDs as it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConfigFault {
    #[error("there are rotations 0 to 6")]
    Rotation,
    #[error("its key is not hex of 16 octets")]
    Key,
    #[error("it has a key where it should have none, or the other way round")]
    KeyOrNone,
    #[error("its salt is not hex of 20 octets")]
    Salt,
    #[error("its lengths are not legal")]
    Lengths,
}

impl RoomError for StateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::System { .. } => ErrorKind::Kernel,
            Self::InUse(_)
            | Self::NoNumber { .. }
            | Self::MasterLength { .. }
            | Self::ReadableByOthers { .. }
            | Self::KeyStore { .. } => ErrorKind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        let fixed = match self {
            Self::InUse(_) => "another state_dir, or stop that agent",
            Self::NoNumber { .. } => "removing the file: generations then begin at 1 again",
            Self::MasterLength { .. } => {
                "removing the file: the agent then makes a new one, and old tickets and tokens lapse"
            }
            Self::ReadableByOthers { path, .. } => return Some(format!("chmod 600 {}", path.display())),
            Self::KeyStore { .. } => {
                "moving the file away (with a new key in the file of connection_id.encryption, if it names one): new \
                 keys are then made, and clients of earlier runs time out"
            }
            Self::System { .. } => return None,
        };
        Some(fixed.to_owned())
    }
}
