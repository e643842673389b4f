//! The key of encrypted connection IDs, from its file. It is read when the configuration is
//! checked and again at every rotation, by the same function; neither an error nor a log ever
//! shows what is in the file.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use router_cluster::secret_file::{self, SecretFileError};
use zeroize::Zeroizing;

use super::octets;

/// A 16-octet AES key; never printed, and overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct CidKey(Zeroizing<[u8; 16]>);

impl CidKey {
    /// The key itself.
    pub fn octets(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for CidKey {
    fn from(octets: [u8; 16]) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl fmt::Debug for CidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CidKey")
    }
}

/// Why there is no key. Names the file, and never quotes it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file gives none.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// Text of another kind, or no text.
    #[error("{} holds neither hex nor base64", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key for something else, perhaps.
    #[error("{} holds a key of {octets} octets, not 16", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// How many it has.
        octets: usize,
    },
}

impl KeyFileError {
    /// The way out.
    pub fn hint(&self) -> String {
        match self {
            Self::File(error) => error.missing().map_or_else(|| error.hint(), making),
            // It may be something that is still needed: no advice to write over it.
            Self::NoKey { .. } => "a key is 16 octets in hex or base64, as `openssl rand -hex 16` makes one".to_owned(),
            Self::Length { path, .. } => making(path),
        }
    }
}

/// The command that makes a key which no other user can read.
fn making(path: &Path) -> String {
    format!("(umask 077; openssl rand -hex 16 > {})", path.display())
}

/// Reads the key in `path`: 16 octets as 32 hex digits or as base64, white space around ignored.
///
/// # Errors
/// Also if the mode of the file gives others than its owner any access.
pub fn read(path: &Path) -> Result<CidKey, KeyFileError> {
    let content = secret_file::read(path)?;
    let octets = str::from_utf8(&content).ok().and_then(|text| octets::from_text(text.trim())).map(Zeroizing::new);
    let octets = octets.ok_or_else(|| KeyFileError::NoKey { path: path.to_owned() })?;
    let key = <[u8; 16]>::try_from(octets.as_slice());
    key.map(CidKey::from).map_err(|_| KeyFileError::Length { path: path.to_owned(), octets: octets.len() })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::{super::tests::Folder, *};

    const KEY: u128 = 0xf0e1_d2c3_b4a5_9687_7869_5a4b_3c2d_1e0f;
    const HEX: &str = "f0e1d2c3b4a5968778695a4b3c2d1e0f";

    #[test]
    fn hex_and_base64_with_white_space_around() {
        let folder = Folder::new();
        let prefixed = format!("0x{}", HEX.to_uppercase());
        for form in [HEX, prefixed.as_str(), "8OHSw7Sllod4aVpLPC0eDw==", "8OHSw7Sllod4aVpLPC0eDw"] {
            for content in [form.to_owned(), format!("{form}\n"), format!(" \n\t{form}\r\n\n")] {
                let path = folder.secret("cid.key", &content);
                assert_eq!(read(&path).unwrap(), CidKey::from(KEY.to_be_bytes()), "{content:?}");
            }
        }
    }

    #[test]
    fn what_holds_no_key_is_named_and_not_quoted() {
        let folder = Folder::new();
        let long = format!("{}{HEX}", " ".repeat(1024));
        for (content, why, hint) in [
            ("", "holds a key of 0 octets, not 16", "openssl rand -hex 16 >"),
            ("f0e1d2c3b4a59687", "holds a key of 8 octets, not 16", "openssl rand -hex 16 >"),
            ("8OHSw7Sllod4aVpLPC0eDzwt", "holds a key of 18 octets, not 16", "openssl rand -hex 16 >"),
            ("-----BEGIN PRIVATE KEY-----", "holds neither hex nor base64", "16 octets in hex or base64"),
            ("f0e1d2c3 b4a59687 78695a4b 3c2d1e0f", "holds neither hex nor base64", "16 octets in hex or base64"),
            ("\u{f0}\u{e1}", "holds neither hex nor base64", "16 octets in hex or base64"),
            (long.as_str(), "has more than 1024 octets", "in hex or base64"),
        ] {
            let path = folder.secret("cid.key", content);
            let error = read(&path).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{} {why}", path.display())), "{error}");
            assert!(error.hint().contains(hint), "{}", error.hint());
            if !content.is_empty() {
                assert!(!format!("{error} {error:?} {}", error.hint()).contains(content.trim()), "{error}");
            }
        }
        let path = folder.path("cid.key");
        fs::write(&path, b"\xff\xfe").unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::NoKey { .. })));
    }

    #[test]
    fn others_have_no_part_in_it() {
        let folder = Folder::new();
        let path = folder.secret("cid.key", HEX);
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err();
            let expected = format!("{} is open to others than its owner (mode {mode:o})", path.display());
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.hint(), format!("chmod 600 {}", path.display()));
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read(&path).unwrap();
        }
    }

    #[test]
    fn only_what_is_there_and_a_file() {
        let folder = Folder::new();
        let absent = folder.path("absent.key");
        let error = read(&absent).unwrap_err();
        let expected = format!("{} cannot be read: No such file or directory (os error 2)", absent.display());
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.hint(), format!("(umask 077; openssl rand -hex 16 > {})", absent.display()));

        let pipe = folder.path("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let a_folder = folder.path("");
        // None of these is waited for, or read without end.
        for path in [&*a_folder, &*pipe, Path::new("/dev/zero")] {
            let error = read(path).unwrap_err();
            assert_eq!(error.to_string(), format!("{} is not a regular file", path.display()));
            assert_eq!(error.hint(), "name the file that holds the key");
        }
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = CidKey::from(KEY.to_be_bytes());
        assert_eq!(format!("{key:?}"), "CidKey");
        assert_eq!(key.octets(), &KEY.to_be_bytes());
    }
}
