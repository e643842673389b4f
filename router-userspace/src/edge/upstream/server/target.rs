//! How one server is reached, and what it is called on the way.

use std::{path::PathBuf, sync::Arc};

use http::{HeaderValue, uri};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use crate::config::{Authority, ServerAddress};

/// Where a server is, and what is spoken first.
pub(in crate::edge::upstream) enum Target {
    /// At its addresses, in clear.
    Tcp,
    /// At its addresses, in TLS.
    Tls(Arc<ClientConfig>, ServerName<'static>),
    /// A socket's path.
    Unix(PathBuf),
}

/// The host and port of a server's URL; none for a Unix socket.
pub(in crate::edge::upstream) fn authority(address: &ServerAddress) -> Option<&Authority> {
    match address {
        ServerAddress::Http(authority)
        | ServerAddress::Https(authority)
        | ServerAddress::H2c(authority)
        | ServerAddress::Tcp(authority) => Some(authority),
        ServerAddress::Unix(_) => None,
    }
}

/// What a server is called in `Host` and in `:authority`: the host and port of its URL. A Unix socket's is `localhost`,
/// as is what neither could hold.
pub(super) fn host(address: &ServerAddress) -> (HeaderValue, uri::Authority) {
    let text = authority(address).map_or_else(|| "localhost".to_owned(), ToString::to_string);
    match (HeaderValue::from_str(&text), uri::Authority::try_from(text)) {
        (Ok(host), Ok(authority)) => (host, authority),
        _ => (HeaderValue::from_static("localhost"), uri::Authority::from_static("localhost")),
    }
}
