//! The cluster secret: 32 octets that every node reads from a file of its own, and from which the keys are derived that
//! nodes share. It is never sent anywhere.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use aws_lc_rs::hkdf;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::secret_file::{self, SecretFileError};

/// The cluster secret. Never printed, and overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret(Zeroizing<[u8; 32]>);

impl ClusterSecret {
    /// Reads the secret in `path`: 32 octets as 64 hex digits or as base64; white space around them is ignored.
    ///
    /// # Errors
    /// If the [file](secret_file::read) gives nothing, or holds something else.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let content = secret_file::read(path)?;
        let text = str::from_utf8(&content).map_err(|_| SecretError::NoSecret { path: path.to_owned() })?;
        let octets = octets(text.trim()).ok_or_else(|| SecretError::NoSecret { path: path.to_owned() })?;
        let secret = <[u8; LENGTH]>::try_from(octets.as_slice())
            .map_err(|_| SecretError::Length { path: path.to_owned(), octets: octets.len() })?;
        Ok(Self::from(secret))
    }

    /// The secret itself: the input of key derivations that this crate does not know.
    pub fn octets(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one purpose: HKDF-SHA256 (RFC 5869) of the secret. Each `label` gives an independent key, and each
    /// `context` under it another.
    pub fn derive<const N: usize>(&self, label: &str, context: &[u8]) -> Zeroizing<[u8; N]> {
        let mut key = Zeroizing::new([0; N]);
        let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
        // The label's length in front: no label followed by a context is another label.
        let info: [&[u8]; 3] = [&[length], label.as_bytes(), context];
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"quic-router cluster secret 1")
            .extract(&*self.0)
            .expand(&info, Length(N))
            .and_then(|okm| okm.fill(&mut *key))
            .expect("HKDF-SHA256 gives up to 8,160 octets for any label");
        key
    }
}

impl From<[u8; 32]> for ClusterSecret {
    fn from(octets: [u8; 32]) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret")
    }
}

/// Why there is no cluster secret. Names the file, and never quotes it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file gives none.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// Neither hex nor base64.
    #[error("{} holds neither hex nor base64", path.display())]
    NoSecret {
        /// The file.
        path: PathBuf,
    },
    /// A key for something else, perhaps.
    #[error("{} holds {octets} octets, not 32", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// How many it has.
        octets: usize,
    },
}

impl SecretError {
    /// The way out.
    pub fn hint(&self) -> String {
        match self {
            Self::File(error) => match error.missing() {
                Some(path) => format!(
                    "copy it from another node; for a new cluster: (umask 077; openssl rand -hex 32 > {})",
                    path.display()
                ),
                None => error.hint(),
            },
            // It may be something that is still needed: no advice to write over it.
            Self::NoSecret { .. } | Self::Length { .. } => {
                "the secret is 32 octets in hex or base64, as `openssl rand -hex 32` makes one, the same on all nodes"
                    .to_owned()
            }
        }
    }
}

/// Hex, or else base64.
fn octets(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits = text.as_bytes();
    if digits.len() == 2 * LENGTH && digits.iter().all(u8::is_ascii_hexdigit) {
        let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
        return pairs.collect::<Option<Vec<u8>>>().map(Zeroizing::new);
    }
    STANDARD.decode(text).ok().map(Zeroizing::new)
}

/// Octets of a derived key, in the words of the HKDF.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Octets of the secret.
const LENGTH: usize = 32;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn file(name: &str, text: &str, mode: u32) -> PathBuf {
        let path = std::env::temp_dir().join(format!("quic-router-secret-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn refused(name: &str, text: &str, mode: u32) -> SecretError {
        let path = file(name, text, mode);
        let error = ClusterSecret::read(&path).unwrap_err();
        fs::remove_file(path).unwrap();
        error
    }

    #[test]
    fn hex_and_base64_say_the_same() {
        let hex = file("hex", &format!(" {}\n", "0a".repeat(32)), 0o600);
        let base64 = file("base64", &STANDARD.encode([10; 32]), 0o400);
        assert_eq!(ClusterSecret::read(&hex).unwrap(), ClusterSecret::from([10; 32]));
        assert_eq!(ClusterSecret::read(&base64).unwrap(), ClusterSecret::from([10; 32]));
        fs::remove_file(hex).unwrap();
        fs::remove_file(base64).unwrap();
    }

    #[test]
    fn what_is_no_secret_is_refused_without_quoting_it() {
        let good = "0a".repeat(32);
        assert!(matches!(
            refused("exposed", &good, 0o640),
            SecretError::File(SecretFileError::Exposed { mode: 0o640, .. })
        ));
        assert!(matches!(refused("short", "MDEyMw==", 0o600), SecretError::Length { octets: 4, .. }));
        assert!(matches!(refused("empty", "", 0o600), SecretError::Length { octets: 0, .. }));
        let words = refused("words", "correct horse battery", 0o600);
        assert!(matches!(words, SecretError::NoSecret { .. }) && !words.to_string().contains("horse"));
        assert!(words.hint().contains("openssl rand"));
        let folder = ClusterSecret::read(&std::env::temp_dir()).unwrap_err();
        assert!(matches!(folder, SecretError::File(SecretFileError::NotAFile { .. })));
        let missing = ClusterSecret::read(Path::new("/nonexistent/cluster.key")).unwrap_err();
        assert!(missing.hint().contains("another node"), "{}", missing.hint());
        assert_eq!(format!("{:?}", ClusterSecret::from([7; 32])), "ClusterSecret");
    }

    #[test]
    fn each_purpose_has_its_own_key() {
        let secret = ClusterSecret::from([7; 32]);
        let keys = [
            secret.derive::<32>("seal", b""),
            secret.derive::<32>("hello", b""),
            secret.derive::<32>("hello", b"2"),
            secret.derive::<32>("hello2", b""),
            ClusterSecret::from([8; 32]).derive::<32>("seal", b""),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().map(|key| **key).collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(secret.derive::<32>("seal", b""), keys[0]);
    }
}
