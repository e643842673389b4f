//! Sending by AF_XDP, where the configuration asks for it: whom workers ask for the way.

use std::{io, net::IpAddr};

use super::error::{ErrorKind, RoomError};
use crate::{
    config::{Config, Engine, SendBy},
    datapath::{Hop, Routes},
    worker::{self, NextHop, NextHopResolver},
};

/// Begins to answer workers' questions; none where they send by UDP sockets alone.
///
/// # Errors
/// If the kernel refuses questions about routes.
pub(super) fn begin(config: &Config) -> Result<Option<NextHopResolver>, SendingError> {
    let has_sockets = matches!(config.router.engine, Engine::AfXdp | Engine::Auto);
    if config.af_xdp.send != SendBy::AfXdp || !has_sockets {
        return Ok(None);
    }
    let begun = Routes::open().and_then(|routes| NextHopResolver::begin(OfKernel(routes)));
    begun.map(Some).map_err(SendingError::NoRoutes)
}

/// Routes of the datapath's, as workers know them.
struct OfKernel(Routes);

impl worker::Routes for OfKernel {
    fn next_hop(&mut self, from: IpAddr, to: IpAddr) -> Option<NextHop> {
        let Hop { interface, own, neighbour, mtu, is_stale } = self.0.hop(from, to)?;
        Some(NextHop { interface, own, neighbour, mtu, is_stale })
    }
}

/// Why workers do not send by AF_XDP.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendingError {
    /// The kernel refuses questions about routes, or the system a thread for them.
    #[error("af_xdp.send: routes cannot be asked for: {0}")]
    NoRoutes(io::Error),
}

impl RoomError for SendingError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
