//! From the configuration to what a node is made of: placements, TLS, sockets.

use std::{net::UdpSocket, num::NonZeroU16, sync::Arc};

use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};
use quinn::{IdleTimeout, ServerConfig, TransportConfig, VarInt, crypto::rustls::QuicServerConfig};
use router_common::{
    frame::Endpoint,
    maps::{Listener, ListenerKey},
};

use super::{engine::SocketsBySlot, error::StartError, mapped, secrets::Secrets};
use crate::{
    config::Config,
    edge::{tickets::Tickets, tls},
    worker::udp,
};

/// A slot and a CPU for each worker: the CPUs this process may use, in turn.
pub(super) fn place_workers(count: NonZeroU16) -> Result<Vec<(u8, u32)>, StartError> {
    let allowed = sched_getaffinity(Pid::from_raw(0))
        .map_err(|e| StartError::kernel(format!("the CPUs of this process cannot be told: {e}")))?;
    let cpus: Vec<u32> =
        (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).map(|cpu| cpu as u32).collect();
    let slots = 0..=u8::try_from(count.get() - 1).unwrap_or(u8::MAX);
    Ok(slots.zip(cpus.into_iter().cycle()).collect())
}

/// The listeners, numbered in the order of the configuration.
pub(super) fn listeners(config: &Config) -> Vec<(ListenerKey, Listener)> {
    let key = |address: std::net::SocketAddr| {
        ListenerKey::exact(&Endpoint { address: mapped(address.ip()), port: address.port() })
    };
    config.listeners.iter().zip(0..).map(|(listener, id)| (key(listener.address), Listener::new(id))).collect()
}

/// Every listener's sockets, one for each slot.
pub(super) fn open_sockets(config: &Config, slots: &[(u8, u32)]) -> Result<Vec<(Listener, SocketsBySlot)>, StartError> {
    let open = |(listener, id): (&crate::config::Listener, u16)| {
        let sockets = udp::open(listener.address, slots.len())?;
        Ok((Listener::new(id), slots.iter().map(|&(slot, _)| slot).zip(sockets).collect()))
    };
    config.listeners.iter().zip(0..).map(open).collect()
}

/// What is asked of the kernel about a worker's socket.
pub(super) struct SocketInfo {
    pub(super) slot: u8,
    pub(super) inode: u64,
    pub(super) receive_buffer: u64,
}

/// How to find the sockets in the kernel's tables later on.
pub(super) fn describe(sockets: &[(Listener, SocketsBySlot)]) -> Vec<SocketInfo> {
    let describe = |(&slot, socket): (&u8, &UdpSocket)| {
        let receive_buffer = udp::receive_buffer(socket) as u64;
        Some(SocketInfo { slot, inode: udp::inode(socket)?, receive_buffer })
    };
    sockets.iter().flat_map(|(_, by_slot)| by_slot.iter().filter_map(describe)).collect()
}

/// What each listener's connections are begun with.
pub(super) fn server_configs(config: &Config, secrets: &Secrets) -> Result<Vec<ServerConfig>, StartError> {
    let tickets = Arc::new(Tickets::new(&secrets.ticket_secret()));
    let transport = Arc::new(transport(config)?);
    let server_config = |listener: &crate::config::Listener| {
        let wrong = |e: &dyn std::fmt::Display| StartError::refused(format!("listener {}: {e}", listener.address));
        let tls = tls::tls(listener, &config.routes, Arc::clone(&tickets) as _).map_err(|e| wrong(&e))?;
        let crypto = QuicServerConfig::try_from(tls).map_err(|e| wrong(&e))?;
        let mut server = ServerConfig::new(Arc::new(crypto), secrets.token_key());
        server.transport_config(Arc::clone(&transport));
        Ok(server)
    };
    config.listeners.iter().map(server_config).collect()
}

fn transport(config: &Config) -> Result<TransportConfig, StartError> {
    let idle = config.limits.idle_timeout;
    let idle = IdleTimeout::try_from(idle)
        .map_err(|_| StartError::refused(format!("limits.idle_timeout: {idle:?} is more than QUIC can say")))?;
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(idle))
        .max_concurrent_bidi_streams(VarInt::from_u32(1_000))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None);
    Ok(transport)
}

/// Octets that a connection may have in flight or waiting to be sent: what a slow reader of
/// a fast upstream costs at most, and at 10 ms of round trip still 1.6 Gbit/s.
const SEND_WINDOW: u64 = 2 << 20;
