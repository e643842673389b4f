//! What a configuration makes of QUIC: transport parameters, and what is done with what clients send.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quinn::{
    IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, ValidationTokenConfig, VarInt,
    congestion::{BbrConfig, ControllerFactory, CubicConfig, NewRenoConfig},
    crypto::rustls::NoInitialCipherSuite,
};

use super::{
    error::{ErrorKind, RoomError},
    secrets::Secrets,
};
use crate::{
    address::{path::Witnessing, tokens},
    config::{Config, Congestion, Listener, Transport},
    worker::{HandshakeWindow, strip_padding},
};

/// What QUIC connections of all listeners have in common.
pub(super) struct Common<'a> {
    pub(super) config: &'a Config,
    pub(super) secrets: &'a Secrets,
    pub(super) transport: Arc<TransportConfig>,
}

/// The server's side of a listener's QUIC connections.
///
/// # Errors
/// If the TLS configuration cannot be used with QUIC.
pub(super) fn server(
    listener: &Listener,
    tls: Arc<rustls::ServerConfig>,
    common: &Common<'_>,
) -> Result<ServerConfig, TransportError> {
    let Common { config, secrets, transport } = common;
    #[cfg(not(feature = "interop"))]
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls);
    #[cfg(feature = "interop")]
    let crypto = crate::interop::quic(tls);
    let crypto = crypto.map_err(|source| TransportError::NoQuic { listener: listener.address, source })?;
    let mut server = ServerConfig::new(strip_padding(crypto), secrets.token_key());
    server.transport_config(Arc::clone(transport)).migration(config.transport.migration);
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(TOKENS).lifetime(tokens::LIFETIME).log(secrets.used_tokens());
    server.validation_token_config(tokens);
    match listener.preferred_address {
        Some(SocketAddr::V4(address)) => drop(server.preferred_address_v4(Some(address))),
        Some(SocketAddr::V6(address)) => drop(server.preferred_address_v6(Some(address))),
        None => {}
    }
    Ok(server)
}

/// What connections of all listeners have in common.
pub(super) fn transport(config: &Config) -> Result<TransportConfig, TransportError> {
    let idle = config.limits.idle_timeout;
    let idle = IdleTimeout::try_from(idle).map_err(|_| TransportError::LongIdleTimeout(idle))?;
    let wanted = &config.transport;
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(wanted.keep_alive)
        .max_concurrent_bidi_streams(VarInt::from_u32(wanted.max_streams))
        .max_concurrent_uni_streams(UNIDIRECTIONAL)
        .stream_receive_window(VarInt::from_u32(wanted.stream_window))
        .receive_window(VarInt::from_u32(wanted.connection_window))
        .send_window(wanted.send_window.into())
        .initial_mtu(wanted.initial_mtu)
        .enable_segmentation_offload(wanted.gso)
        .datagram_receive_buffer_size(None);
    transport.mtu_discovery_config(wanted.max_mtu.map(|upper_bound| {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(upper_bound);
        discovery
    }));
    match wanted.congestion {
        Congestion::Cubic => transport.congestion_controller_factory(controllers(CubicConfig::default())),
        Congestion::NewReno => transport.congestion_controller_factory(controllers(NewRenoConfig::default())),
        Congestion::Bbr => transport.congestion_controller_factory(controllers(BbrConfig::default())),
    };
    Ok(transport)
}

/// Those of `factory`, with what a path and a handshake need.
fn controllers<F: ControllerFactory + Send + Sync + 'static>(factory: F) -> Arc<impl ControllerFactory> {
    Witnessing::new(HandshakeWindow::new(factory))
}

/// What clients remember with a session and send 0-RTT by: every limit that must not be lower on the
/// next connection (RFC 9000 section 7.4.1), and the settings of HTTP/3 (RFC 9114 section 7.2.4.2).
/// The other limits are the same in all configurations.
pub(super) fn remembered(config: &Config) -> Vec<u8> {
    // Said by name, so that a limit that is new in `Transport` is thought of here.
    let Transport {
        stream_window,
        connection_window,
        max_streams,
        congestion: _,
        send_window: _,
        keep_alive: _,
        initial_mtu: _,
        max_mtu: _,
        gso: _,
        migration: _,
    } = config.transport;
    let limits = [stream_window, connection_window, max_streams, config.limits.max_header_bytes];
    limits.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// Why QUIC cannot be spoken as a configuration asks for it.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    /// Its TLS has no cipher suite that protects Initial packets.
    #[error("listener {listener}: {source}")]
    NoQuic {
        /// Its address.
        listener: SocketAddr,
        /// What quinn says.
        source: NoInitialCipherSuite,
    },
    /// The transport parameter max_idle_timeout has no room for it.
    #[error("limits.idle_timeout: {0:?} exceeds the largest that QUIC can carry, 2^62-1 ms")]
    LongIdleTimeout(Duration),
}

impl RoomError for TransportError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Refused
    }

    fn hint(&self) -> Option<String> {
        None
    }
}

/// NEW_TOKEN tokens for each path that a client has validated: for its next connection and one beside.
const TOKENS: u32 = 2;

/// Unidirectional streams that a client may have open at once: HTTP/3 has three (RFC 9114 section
/// 6.2), and some clients one more that says nothing. Those of raw connections are refused.
const UNIDIRECTIONAL: VarInt = VarInt::from_u32(16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_that_clients_remember_counts() {
        let config = Config::parse("[[listener]]\naddress = \"127.0.0.1:4433\"\n", "test").unwrap();
        let changed = |change: fn(&mut Config)| {
            let mut config = config.clone();
            change(&mut config);
            remembered(&config)
        };
        let same = changed(|config| config.transport.send_window += 1);
        assert_eq!(same, remembered(&config), "how much we send is not the client's concern");
        let all = std::collections::HashSet::from([
            same,
            changed(|config| config.transport.stream_window -= 1),
            changed(|config| config.transport.connection_window -= 1),
            changed(|config| config.transport.max_streams -= 1),
            changed(|config| config.limits.max_header_bytes -= 1),
        ]);
        assert_eq!(all.len(), 5);
    }
}
