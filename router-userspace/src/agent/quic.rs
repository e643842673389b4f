//! What a configuration makes of QUIC: transport parameters, and what is done with what clients send.

use std::{net::SocketAddr, sync::Arc};

use quinn::{
    IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, ValidationTokenConfig, VarInt,
    congestion::{BbrConfig, CubicConfig, NewRenoConfig},
    crypto::rustls::QuicServerConfig,
};

use super::{error::StartError, secrets::Secrets};
use crate::{
    address::{path::Witnessing, tokens},
    config::{Config, Congestion, Listener},
    worker::padding::without_padding,
};

/// The server's side of a listener's QUIC connections.
pub(super) fn server(
    listener: &Listener,
    tls: Arc<rustls::ServerConfig>,
    transport: &Arc<TransportConfig>,
    (config, secrets): (&Config, &Secrets),
) -> Result<ServerConfig, StartError> {
    let crypto = QuicServerConfig::try_from(tls)
        .map_err(|e| StartError::refused(format!("listener {}: {e}", listener.address)))?;
    let mut server = ServerConfig::new(without_padding(crypto), secrets.token_key());
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
pub(super) fn transport(config: &Config) -> Result<TransportConfig, StartError> {
    let idle = config.limits.idle_timeout;
    let idle = IdleTimeout::try_from(idle)
        .map_err(|_| StartError::refused(format!("limits.idle_timeout: {idle:?} is more than QUIC can say")))?;
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
        Congestion::Cubic => transport.congestion_controller_factory(Witnessing::new(CubicConfig::default())),
        Congestion::NewReno => transport.congestion_controller_factory(Witnessing::new(NewRenoConfig::default())),
        Congestion::Bbr => transport.congestion_controller_factory(Witnessing::new(BbrConfig::default())),
    };
    Ok(transport)
}

/// NEW_TOKEN tokens for each path that a client has validated: for its next connection and one beside.
const TOKENS: u32 = 2;

/// Unidirectional streams that a client may have open at once: HTTP/3 has three (RFC 9114 section
/// 6.2), and some clients one more that says nothing. Those of raw connections are refused.
const UNIDIRECTIONAL: VarInt = VarInt::from_u32(16);
