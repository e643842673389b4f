//! A listener as generations know one another's: its number, and the address that it is on.

use std::net::SocketAddr;

use router_common::identifiers::ListenerId;
use serde::{Deserialize, Serialize};

/// A number with its address. Between generations it is written as a pair, number first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u16, SocketAddr)", into = "(u16, SocketAddr)")]
pub(super) struct KnownListener {
    /// Unique on the node over all generations.
    pub(super) id: ListenerId,
    /// As the configuration has it.
    pub(super) address: SocketAddr,
}

impl From<(u16, SocketAddr)> for KnownListener {
    fn from((id, address): (u16, SocketAddr)) -> Self {
        Self { id: ListenerId::new(id), address }
    }
}

impl From<KnownListener> for (u16, SocketAddr) {
    fn from(listener: KnownListener) -> Self {
        (listener.id.get(), listener.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generation of another version reads it.
    #[test]
    fn it_is_written_as_a_pair() {
        let listener = KnownListener { id: ListenerId::new(4), address: "127.0.0.1:443".parse().unwrap() };
        assert_eq!(serde_json::to_string(&listener).unwrap(), "[4,\"127.0.0.1:443\"]");
        assert_eq!(serde_json::from_str::<KnownListener>("[4,\"127.0.0.1:443\"]").unwrap(), listener);
    }
}
