//! A file with a secret in it: read whole, and only if nobody but its owner can.

use std::{
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// Octets of such a file that are read: more than any way to write a key takes.
pub const LENGTH_MAX: usize = 1_024;

/// Why a file gives no secret. Names the file, and never quotes it.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// Missing, or not ours to read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A folder, a device, a pipe.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// Its mode gives others than its owner a part in it.
    #[error("{} is open to others than its owner (mode {mode:o})", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// More than [`LENGTH_MAX`].
    #[error("{} has more than {LENGTH_MAX} octets: that is no key", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

impl SecretFileError {
    /// The file, if there is none.
    pub fn missing(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { path, source } if source.kind() == io::ErrorKind::NotFound => Some(path),
            _ => None,
        }
    }

    /// The way out, for a file that is there. For one that is not, it depends on what the secret is for.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                format!("run as root, or as the file's owner: `ls -l {}` shows it", path.display())
            }
            Self::Unreadable { .. } => "name a file that can be read".to_owned(),
            Self::NotAFile { .. } => "name the file that holds the key".to_owned(),
            Self::Exposed { path, .. } => format!("chmod 600 {}", path.display()),
            // It may be something that is still needed: no advice to write over it.
            Self::TooLong { .. } => "name the file that holds the key, in hex or base64".to_owned(),
        }
    }
}

/// All of a file that only its owner can read. One handle answers every question, so they are about the same file.
///
/// # Errors
/// If it cannot be read, is no regular file, gives others than its owner any access, or is longer than [`LENGTH_MAX`].
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let unreadable = |source| SecretFileError::Unreadable { path: path.to_owned(), source };
    // A pipe without a writer is not waited for, a terminal not taken; regular files know neither.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(SecretFileError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Exposed { path: path.to_owned(), mode });
    }
    // It never grows: what a vector outgrows is not overwritten.
    let mut content = Zeroizing::new(Vec::with_capacity(LENGTH_MAX + 1));
    file.take(LENGTH_MAX as u64 + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() > LENGTH_MAX {
        return Err(SecretFileError::TooLong { path: path.to_owned() });
    }
    Ok(content)
}
