//! Sealing hellos to one node and opening those that come from it.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand,
};

use super::{
    error::{HelloError, SealError},
    message::Hello,
    wire::{self, CONTENT_LENGTH, HEADER_LENGTH, Header, NONCE_LENGTH},
};
use crate::{membership::NodeNumber, secret::ClusterSecret};

/// Octets of an authentication tag.
const TAG_LENGTH: usize = 16;

/// Octets of UDP payload of a hello without padding.
pub const HELLO_LENGTH: usize = HEADER_LENGTH + CONTENT_LENGTH + TAG_LENGTH;

/// Distinguishes the keys of hellos from all others that come of the cluster's secret.
const LABEL: &str = "hello";

/// The keys of the hellos between this node and one other.
pub struct HelloLink {
    own: NodeNumber,
    peer: NodeNumber,
    sealing: LessSafeKey,
    opening: LessSafeKey,
}

impl HelloLink {
    /// The link between node `own`, which is this one, and `peer`. Its keys are derived from `secret`.
    pub fn new(secret: &ClusterSecret, own: NodeNumber, peer: NodeNumber) -> Self {
        Self { own, peer, sealing: key(secret, own, peer), opening: key(secret, peer, own) }
    }

    /// The datagram that says `hello` to the other node.
    ///
    /// `length` is the octets of UDP payload that it is padded to, what the interface carries; a hello is never shorter
    /// than [`HELLO_LENGTH`], and where it is not to be padded, 0 is right.
    ///
    /// # Errors
    /// [`SealError`] if the system gives no random numbers.
    pub fn seal(&self, hello: &Hello, length: u16) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LENGTH];
        rand::fill(&mut nonce).map_err(|_| SealError(self.peer))?;
        let mut content = Vec::with_capacity(HELLO_LENGTH.max(length.into()));
        wire::write_content(hello, &mut content);
        self.seal_content(content, Sealing { nonce, length: length.into() })
    }

    fn seal_content(&self, mut content: Vec<u8>, Sealing { nonce, length }: Sealing) -> Result<Vec<u8>, SealError> {
        let padded = length.saturating_sub(HEADER_LENGTH + TAG_LENGTH).max(content.len());
        content.resize(padded, 0);
        let header = Header { sender: self.own, receiver: self.peer, nonce }.write();
        self.sealing
            .seal_in_place_append_tag(Nonce::from(&nonce), Aad::from(header), &mut content)
            .map_err(|_| SealError(self.peer))?;
        Ok([&header, content.as_slice()].concat())
    }

    /// Opens a datagram that the other node has sent here. Whether it is new is
    /// [`HelloExchange`](super::HelloExchange)'s to say.
    ///
    /// # Errors
    /// Why it is none of the other node's to this one.
    pub fn open(&self, datagram: &[u8]) -> Result<Hello, HelloError> {
        let Header { sender, receiver, nonce } = Header::read(datagram)?;
        if receiver != self.own {
            return Err(HelloError::OtherReceiver { receiver, own: self.own });
        }
        if sender != self.peer {
            return Err(HelloError::OtherSender { sender, peer: self.peer });
        }
        let truncated = HelloError::Truncated { octets: datagram.len() };
        let (header, sealed) = datagram.split_first_chunk::<HEADER_LENGTH>().ok_or(truncated)?;
        if sealed.len() < CONTENT_LENGTH + TAG_LENGTH {
            return Err(truncated);
        }
        let mut sealed = sealed.to_vec();
        let opened = self.opening.open_in_place(Nonce::from(&nonce), Aad::from(header), &mut sealed);
        wire::read_content(opened.map_err(|_| HelloError::NotAuthentic(sender))?)
    }
}

#[cfg(test)]
impl HelloLink {
    /// Seals octets that need not be a hello's.
    pub(super) fn seal_as(&self, content: Vec<u8>) -> Result<Vec<u8>, SealError> {
        self.seal_content(content, Sealing { nonce: [7; NONCE_LENGTH], length: 0 })
    }
}

impl fmt::Debug for HelloLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HelloLink").field("own", &self.own).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// One key for each direction of each pair: a nonce is random, and the 2^32 hellos that are safe under one key (NIST SP
/// 800-38D section 8.3) take 136 years at one a second.
fn key(secret: &ClusterSecret, sender: NodeNumber, receiver: NodeNumber) -> LessSafeKey {
    let numbers = [sender, receiver].map(|node| node.get().to_be_bytes());
    let key = secret.derive::<32>(LABEL, numbers.as_flattened());
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).expect("AES-256 takes 32 octets"))
}

/// How a content is sealed.
struct Sealing {
    nonce: [u8; NONCE_LENGTH],
    /// Octets of the datagram, if its content is no longer than that.
    length: usize,
}
