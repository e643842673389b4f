//! A client's connection, which is closed for what the client does on it.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use router_http3::{Code, Violation};
use tracing::debug;

use super::{error_code::varint, reset_budget::ResetBudget};

/// A connection that its requests may have to close. It knows nothing of what they are answered with.
pub(super) struct ClientConnection {
    quinn: quinn::Connection,
    resets: Mutex<ResetBudget>,
}

impl ClientConnection {
    /// None of its requests was cancelled yet.
    pub(super) fn new(quinn: quinn::Connection) -> Self {
        Self { quinn, resets: Mutex::new(ResetBudget::new(Instant::now())) }
    }

    /// What streams are opened and accepted on.
    pub(super) fn quinn(&self) -> &quinn::Connection {
        &self.quinn
    }

    /// Ends the connection for what its client did.
    pub(super) fn close(&self, violation: Violation) {
        let Violation { code, what, .. } = violation;
        debug!(peer = %self.quinn.remote_address(), %violation, "HTTP/3 connection closed");
        self.quinn.close(varint(code), what.as_bytes());
    }

    /// A client may cancel requests, but not any number of them: each has cost more here than there.
    pub(super) fn request_was_cancelled(&self) {
        let mut resets = self.resets.lock().unwrap_or_else(PoisonError::into_inner);
        if !resets.spend(Instant::now()) {
            drop(resets);
            debug!(peer = %self.quinn.remote_address(), "too many requests were cancelled");
            self.quinn.close(varint(Code::H3_EXCESSIVE_LOAD), b"too many requests were cancelled");
        }
    }
}
