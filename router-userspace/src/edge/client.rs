//! What is on the other end of a connection.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderValue, uri::Authority};

// circle: edge/http/headers.rs: it makes an introduction of what is known of a client, and the client keeps the last one.
use super::http::headers::Introduction;
use crate::address::Validated;

/// What is known of the client of a connection; the same for all its requests but for the address,
/// which may change.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// Where it is now, or was when that was last known.
    pub(super) address: Validated,
    /// Where it has found us, if that is known.
    pub(super) local: Option<SocketAddr>,
    /// The address of the listener that it came to, if that is known.
    pub(super) listener: Option<SocketAddr>,
    /// The name it asked for in its TLS handshake (SNI).
    pub(super) server_name: Option<Arc<str>>,
    /// The certificate it has shown.
    pub(super) certificate: Option<Arc<Certificate>>,
    /// What servers were told of it last. One request after another is for the same authority.
    pub(super) told: Arc<Mutex<Option<Introduction>>>,
}

/// A client's certificate, as servers are told of it.
#[derive(Debug)]
pub(super) struct Certificate {
    /// Its subject (RFC 4514).
    pub(super) subject: HeaderValue,
    /// SHA-256 of it, in hex.
    pub(super) fingerprint: HeaderValue,
}

impl Client {
    /// One of whom nothing is known but the address.
    pub(super) fn new(address: Validated) -> Self {
        Self { address, local: None, listener: None, server_name: None, certificate: None, told: Arc::default() }
    }

    /// What servers are told of it if it asks for `authority`.
    pub(super) fn introduction(&self, authority: &Authority) -> Introduction {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match &*told {
            Some(last) if last.is_of(self.address, authority) => last.clone(),
            _ => told.insert(Introduction::new(self.address, authority)).clone(),
        }
    }
}
