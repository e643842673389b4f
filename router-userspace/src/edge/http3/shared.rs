//! What the requests of a connection share.

use std::sync::Arc;

use super::client_connection::ClientConnection;
use crate::edge::Site;

/// The same for all of them.
pub(super) struct Shared {
    /// What they are served by.
    pub(super) site: Arc<Site>,
    /// By itself, as what reads a request needs no more.
    pub(super) connection: Arc<ClientConnection>,
}
