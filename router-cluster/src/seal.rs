//! What nodes put where others can read and write: sealed with AES-256-GCM under a key of the cluster secret, so who reads
//! it learns nothing secret, and who writes it can forge nothing.
//!
//! An entry is two lines of text: what everybody may know, as JSON, and in base64 a random nonce, what is secret, and the
//! tag. Both lines are bound to one another, to the entry's name and to its *epoch*, a number that grows. Whether an epoch
//! is too old is for those to say who know the entries together: an old entry under its own name opens well.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::secret::ClusterSecret;

/// Seals and opens the entries of one cluster.
pub struct Seal {
    key: LessSafeKey,
}

/// An entry that was opened.
#[derive(Debug)]
pub struct Opened<T> {
    /// Its epoch.
    pub epoch: u64,
    /// What everybody may know.
    pub clear: T,
    /// What is secret; empty for entries that hold nothing secret.
    pub secret: Secret,
}

/// The secret part of an entry. Never printed, and overwritten when it is dropped.
#[derive(PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why an entry cannot be opened. Names nothing of what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// It is not two lines, or the first is not of the form that this version knows.
    #[error("not in a form that this version reads")]
    Form,
    /// It was sealed under another secret or for another entry, or was altered.
    #[error("not sealed under this node's cluster secret, or altered")]
    Forged,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head<T> {
    epoch: u64,
    #[serde(flatten)]
    clear: T,
}

impl Seal {
    /// Under the secret of the cluster `name`.
    pub fn new(secret: &ClusterSecret, name: &str) -> Self {
        let key = secret.derive::<32>("seal", name.as_bytes());
        let key = UnboundKey::new(&AES_256_GCM, &*key).expect("an AES-256 key has 32 octets");
        Self { key: LessSafeKey::new(key) }
    }

    /// The entry `name` of `epoch`, which contains `clear` for everybody, a structure of named fields, and `secret`.
    pub fn close(&self, name: &str, epoch: u64, clear: &impl Serialize, secret: &[u8]) -> Vec<u8> {
        let head = serde_json::to_string(&Head { epoch, clear }).expect("a structure of plain fields is JSON");
        let nonce = rand::random::<[u8; NONCE_LEN]>();
        let mut sealed = Zeroizing::new(secret.to_vec());
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), associated(name, &head), &mut *sealed)
            .expect("an entry is shorter than the longest that AES-GCM seals");
        format!("{head}\n{}\n", STANDARD.encode([&nonce[..], &sealed].concat())).into_bytes()
    }

    /// Opens the entry `name`.
    ///
    /// # Errors
    /// If it is none, or not one of this cluster's under this name.
    pub fn open<T: DeserializeOwned>(&self, name: &str, entry: &[u8]) -> Result<Opened<T>, SealError> {
        let text = str::from_utf8(entry).map_err(|_| SealError::Form)?;
        let (head, sealed) = text.trim_end().split_once('\n').ok_or(SealError::Form)?;
        let mut sealed = Zeroizing::new(STANDARD.decode(sealed).map_err(|_| SealError::Form)?);
        let (nonce, sealed) = sealed.split_first_chunk_mut::<NONCE_LEN>().ok_or(SealError::Form)?;
        let secret = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), associated(name, head), sealed)
            .map_err(|_| SealError::Forged)?;
        let secret = Secret(Zeroizing::new(secret.to_vec()));
        // What it says is looked at only now that it is known who says it.
        let Head { epoch, clear } = serde_json::from_str(head).map_err(|_| SealError::Form)?;
        Ok(Opened { epoch, clear, secret })
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

/// What the tag vouches for beside the secret: the entry's name, and the first line, in which the epoch stands. Names
/// contain no zero octet.
fn associated(name: &str, head: &str) -> Aad<Vec<u8>> {
    Aad::from([name.as_bytes(), &[0], head.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
    struct Number {
        number: u16,
    }

    fn seal(secret: u8, name: &str) -> Seal {
        Seal::new(&ClusterSecret::from([secret; 32]), name)
    }

    #[test]
    fn what_was_sealed_is_opened() {
        let entry = seal(7, "edge").close("cid/3", 5, &Number { number: 9 }, b"a secret");
        let text = str::from_utf8(&entry).unwrap();
        assert!(text.starts_with("{\"epoch\":5,\"number\":9}\n") && !text.contains("a secret"), "{text}");
        let opened = seal(7, "edge").open::<Number>("cid/3", &entry).unwrap();
        assert_eq!((opened.epoch, opened.clear, opened.secret.octets()), (5, Number { number: 9 }, &b"a secret"[..]));
        let printed = format!("{:?} {:?}", opened.secret, seal(7, "edge"));
        assert_eq!(printed, "Secret Seal");
    }

    #[test]
    fn no_two_seals_are_alike() {
        let close = || seal(7, "edge").close("master", 1, &Number { number: 1 }, b"");
        assert_ne!(close(), close());
    }

    #[test]
    fn another_name_secret_or_cluster_does_not_open_it() {
        let entry = seal(7, "edge").close("cid/3", 5, &Number { number: 9 }, b"a secret");
        for (seal, name) in [(seal(7, "edge"), "cid/4"), (seal(8, "edge"), "cid/3"), (seal(7, "core"), "cid/3")] {
            assert_eq!(seal.open::<Number>(name, &entry).unwrap_err(), SealError::Forged);
        }
    }

    #[test]
    fn each_changed_or_missing_octet_is_seen() {
        let seal = seal(7, "edge");
        let entry = seal.close("cid/3", 5, &Number { number: 9 }, b"a secret");
        let content = str::from_utf8(&entry).unwrap().trim_end().len();
        for at in 0..content {
            assert!(seal.open::<Number>("cid/3", &entry[..at]).is_err(), "cut at {at}");
            let mut changed = entry.clone();
            changed[at] ^= 1;
            assert!(seal.open::<Number>("cid/3", &changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let seal = seal(7, "edge");
        for wrong in [&b""[..], b"\n", b"{}\n", b"{}\nAAAA", b"\xff\n\xff", b"{\"epoch\":1,\"number\":1}\n===="] {
            assert!(seal.open::<Number>("x", wrong).is_err(), "{wrong:?}");
        }
        let other_form = seal.close("x", 1, &serde_json::json!({ "name": "y" }), b"");
        assert_eq!(seal.open::<Number>("x", &other_form).unwrap_err(), SealError::Form);
    }

    #[test]
    fn fields_of_a_newer_version_are_ignored() {
        let seal = seal(7, "edge");
        let newer = seal.close("x", 1, &serde_json::json!({ "number": 4, "zone": "b" }), b"");
        assert_eq!(seal.open::<Number>("x", &newer).unwrap().clear, Number { number: 4 });
    }
}
